//! What kind of state a task's state is.

use crate::v1::TaskState;

impl TaskState {
    /// Every state, in wire order.
    pub const ALL: [TaskState; 14] = [
        TaskState::Throttled,
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Preempting,
        TaskState::Restarting,
        TaskState::Draining,
        TaskState::Killing,
        TaskState::Partitioned,
        TaskState::Finished,
        TaskState::Failed,
        TaskState::Killed,
        TaskState::Lost,
    ];

    /// Final: nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, TaskState::Finished | TaskState::Failed | TaskState::Killed | TaskState::Lost)
    }

    /// Holds resources of an agent.
    pub fn is_placed(self) -> bool {
        !self.is_terminal() && !matches!(self, TaskState::Unspecified | TaskState::Throttled | TaskState::Pending)
    }

    /// On its way out by Dawn's own doing.
    pub fn is_stopping(self) -> bool {
        matches!(self, TaskState::Preempting | TaskState::Restarting | TaskState::Draining | TaskState::Killing)
    }
}
