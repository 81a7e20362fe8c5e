//! Which cgroup hierarchies are mounted where, from the mount table. Not here: making anything in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::extra;

/// Version 1 controllers a task's groups use, when they are mounted. On a hybrid machine the version 2 group counts cpu
/// time and freezes, so a process has fewer groups to join.
const V1_CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "cpuacct", "freezer"];
const V1_CONTROLLERS_HYBRID: [&str; 3] = ["cpu", "memory", "pids"];

/// The mount table can't be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read the mount table (/proc/self/mountinfo)")]
pub struct MountsError(#[source] io::Error);

/// Roots of the hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Version 1 roots by controller; several controllers may share one.
    v1: BTreeMap<String, PathBuf>,
    v2: Option<PathBuf>,
}

impl Mounts {
    /// What is mounted on this machine.
    ///
    /// # Errors
    /// When the mount table can't be read.
    pub fn detect() -> Result<Self, MountsError> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo").map_err(MountsError)?))
    }

    /// Reads a mount table as `/proc/self/mountinfo` writes it.
    pub fn parse(mountinfo: &str) -> Self {
        let mut mounts = Mounts::default();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(place) = before.split(' ').nth(4).map(unescape) else { continue };
            let mut after = after.split(' ');
            let (kind, options) = (after.next(), after.nth(1).unwrap_or_default());
            match kind {
                Some("cgroup2") if mounts.v2.is_none() => mounts.v2 = Some(place),
                Some("cgroup") => {
                    let is_ours = |option: &&str| V1_CONTROLLERS.contains(option) || extra::V1.contains(option);
                    for controller in options.split(',').filter(is_ours) {
                        mounts.v1.entry(controller.to_string()).or_insert_with(|| place.clone());
                    }
                }
                _ => {}
            }
        }
        mounts
    }

    /// Version 1 roots of the controllers that tasks use; None when limits are not version 1's.
    pub(super) fn v1(&self) -> Option<BTreeMap<&str, &Path>> {
        if self.v1.is_empty() {
            return None;
        }
        let used: &[&str] = if self.v2.is_some() { &V1_CONTROLLERS_HYBRID } else { &V1_CONTROLLERS };
        Some(used.iter().filter_map(|name| Some((*name, self.v1.get(*name)?.as_path()))).collect())
    }

    /// Version 1 roots of the controllers only those use who ask.
    pub(super) fn extra(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        extra::V1.into_iter().filter_map(|name| Some((name, self.v1.get(name)?.as_path())))
    }

    pub(super) fn v2(&self) -> Option<&Path> {
        self.v2.as_deref()
    }
}

/// The mount table writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> PathBuf {
    let mut out = text.to_string();
    for (code, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(code, plain);
    }
    PathBuf::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_has_both() {
        let mounts = Mounts::parse(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(mounts.v2(), Some(Path::new("/sys/fs/cgroup/unified")));
        let v1 = mounts.v1().unwrap();
        assert_eq!(v1.keys().copied().collect::<Vec<_>>(), ["cpu", "memory"]);
        assert_eq!(v1["cpu"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    }

    #[test]
    fn a_pure_v2_machine_and_one_without_any() {
        let mounts = Mounts::parse("30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert_eq!((mounts.v1(), mounts.v2()), (None, Some(Path::new("/my groups"))));
        let mounts = Mounts::parse("21 1 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n");
        assert_eq!((mounts.v1(), mounts.v2()), (None, None));
    }

    #[test]
    fn pure_v1_also_counts_cpu_time_and_freezes() {
        let mounts = Mounts::parse("1 1 0:1 / /c rw - cgroup cgroup rw,cpu,cpuacct,memory,freezer,blkio\n");
        assert_eq!(mounts.v1().unwrap().len(), 4);
        assert_eq!(mounts.extra().map(|(name, _)| name).collect::<Vec<_>>(), ["blkio"]);
    }
}
