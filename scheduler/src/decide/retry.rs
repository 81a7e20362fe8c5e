//! A task ended: whether its instance gets another life, and when.

use dawn_proto::v1::{JobKind, Reason, RestartOn};
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::daemon;
use super::step::{Life, Step};
use super::transition::{Rule, Then, rule};
use super::{avoid, update};
use crate::model::{Exit, Job, RestartPolicy, Spec, State, Task, Transition};

/// No restart loop is hotter than this, whatever the policy says.
const MIN_BACKOFF_MS: u64 = 10;

/// How a life ended, as far as the next one is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Success,
    Failure,
    /// Through no fault of its own: lost, preempted, drained, restarted, killed by nobody.
    Taken,
    /// The agent would not have it, or it did not start there, and may go there again.
    Refused,
    /// A user, or a rule of its job, wanted it gone.
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Done,
    Again { failures: u32, delay_ms: u64 },
}

/// Ends a task and makes the next life of its instance if there is to be one.
pub(super) fn end(step: &mut Step, task: &Task, to: TaskState, reason: Reason, message: &str) {
    end_with(step, task, to, reason, message, None, None);
}

/// The same of an end that a process decided, or that came at another time than now.
pub(super) fn end_with(
    step: &mut Step,
    task: &Task,
    to: TaskState,
    reason: Reason,
    message: &str,
    exit: Option<Exit>,
    ended: Option<Timestamp>,
) {
    let from = step.state_of(task);
    let how = match how(step.state.spec_of(task).job.kind, from, to, reason) {
        End::Taken if goes_back(step, task, reason) => End::Refused,
        how => how,
    };
    step.move_task_with(task, to, reason, message, exit, ended);
    let Some(job) = step.state.jobs.get(&task.job) else { return };
    let Some(current) = step.state.current_spec(job) else { return };
    if step.is_ended(job) {
        return;
    }
    let Some(spec) = spec_of_next(step, job, task, current, reason) else { return };
    if has_next(step, job, task, spec) {
        return;
    }
    let ended = ended.unwrap_or(step.now.wall);
    let life_ms = task.started_at().map_or(0, |started| ended.since_ms(started));
    let next = match how {
        // Stopped for good under a version before, or for an update that has gone back since; it is wanted all the same.
        End::Asked if current.job.kind != JobKind::Cron && (task.spec != spec.id || was_in_the_way(task)) => {
            Next::Again { failures: 0, delay_ms: 0 }
        }
        // An update stopped it: its next life is another one.
        End::Taken if update::is_updates(reason) => Next::Again { failures: 0, delay_ms: 0 },
        // Where there is no other place, the same one is asked less and less often.
        End::Refused => {
            let before = refusals(step.state, job, task.run_at, task.instance).count();
            let row = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
            let delay_ms = backoff_ms(&spec.job.restart, row);
            Next::Again { failures: task.failures, delay_ms }
        }
        how => next(spec.job.kind, &spec.job.restart, how, task.failures, life_ms),
    };
    if let Next::Again { failures, delay_ms } = next {
        let delay_ms = jittered(delay_ms, task.id);
        let ready_at = (delay_ms > 0).then(|| step.now.wall.plus_ms(delay_ms));
        let reason = if delay_ms > 0 { Reason::Backoff } else { reason };
        let made =
            step.make_task(task.job, spec, Life { failures, ready_at, reason, ..Life::again(step.state, task, spec) });
        if ready_at.is_none() {
            update::stay(step, job, task, made);
        }
    }
}

/// Whether a task did not start on an agent, through no fault of its job, that the job does not keep off: the next life may
/// go there again.
fn goes_back(step: &Step, task: &Task, reason: Reason) -> bool {
    let spec = step.state.spec_of(task);
    let Some((job, place)) = step.state.jobs.get(&task.job).zip(task.status.place()) else { return false };
    avoid::did_not_start(task, &spec.job, reason) && !avoid::keeps_off(step, job, spec, place.agent)
}

/// The lives of a slot, the newest first, that ended before they had started and through no fault of their job: those in a row
/// up to the newest that ended.
pub fn refusals<'a>(
    state: &'a State,
    job: &'a Job,
    run_at: Timestamp,
    instance: u32,
) -> impl Iterator<Item = (&'a Task, &'a Transition)> {
    let lives = state.tasks_of(job.id).slot(run_at, instance).rev().filter_map(|id| state.tasks.get(&id));
    let ended = lives.filter(|life| life.state().is_terminal());
    ended.map_while(|life| {
        let end = life.history.last()?;
        let spec = &state.spec_of(life).job;
        let is_refused = end.reason == Reason::LaunchRefused || avoid::did_not_start(life, spec, end.reason);
        (end.to == TaskState::Lost && is_refused).then_some((life, end))
    })
}

