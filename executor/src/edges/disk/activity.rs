//! What a task's processes have written since they were last asked, by the kernel's counters. A task that took no cpu has
//! written nothing: then it costs one file to find out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

/// Version 2, in microseconds; also of groups without controllers.
const CPU_STAT: &str = "cpu.stat";
/// Version 1, in nanoseconds.
const CPU_USAGE: &str = "cpuacct.usage";
/// Pages of these file systems are no blocks of a device, and the kernel doesn't count them as such.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No cpu was used.
    Idle,
    /// Some was; so many bytes were written.
    Active { written: u64 },
}

#[derive(Debug)]
pub(super) struct Activity {
    /// Where the task's use of the cpu is counted; None: nowhere.
    cpu: Option<PathBuf>,
    /// The counter at the last look.
    cpu_used: Option<u64>,
    /// The line of `/proc/PID/io` that counts.
    counter: &'static str,
    /// By pid, in order: the counter at the last look.
    written: Vec<(i32, u64)>,
}

impl Activity {
    pub(super) fn new(groups: Vec<PathBuf>, root: Option<&Path>) -> Activity {
        let files = groups.iter().flat_map(|group| [group.join(CPU_STAT), group.join(CPU_USAGE)]);
        let cpu = files.into_iter().find(|file| cpu_used_in(file).is_some());
        let in_memory =
            root.and_then(|root| statfs(root).ok()).is_some_and(|fs| IN_MEMORY.contains(&(fs.f_type as u64)));
        // Pages that were made dirty, by whatever way; or, where they are not counted, what was handed to `write`.
        let counter = if in_memory { "wchar:" } else { "write_bytes:" };
        Activity { cpu, cpu_used: None, counter, written: Vec::new() }
    }

    /// Whoever was there at the last look.
    pub(super) fn pids(&self) -> impl Iterator<Item = i32> {
        self.written.iter().map(|(pid, _)| *pid)
    }

    /// Since the last look. The first one sees what was written since the processes began.
    pub(super) fn look(&mut self, members: impl FnOnce() -> BTreeSet<i32>) -> Seen {
        let cpu_used = self.cpu.as_deref().and_then(cpu_used_in);
        if cpu_used.is_some() && cpu_used == self.cpu_used {
            return Seen::Idle;
        }
        self.cpu_used = cpu_used;
        let counter = self.counter;
        // This process too: the kernel adds to it what its children wrote, once it has buried them.
        let pids = members().into_iter().chain([std::process::id() as i32]);
        let mut now: Vec<(i32, u64)> = pids.filter_map(|pid| Some((pid, written_by(pid, counter)?))).collect();
        now.sort_unstable();
        let before = |pid| match self.written.binary_search_by_key(&pid, |(pid, _)| *pid) {
            Ok(at) => self.written[at].1,
            Err(_) => 0,
        };
        let written = now.iter().map(|(pid, bytes)| bytes.saturating_sub(before(*pid))).fold(0, u64::saturating_add);
        now.shrink_to_fit();
        self.written = now;
        Seen::Active { written }
    }
}

fn written_by(pid: i32, counter: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(counter)?.trim().parse().ok())
}

fn cpu_used_in(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    if file.ends_with(CPU_USAGE) {
        return text.trim().parse().ok();
    }
    text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_writes_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let own = || BTreeSet::from([std::process::id() as i32]);
        let mut activity = Activity::new(Vec::new(), Some(dir.path()));
        activity.look(own);
        fs::write(dir.path().join("big"), vec![1; 4 << 20]).unwrap();
        let Seen::Active { written } = activity.look(own) else { panic!("nothing tells that it is idle") };
        // Counted twice, as the process itself and as one of the task's.
        assert!((4 << 20..64 << 20).contains(&written), "{written}");
    }

    #[test]
    fn without_use_of_the_cpu_nobody_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CPU_STAT), "usage_usec 12\nuser_usec 3\n").unwrap();
        let mut activity = Activity::new(vec![dir.path().to_path_buf()], None);
        assert!(matches!(activity.look(BTreeSet::new), Seen::Active { .. }));
        assert_eq!(activity.look(|| panic!("asked")), Seen::Idle);
        fs::write(dir.path().join(CPU_STAT), "usage_usec 13\n").unwrap();
        assert!(matches!(activity.look(BTreeSet::new), Seen::Active { .. }));
    }
}
