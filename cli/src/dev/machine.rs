//! What this machine allows: whether cgroups can be made, whose user tasks run as.

use std::fs;
use std::path::PathBuf;

/// How tasks are kept apart, and what people must be told about it.
pub struct Isolation {
    pub unisolated: bool,
    pub run_as_self: bool,
    pub notices: Vec<String>,
}

pub fn isolation(group: &str, unisolated: bool, run_as_self: bool) -> Isolation {
    let mut notices = Vec::new();
    let root = nix::unistd::geteuid().is_root();
    if !root && !run_as_self {
        notices
            .push("not root: every task runs as yourself, whatever its job says (as with --run-as-self)".to_string());
    }
    let probe = if unisolated { Ok(()) } else { probe(group) };
    if let Err(why) = &probe {
        notices.push(format!(
            "no cgroups ({why}): tasks run without limits and without a sure kill (as with --unisolated)"
        ));
    }
    Isolation { unisolated: unisolated || probe.is_err(), run_as_self: run_as_self || !root, notices }
}

/// Whether a group can be made in every hierarchy that is there; an empty one is made and removed.
fn probe(group: &str) -> Result<(), String> {
    let hierarchies = hierarchies(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    if hierarchies.is_empty() {
        return Err("none is mounted".to_string());
    }
    for hierarchy in hierarchies {
        let path = hierarchy.join(format!("{group}-probe"));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        fs::remove_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Where cgroup hierarchies are mounted, by what /proc/self/mountinfo says.
pub fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    let one = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let kind = after.split(' ').next()?;
        matches!(kind, "cgroup" | "cgroup2").then(|| before.split(' ').nth(4).map(PathBuf::from))?
    };
    let mut paths: Vec<PathBuf> = mountinfo.lines().filter_map(one).collect();
    // A hierarchy without controllers of its own (systemd's) is not Dawn's.
    paths.retain(|path| !path.ends_with("systemd"));
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn hierarchies_are_found_by_their_file_system() {
        let mountinfo = "\
24 1 0:22 / /proc rw - proc proc rw
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
";
        let found = hierarchies(mountinfo);
        assert_eq!(found, [Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup/unified")]);
    }
}
