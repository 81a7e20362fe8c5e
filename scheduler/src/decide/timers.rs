//! What is due by the clock for tasks: backoffs that are over, run times. Not here: answers that don't come (`resend`).
//! Each goes by an index of the state, so a tick costs what is due, not what there is.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState};

use super::step::Step;

pub(super) fn tick(step: &mut Step) {
    ready(step);
    run_times(step);
}

fn last() -> TaskId {
    TaskId(u64::MAX)
}

/// Backoffs that are over.
fn ready(step: &mut Step) {
    for (_, id) in step.state.indexes().throttled.range(..=(step.now.wall, last())) {
        if step.is_full() {
            return;
        }
        if let Some(task) = step.state.tasks.get(id).filter(|task| step.state_of(task) == TaskState::Throttled) {
            step.move_task(task, TaskState::Pending, Reason::None, "");
        }
    }
}

/// Tasks that run longer than their job lets them.
fn run_times(step: &mut Step) {
    for (_, id) in step.state.indexes().deadlines.range(..=(step.now.wall, last())) {
        if step.is_full() {
            return;
        }
        let Some(task) = step.state.tasks.get(id) else { continue };
        if matches!(step.state_of(task), TaskState::Starting | TaskState::Running) {
            let limit_ms = step.state.spec_of(task).job.max_run_time_ms.unwrap_or(0);
            let limit = dawn_proto::amounts::duration(limit_ms);
            step.move_task(task, TaskState::Killing, Reason::MaxRunTime, &format!("ran longer than {limit}"));
        }
    }
}
