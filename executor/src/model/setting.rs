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
    pub logs: LogRules,
}

/// The task's groups, made and limited by the agent. Nothing in `join`: unisolated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupSetting {
    pub join: Vec<PathBuf>,
    /// Directory of a v2 group with `cgroup.kill`.
    pub kill: Option<PathBuf>,
    pub memory: Option<MemoryFile>,
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
