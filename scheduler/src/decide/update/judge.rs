//! One instance that is being updated: what is done next for it, and whether it is through. Derived from its living tasks
//! alone, so it does not matter who began.

use dawn_proto::TaskState;
use dawn_proto::v1::{JobKind, Reason, UpdateKind, UpdateStrategy};

use super::stay;
use crate::decide::daemon;
use crate::decide::sla;
use crate::decide::step::{Life, Step};
use crate::model::{Job, Spec, Task, Update, UpdatePolicy};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    GaveUp,
    /// Runs as wanted and is healthy, but the one before is still there.
    Healthy,
    Waits,
}

/// What an instance's living tasks are to the update.
struct Lives<'a> {
    /// As wanted.
    new: Option<&'a Task>,
    old: Vec<&'a Task>,
}

/// Whether the new life of an instance is started beside the old one.
pub(super) fn is_beside(policy: &UpdatePolicy) -> bool {
    policy.surge > 0 || policy.strategy == UpdateStrategy::BlueGreen
}

/// Whether the task is what the update wants there.
fn is_new(update: &Update, wanted: &Spec, task: &Task) -> bool {
    let made_for_it = update.kind != UpdateKind::Restart || task.id >= update.first_task;
    task.spec == wanted.id && made_for_it && !task.state().is_stopping()
}

/// None: this step has changed something there already; the next tick looks again.
fn lives<'a>(step: &Step<'a>, job: &Job, update: &Update, instance: u32, wanted: Option<&Spec>) -> Option<Lives<'a>> {
    let state = step.state;
    let tasks = state.tasks_of(job.id).slot(Default::default(), instance).filter_map(|id| state.tasks.get(&id));
    let mut lives = Lives { new: None, old: Vec::new() };
    for task in tasks.filter(|task| !task.state().is_terminal()) {
        if step.state_of(task) != task.state() {
            return None;
        }
        match wanted.is_some_and(|wanted| is_new(update, wanted, task)) {
            true => lives.new = Some(task),
            false => lives.old.push(task),
        }
    }
    Some(lives)
}

/// Whether it has been RUNNING for long enough.
pub(super) fn is_healthy(step: &Step, update: &Update, task: &Task) -> bool {
    task.state() == TaskState::Running && step.now.wall.since_ms(task.since()) >= update.policy.watch_ms
}

/// What the instance is to run; None also where a user stopped it, or a daemon job's agent is not the job's.
pub(super) fn goal<'a>(step: &Step<'a>, job: &Job, update: &Update, instance: u32) -> Option<&'a Spec> {
    if job.stopped.contains(&instance) {
        return None;
    }
    let goal = step.state.goal(job, update, instance)?;
    (!is_daemon(goal) || daemon::is_of(step.state, &goal.job, instance)).then_some(goal)
}

fn is_daemon(spec: &Spec) -> bool {
    spec.job.kind == JobKind::Daemon
}

/// Whether it is a daemon's on an agent that is away: no update waits for one. It is seen to when the agent is back.
fn is_away(step: &Step, job: &Job, instance: u32) -> bool {
    step.state.current_spec(job).is_some_and(|spec| is_daemon(spec)) && daemon::is_away(step.state, instance)
}

/// Judges an instance without doing anything.
pub(super) fn look(step: &Step, job: &Job, update: &Update, instance: u32) -> Verdict {
    if is_away(step, job, instance) {
        return Verdict::Passed;
    }
    let wanted = goal(step, job, update, instance);
    let Some(lives) = lives(step, job, update, instance, wanted) else { return Verdict::Waits };
    let failures = update.failures.get(&instance).copied().unwrap_or(0);
    match (wanted, lives.new) {
        (None, _) if lives.old.is_empty() => Verdict::Passed,
        (None, _) => Verdict::Waits,
        (Some(_), Some(new)) if is_healthy(step, update, new) && lives.old.is_empty() => Verdict::Passed,
        // It is as it was before the update.
        (Some(_), Some(new)) if update.is_back() && new.id < update.first_task && lives.old.is_empty() => {
            Verdict::Passed
        }
        (Some(_), Some(new)) if is_healthy(step, update, new) => Verdict::Healthy,
        (Some(_), _) if failures > update.policy.max_instance_failures => Verdict::GaveUp,
        (Some(_), _) => Verdict::Waits,
    }
}

