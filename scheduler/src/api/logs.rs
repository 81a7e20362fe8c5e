//! Where the log of a task is, and why there is none.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState};
use tonic::Status;

use super::reads::host_of;
use super::status;
use crate::model::{AgentNo, State, Task};

/// The agent that has the task's log, and the name of its node.
///
/// # Errors
/// When there is none, with the reason.
pub(super) fn find(state: &State, task: TaskId) -> Result<(AgentNo, String), Status> {
    let found = state.tasks.get(&task);
    let found = found.ok_or_else(|| status::no_such_task(task))?;
    if let Some(why) = not_started(found) {
        return Err(status::not_started(task, format!("{task} was not started: {why}")));
    }
    let never = || status::not_started(task, format!("{task} was never started; it has no logs"));
    let agent = found.status.place().map(|place| place.agent).ok_or_else(never)?;
    Ok((agent, host_of(state, agent)))
}

/// Why none of the task's processes ever ran; None: one may have.
fn not_started(task: &Task) -> Option<String> {
    let end = task.history.last().filter(|_| task.state().is_terminal())?;
    let ran = task.history.iter().any(|transition| transition.to == TaskState::Running);
    let is_start = matches!(
        end.reason,
        Reason::UnknownUser
            | Reason::SandboxFailed
            | Reason::CgroupFailed
            | Reason::PortClash
            | Reason::LaunchRefused
            | Reason::ArtifactFailed
            | Reason::ChecksumMismatch
            | Reason::RootFsFailed
            | Reason::NoRoom
            | Reason::CheckpointFailed
            | Reason::LimitNotPossible
    );
    let told = if end.message.is_empty() { end.reason.plain_name() } else { &*end.message };
    (is_start && !ran).then(|| told.to_string())
}
