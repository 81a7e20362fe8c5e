//! What is on this machine, by the agent's own account and by the kernel's.

use dawn_proto::{Epoch, TaskId, TaskState};

use super::ProcessIdentity;

/// Processes named of one task; more are counted.
pub const MAX_INSPECTED: usize = 64;

/// A task that the agent holds living, and what the kernel has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedTask {
    pub task: TaskId,
    /// "role/env/name"; empty where nobody knows.
    pub job: String,
    pub state: TaskState,
    pub stopping: bool,
    pub on_disk: bool,
    /// As the event log names it.
    pub executor: Option<ProcessIdentity>,
    pub executor_lives: bool,
    /// At most [`MAX_INSPECTED`].
    pub processes: Vec<ProcessIdentity>,
    pub processes_total: usize,
}

impl Default for InspectedTask {
    fn default() -> Self {
        InspectedTask {
            task: TaskId(0),
            job: String::new(),
            state: TaskState::Unspecified,
            stopping: false,
            on_disk: false,
            executor: None,
            executor_lives: false,
            processes: Vec::new(),
            processes_total: 0,
        }
    }
}

/// Processes in the group of a task that the agent does not hold living.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    pub task: TaskId,
    pub processes_total: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    pub request: u64,
    pub epoch_seen: Epoch,
    pub tasks: Vec<InspectedTask>,
    pub strays: Vec<Stray>,
    pub isolated: bool,
}
