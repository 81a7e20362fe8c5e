//! Everything that lives of a task: listing it, signalling it, ending it, and counting its OOM kills. With cgroups
//! that is whoever is in them; without, every descendant of the executor. Not here: making or limiting groups.

pub mod procfs;
mod raise;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::model::{CgroupSetting, MemoryFile};

const PROCS: &str = "cgroup.procs";
const KILL: &str = "cgroup.kill";
const FREEZER_STATE: &str = "freezer.state";
const OOM_CONTROL: &str = "memory.oom_control";
const MEMORY_EVENTS: &str = "memory.events";
const PIDS_EVENTS: &str = "pids.events";
const PIDS_MAX: &str = "pids.max";
const MAX_USAGE: &str = "memory.max_usage_in_bytes";
const MEMORY_PEAK: &str = "memory.peak";
/// Groups a task may make below its own, where it has the right to.
const MAX_DEPTH: usize = 8;
/// A forking task is outrun within these many rounds, or the next call goes on.
const SWEEP_ROUNDS: usize = 8;

/// One task's processes.
#[derive(Debug)]
pub struct Group {
    setting: CgroupSetting,
    /// Version 1 groups that could be frozen.
    freezers: Vec<PathBuf>,
    own_pid: i32,
    /// Unisolated: sessions of processes that are not our descendants (an earlier executor's).
    sessions: BTreeSet<i32>,
    /// Limits of disk io that a kill has taken away.
    lifted: Vec<raise::Lifted>,
}

impl Group {
    pub fn new(setting: CgroupSetting) -> Self {
        // Groups are made before the executor is started.
        let freezers = setting.join.iter().map(|dir| dir.join(FREEZER_STATE)).filter(|file| file.exists()).collect();
        Group {
            setting,
            freezers,
            own_pid: nix::unistd::getpid().as_raw(),
            sessions: BTreeSet::new(),
            lifted: Vec::new(),
        }
    }

    /// A process of an earlier executor belongs to the task.
    pub fn adopt(&mut self, pid: i32) {
        self.sessions.insert(pid);
    }

    /// Before SIGKILL goes to some of the processes: those that are to die get the cpu they need for it.
    pub fn raise(&self) {
        self.dirs().for_each(raise::raise_cpu);
    }

    /// Before SIGKILL goes to every process: disk io doesn't hold them back either.
    pub fn raise_all(&mut self) {
        self.raise();
        let lifted: Vec<_> = self.dirs().flat_map(raise::lift_io).collect();
        self.lifted.extend(lifted);
    }

    /// The task's own limits again: what was to die is dead, or takes too long for it.
    pub fn lower(&mut self) {
        self.dirs().for_each(|dir| raise::lower_cpu(dir, self.setting.cpu_milli));
        raise::set_again(&std::mem::take(&mut self.lifted));
    }

    fn dirs(&self) -> impl Iterator<Item = &Path> {
        let kill = self.setting.kill.iter().filter(|dir| !self.setting.join.contains(dir));
        self.setting.join.iter().chain(kill).map(PathBuf::as_path)
    }

    /// SIGTERM to every process. Returns to how many.
    pub fn terminate(&self) -> usize {
        let members = self.members();
        for pid in &members {
            // Gone already is what is wanted.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGTERM);
        }
        self.thaw();
        members.len()
    }

    /// SIGKILL to every process; whether none is left. Call again after a while if not.
    pub fn sweep(&self) -> bool {
        if let Some(left) = self.kill_at_once() {
            return !left;
        }
        for _ in 0..SWEEP_ROUNDS {
            let members = self.members();
            if members.is_empty() {
                return true;
            }
            // Frozen, nobody forks while the signals go out.
            self.set_freezer("FROZEN");
            kill_each(&members);
            self.thaw();
        }
        self.members().is_empty()
    }

    /// Where the kernel kills a whole group in one go, nobody is to be outrun: asked once, and whoever is only in the other
    /// groups is looked for when it is empty. Whether some are left; None: the kernel can't.
    fn kill_at_once(&self) -> Option<bool> {
        let dir = self.setting.kill.as_ref()?;
        let mut inside = BTreeSet::new();
        let _ = collect(dir, MAX_DEPTH, &mut inside);
        if !inside.is_empty() {
            // Before Linux 5.14 there is no such file; opened, never made.
            let file = fs::File::options().write(true).open(dir.join(KILL));
            file.and_then(|mut file| file.write_all(b"1")).ok()?;
            self.thaw();
            return Some(true);
        }
        let strays = self.members();
        kill_each(&strays);
        self.thaw();
        Some(!strays.is_empty())
    }

