//! What an agent and its kernel hold, as the agent says.

use dawn_proto::{Epoch, TaskId, TaskState};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    pub task: TaskId,
    /// The key of the job of which it was started; empty: not told.
    pub job: String,
    pub state: TaskState,
    pub stopping: bool,
    /// Of its executor; None: none was started yet.
    pub executor: Option<i32>,
    pub executor_lives: bool,
    /// Pids in its control group, as far as named.
    pub pids: Vec<i32>,
    pub processes_total: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    pub epoch_seen: Epoch,
    pub tasks: Vec<Inspected>,
    /// Tasks that the agent does not hold living and that have processes, and how many.
    pub strays: Vec<(TaskId, u32)>,
}
