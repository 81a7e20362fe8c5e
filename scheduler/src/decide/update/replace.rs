//! Replaces all instances of a job at once where no version of it ever was healthy. That is no update: nothing is there to go back
//! to or to keep up, and an update that is under way is aborted.

use std::sync::Arc;

use dawn_proto::TaskState;
use dawn_proto::v1::{JobKind, Reason, SubmitOutcome};

use super::begin::target;
use super::control::push;
use super::is_updates;
use super::remain::is_newest;
use crate::decide::daemon;
use crate::decide::settle::{self, Aim};
use crate::decide::step::{Life, Step};
use crate::decide::submit as submission;
use crate::model::{
    Answer, FlowMutation, Job, JobSpec, JobVersioned, Mutation, Refusal, Spec, Task, UpdateChange, answers,
};

pub(super) fn replace(
    step: &mut Step,
    job: &Job,
    spec: &JobSpec,
    (author, message): (&str, &str),
) -> Result<Answer, Refusal> {
    submission::admit(step, Some(job), spec)?;
    let to = Arc::new(target(step.state, job, spec, &[], step.now.wall));
    step.mutations.push(Mutation::JobVersioned(JobVersioned {
        job: job.id,
        spec: to.clone(),
        author: author.into(),
        message: message.into(),
    }));
    push(step, job, UpdateChange::Replaced { author: author.into() });
    if !spec.flow.after.is_empty() && !job.flow.released {
        step.mutations.push(Mutation::Flow(FlowMutation::Released { job: job.id }));
    }
    // Submitted again, those come back that a user stopped.
    let stopped = |_| false;
    if stop_replaced(step, job, &to, &stopped) {
        settle::run(
            step,
            &Aim { id: job.id, spec: &to, job: Some(job), ended: false, stopped: &stopped, pins: None, made: 0 },
        );
    }
    Ok(Answer::Submitted(answers::Submitted {
        key: spec.key.clone(),
        version: to.version,
        outcome: SubmitOutcome::Replaced,
    }))
}

/// Has each task that is not what the spec makes end, and its instance's next life begin; false: the step is full before
/// that is done. What a user `stopped` since has no next life, and is `settle`'s.
pub(crate) fn stop_replaced(step: &mut Step, job: &Job, to: &Spec, stopped: &dyn Fn(u32) -> bool) -> bool {
    let state = step.state;
    for task in state.living(job) {
        let here = step.state_of(task);
        let is_replaced = task.spec != to.id && !state.spec_of(task).job.same_task(&to.job);
        if stopped(task.instance)
            || !is_replaced
            || here.is_terminal()
            || here == TaskState::Killing
            || !is_wanted(step, to, task)
        {
            continue;
        }
        if step.is_full() {
            return false;
        }
        match here {
            TaskState::Assigned | TaskState::Starting | TaskState::Running => {
                step.move_task(task, TaskState::Restarting, Reason::Updated, &version_words(to));
            }
            TaskState::Restarting if task.history.last().is_some_and(|last| is_updates(last.reason)) => {}
            TaskState::Pending | TaskState::Throttled => {
                step.stop(task, Reason::Updated, &version_words(to));
                if is_newest(state, job, task) {
                    step.make_task(job.id, to, Life { reason: Reason::Updated, ..Life::after(task) });
                }
            }
            _ => step.stop(task, Reason::Updated, &version_words(to)),
        }
    }
    true
}

fn version_words(to: &Spec) -> String {
    format!("version {} replaces it", to.version)
}

/// Whether the version has the task's instance. A daemon job's on a node that is away is seen to when the node is back.
fn is_wanted(step: &Step, to: &Spec, task: &Task) -> bool {
    match to.job.kind {
        JobKind::Daemon => {
            daemon::is_of(step.state, &to.job, task.instance) && !daemon::is_away(step.state, task.instance)
        }
        _ => to.has(task.instance),
    }
}