    /// SIGKILL to whoever descends from us, in whatever group; whether there was anybody.
    pub fn kill_descendants(&self) -> bool {
        // The process table is read for those few alone that still have somebody.
        let family =
            if procfs::has_children() { procfs::family(self.own_pid, &BTreeSet::new()) } else { BTreeSet::new() };
        kill_each(&family);
        !family.is_empty()
    }

    /// OOM kills so far, of single processes and of the whole task; 0 where the kernel does not tell.
    pub fn oom_kills(&self) -> OomKills {
        let path = match &self.setting.memory {
            None => return OomKills::default(),
            Some(MemoryFile::V1(dir)) => dir.join(OOM_CONTROL),
            Some(MemoryFile::V2(dir)) => dir.join(MEMORY_EVENTS),
        };
        fs::read_to_string(path).map_or_else(|_| OomKills::default(), |text| oom_kills_in(&text))
    }

    /// The most memory the task ever had; 0: not known.
    pub fn memory_peak_bytes(&self) -> u64 {
        let path = match &self.setting.memory {
            None => return 0,
            Some(MemoryFile::V1(dir)) => dir.join(MAX_USAGE),
            Some(MemoryFile::V2(dir)) => dir.join(MEMORY_PEAK),
        };
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Processes that the kernel refused the task at its limit, so far. None: there is no limit, or nobody counts.
    pub fn refused_forks(&self) -> Option<RefusedForks> {
        let number = |dir: &Path, file: &str, name: &str| {
            let text = fs::read_to_string(dir.join(file)).ok()?;
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let times = |dir: &Path| number(dir, PIDS_EVENTS, "max ");
        let (dir, times) = self.setting.join.iter().find_map(|dir| Some((dir, times(dir)?)))?;
        // A task without a limit can be refused one by a group above it.
        Some(RefusedForks { times, max_pids: if times == 0 { 0 } else { number(dir, PIDS_MAX, "")? } })
    }

    /// A frozen v1 group takes no signal before it is thawed.
    fn thaw(&self) {
        self.set_freezer("THAWED");
    }

    fn set_freezer(&self, state: &str) {
        for file in &self.freezers {
            let _ = fs::write(file, state);
        }
    }

    /// Whether the kernel knows who is of the task.
    pub fn is_grouped(&self) -> bool {
        !self.setting.join.is_empty() || self.setting.kill.is_some()
    }

    /// Whoever lives of the task.
    pub fn members(&self) -> BTreeSet<i32> {
        let mut members = BTreeSet::new();
        if !self.is_grouped() && (!self.sessions.is_empty() || procfs::has_children()) {
            members = procfs::family(self.own_pid, &self.sessions);
        }
        for dir in self.dirs() {
            // A group that is gone holds nobody.
            let _ = collect(dir, MAX_DEPTH, &mut members);
        }
        members.remove(&self.own_pid);
        members
    }
}

fn kill_each(members: &BTreeSet<i32>) {
    for pid in members {
        // Gone already is what is wanted.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

fn collect(dir: &Path, depth: usize, members: &mut BTreeSet<i32>) -> io::Result<()> {
    let text = fs::read_to_string(dir.join(PROCS))?;
    // 0 is somebody of another pid namespace.
    members.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid: &i32| *pid > 0));
    // A directory's link count tells whether it holds others.
    let metadata = fs::metadata(dir)?;
    if depth > 0 && std::os::unix::fs::MetadataExt::nlink(&metadata) > 2 {
        for entry in fs::read_dir(dir)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = collect(&entry.path(), depth - 1, members);
            }
        }
    }
    Ok(())
}

/// What the kernel has refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedForks {
    pub times: u64,
    /// The limit; looked up only once it was hit.
    pub max_pids: u64,
}

/// What the kernel has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomKills {
    pub processes: u64,
    /// Version 2 alone ends a whole group at once.
    pub groups: u64,
}

/// `oom_kill N` is a line of both versions' files.
fn oom_kills_in(text: &str) -> OomKills {
    let count = |name: &str| {
        let counted = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        text.lines().find_map(counted).unwrap_or(0)
    };
    OomKills { processes: count("oom_kill"), groups: count("oom_group_kill") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_read_from_both_versions() {
        let kills = |processes, groups| OomKills { processes, groups };
        assert_eq!(oom_kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), kills(3, 0));
        assert_eq!(oom_kills_in("low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 1\n"), kills(2, 1));
        assert_eq!(oom_kills_in(""), kills(0, 0));
    }

    #[test]
    fn a_group_that_is_gone_is_empty() {
        let gone = CgroupSetting { join: vec!["/nonexistent/group".into()], ..CgroupSetting::default() };
        assert!(Group::new(gone).sweep());
    }
}
