//! What a task's cgroup has used, and how the agent stands: what is looked at and never decided on.

use std::collections::BTreeMap;

use dawn_proto::{Resources, TaskState};

/// Missing: not counted on this machine. Counters only grow while the group lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupUsage {
    pub cpu_usec: Option<u64>,
    pub throttled_usec: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub memory_peak_bytes: Option<u64>,
    pub pids: Option<u64>,
    pub read_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
}

/// How the agent stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub registered: bool,
    pub total: Resources,
    pub held: Resources,
    /// Tasks held, ended ones too.
    pub states: BTreeMap<TaskState, u32>,
    /// Tasks with reports that are not acknowledged.
    pub unacked: u32,
    /// Directories of ended tasks.
    pub sandboxes: u32,
    pub sandbox_bytes: u64,
}