/// Does what comes next for an instance that is not through. `switch`: what is old and has a healthy successor, or is not
/// wanted, may go.
pub(super) fn push_on(step: &mut Step, job: &Job, update: &Update, instance: u32, switch: bool) {
    // What a user stopped is `settle`'s.
    if is_away(step, job, instance) || job.stopped.contains(&instance) {
        return;
    }
    let wanted = goal(step, job, update, instance);
    let Some(lives) = lives(step, job, update, instance, wanted) else { return };
    let Some(spec) = wanted else {
        if switch {
            lives.old.iter().for_each(|old| stop(step, job, update, old, None));
        }
        return;
    };
    match lives.new {
        None if lives.old.is_empty() => make(step, job, update, instance, spec),
        None if is_beside(&update.policy) => make(step, job, update, instance, spec),
        None => {
            lives.old.iter().for_each(|old| stop(step, job, update, old, Some(spec)));
            // What was nowhere yet is gone at once, and nobody else makes its next life.
            if lives.old.iter().all(|old| !step.is_living(old)) {
                make(step, job, update, instance, spec);
            }
        }
        Some(new) if switch && (is_healthy(step, update, new) || !is_beside(&update.policy)) => {
            lives.old.iter().for_each(|old| stop(step, job, update, old, Some(spec)));
        }
        // What is not up yet keeps nobody from going back.
        Some(_) if update.is_back() => {
            let waits = |old: &&&Task| matches!(step.state_of(old), TaskState::Pending | TaskState::Throttled);
            let waiting: Vec<&Task> = lives.old.iter().filter(waits).copied().collect();
            waiting.iter().for_each(|old| stop(step, job, update, old, Some(spec)));
        }
        Some(_) => {}
    }
}

/// Whether it has two lives: the one before, and its next one.
pub(super) fn lives_twice(step: &Step, job: &Job, instance: u32) -> bool {
    let tasks =
        step.state.tasks_of(job.id).slot(Default::default(), instance).filter_map(|id| step.state.tasks.get(&id));
    tasks.filter(|task| !task.state().is_terminal()).count() > 1
}

/// Whether nothing of it runs.
pub(super) fn is_down(step: &Step, job: &Job, instance: u32) -> bool {
    let mut tasks =
        step.state.tasks_of(job.id).slot(Default::default(), instance).filter_map(|id| step.state.tasks.get(&id));
    !tasks.any(|task| task.state() == TaskState::Running)
}

/// An instance that was given up, where one may fail, does not keep its life before.
pub(super) fn let_go(step: &mut Step, job: &Job, update: &Update, instance: u32) {
    let wanted = goal(step, job, update, instance);
    let Some(lives) = lives(step, job, update, instance, wanted) else { return };
    lives.old.iter().for_each(|old| stop(step, job, update, old, wanted));
}

/// Why an update stops a task, or makes one.
fn reason(update: &Update) -> Reason {
    match (update.kind, update.is_back()) {
        (UpdateKind::Restart, _) => Reason::Restarted,
        (_, true) => Reason::RolledBack,
        _ => Reason::Updated,
    }
}

fn stop(step: &mut Step, job: &Job, update: &Update, task: &Task, next: Option<&Spec>) {
    let state = step.state_of(task);
    if state.is_stopping() || state.is_terminal() {
        return;
    }
    if update.policy.sla_aware && sla::may_stop(step, job, task).is_err() {
        return;
    }
    sla::note(step, job, task);
    let message = format!("update {}", update.number);
    match (state, next) {
        (TaskState::Assigned | TaskState::Starting | TaskState::Running, Some(_)) => {
            step.move_task(task, TaskState::Restarting, reason(update), &message);
        }
        (_, Some(_)) => step.stop(task, reason(update), &message),
        (_, None) if step.kind(job) == JobKind::Daemon => step.stop(task, Reason::NotMatching, &message),
        (_, None) => step.stop(task, Reason::ScaledDown, &message),
    }
}

fn make(step: &mut Step, job: &Job, update: &Update, instance: u32, spec: &Spec) {
    let newest =
        step.state.tasks_of(job.id).newest(Default::default(), instance).and_then(|id| step.state.tasks.get(&id));
    let reason = reason(update);
    let again = |newest| Life::again(step.state, newest, spec);
    let life = newest.map_or(Life::first(instance, Default::default()), again);
    let made = step.make_task(job.id, spec, Life { reason, ..life });
    if let Some(newest) = newest {
        stay(step, job, newest, made);
    }
}
