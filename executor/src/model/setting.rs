//! Where and as whom a task's processes run: what only the edges look at.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything about the surroundings of a task; never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Working directory of the processes.
    pub sandbox: PathBuf,
    /// Directory of plan, events, socket and logs.
    pub meta: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// What every process gets, before its own variables.
    pub env: BTreeMap<String, String>,
    pub cgroup: CgroupSetting,
    pub isolation: Isolation,
    pub logs: LogRules,
}

/// What keeps the task to itself besides its cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    pub namespaces: Namespaces,
    /// The default filter of system calls.
    pub seccomp: bool,
    pub keep_capabilities: bool,
    pub read_only_system: bool,
    /// TCP ports that can be bound; None: any.
    pub only_ports: Option<Vec<u16>>,
    /// Device files of its own /dev, besides the harmless ones.
    pub devices: Vec<PathBuf>,
    /// By lower-case name, soft and hard.
    pub rlimits: Vec<(String, u64)>,
    /// Directories of its root file system, the uppermost first; empty: the machine's.
    pub root_layers: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    #[default]
    Off,
    /// Where they can be made.
    Auto,
    Required,
}

impl Setting {
    /// What its disk limit is about: everything the task writes by itself. Its logs have a bound of their own.
    pub fn directories(&self) -> Vec<PathBuf> {
        vec![self.sandbox.clone(), self.meta.join("private")]
    }
}

/// The task's groups, made and limited by the agent. Nothing in `join`: unisolated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupSetting {
    pub join: Vec<PathBuf>,
    /// Directory of a v2 group with `cgroup.kill`.
    pub kill: Option<PathBuf>,
    pub memory: Option<MemoryFile>,
    /// What the agent has limited its cpu to; 0: to nothing.
    pub cpu_milli: u64,
}

impl CgroupSetting {
    /// Every one of the groups, each once.
    pub fn directories(&self) -> Vec<PathBuf> {
        let kill = self.kill.iter().filter(|dir| !self.join.contains(dir));
        self.join.iter().chain(kill).cloned().collect()
    }
}

/// Where the kernel counts OOM kills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryFile {
    /// Directory with `memory.oom_control`.
    V1(PathBuf),
    /// Directory with `memory.events`.
    V2(PathBuf),
}

/// Disk of one stream is bounded by `file_size_bytes * files`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRules {
    /// At least 1.
    pub file_size_bytes: u64,
    /// At least 1, the current one included.
    pub files: u32,
}