/// Killed for an update.
fn was_in_the_way(task: &Task) -> bool {
    task.history.iter().any(|one| one.to == TaskState::Killing && update::is_updates(one.reason))
}

/// A cron run keeps the version it began with. None: the instance is not wanted any more.
fn spec_of_next<'a>(step: &Step<'a>, job: &Job, task: &Task, current: &Spec, reason: Reason) -> Option<&'a Spec> {
    if current.job.kind == JobKind::Cron {
        return Some(step.state.spec_of(task));
    }
    let wanted = step.state.wanted_spec(job, task.instance).map(|spec| &**spec);
    // An agent that reports is there, if only just: the state may not know it yet.
    let goes_on = |spec: &Spec| match reason {
        Reason::AgentLost => daemon::wants(step.state, &spec.job, task.instance),
        _ => daemon::is_of(step.state, &spec.job, task.instance),
    };
    wanted.filter(|spec| spec.job.kind != JobKind::Daemon || goes_on(spec))
}

/// Whether the slot has a life after this one, or beside it one as wanted.
fn has_next(step: &Step, job: &Job, task: &Task, wanted: &Spec) -> bool {
    let others = step.state.tasks_of(job.id).slot(task.run_at, task.instance).filter(|id| *id != task.id);
    let mut others = others.filter_map(|id| step.state.tasks.get(&id));
    let newest = step.state.tasks_of(job.id).newest(task.run_at, task.instance) == Some(task.id);
    let as_wanted = |life: &Task| life.spec == wanted.id || step.state.spec_of(life).job.same_task(&wanted.job);
    others.any(|other| step.is_living(other) && (as_wanted(other) || !newest))
        || !newest && step.kind(job) != JobKind::Service
}

fn how(kind: JobKind, from: TaskState, to: TaskState, reason: Reason) -> End {
    match (rule(Some(from), to), from, to) {
        (_, TaskState::Killing, TaskState::Failed) if reason == Reason::MaxRunTime => End::Failure,
        (_, TaskState::Killing, _) => End::Asked,
        // A batch task that still finished while it was pushed aside has done its work; a service was told to go.
        (Rule::Move(Then::Replace), _, TaskState::Finished) if kind.runs_for_ever() => End::Taken,
        (_, _, TaskState::Finished) => End::Success,
        (Rule::Move(Then::Failure), ..) => End::Failure,
        (_, _, TaskState::Lost) if reason == Reason::LaunchRefused => End::Refused,
        _ => End::Taken,
    }
}

/// The policy. `failures` are those in a row before this life, `life_ms` how long it ran.
pub(super) fn next(kind: JobKind, policy: &RestartPolicy, how: End, failures: u32, life_ms: u64) -> Next {
    let backoff = |failures: u32| Next::Again { failures, delay_ms: backoff_ms(policy, failures) };
    let is_service = kind.runs_for_ever();
    let restarts = match how {
        End::Asked => return Next::Done,
        End::Taken => return Next::Again { failures, delay_ms: 0 },
        End::Refused => return Next::Again { failures, delay_ms: backoff_ms(policy, 1) },
        End::Success => is_service && policy.on == RestartOn::AnyExit,
        End::Failure => policy.on != RestartOn::Never,
    };
    if !restarts {
        return Next::Done;
    }
    if !is_service {
        let failures = failures.saturating_add(1);
        return if failures < policy.max_failures.max(1) { backoff(failures) } else { Next::Done };
    }
    match (how, life_ms >= policy.stable_after_ms) {
        (End::Success, true) => Next::Again { failures: 0, delay_ms: 0 },
        (_, true) => backoff(1),
        // Flapping: an end so soon counts against it, whatever the exit.
        (_, false) => backoff(failures.saturating_add(1)),
    }
}

/// Doubles with each failure in a row.
fn backoff_ms(policy: &RestartPolicy, failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    let initial_ms = policy.initial_backoff_ms.max(MIN_BACKOFF_MS);
    initial_ms.saturating_mul(1 << doublings).min(policy.max_backoff_ms.max(initial_ms))
}

/// Up to a tenth less, by task: what failed together does not come back together.
fn jittered(delay_ms: u64, task: TaskId) -> u64 {
    let chance = task.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    delay_ms - delay_ms / 10 * chance / 1024
}
