//! What a starting agent finds of a task in its work directory.

use std::collections::BTreeMap;

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, Timestamp};

use super::{ProcessIdentity, Report, TaskPlan};

/// What is known of a task's executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorProbe {
    /// No event, and its lock was never made: none was ever started.
    NeverStarted,
    /// No event yet, but its lock is held: it is coming up.
    Booting,
    Alive,
    /// It is gone, or what it has left can't be read.
    Dead,
}

impl ExecutorProbe {
    pub const ALL: [ExecutorProbe; 4] =
        [ExecutorProbe::NeverStarted, ExecutorProbe::Booting, ExecutorProbe::Alive, ExecutorProbe::Dead];
}

/// One task directory as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub task: TaskId,
    /// None: the plan is torn or corrupt.
    pub record: Option<TaskPlan>,
    /// When the plan was written, or its artifacts were last seen being fetched.
    pub checkpointed_at: Timestamp,
    pub executor: ExecutorProbe,
    /// Sequence of the last event in the log; 0: none.
    pub heard: u64,
    /// The last state the log tells.
    pub last: Option<Report>,
    /// Why it is being stopped, if the log says so.
    pub kill_begun: Option<Reason>,
    /// Processes that the log says are living.
    pub processes: BTreeMap<String, ProcessIdentity>,
    /// The agent's own verdict.
    pub verdict: Option<Report>,
    /// The terminal report was acknowledged.
    pub released: bool,
}
