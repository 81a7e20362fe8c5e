//! A held task's life: what its executor says, kills, and its end.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState};

use super::phase::Trigger;
use super::step::Step;
use super::{Next, leader, lease, room};
use crate::model::{
    Effect, Ending, ExecutorEvent, HeldTask, Kill, KillProgress, Mutation, Note, Phase, Remains, Report, Stage,
    TaskPlan,
};

pub(super) fn heard(step: &mut Step, id: TaskId, event: &ExecutorEvent) {
    let Some(task) = step.state.tasks.get(&id).filter(|task| task.is_living()) else { return };
    if event.sequence() <= task.heard {
        return;
    }
    step.change(Mutation::TaskHeard { task: id, sequence: event.sequence() });
    match event {
        ExecutorEvent::ProcessStarted { name, identity, .. } => {
            step.change(Mutation::ProcessStarted { task: id, name: name.clone(), identity: *identity });
        }
        ExecutorEvent::ProcessExited { name, .. } => {
            step.change(Mutation::ProcessExited { task: id, name: name.clone() });
        }
        ExecutorEvent::KillBegun { .. } => {
            if let Some(kill) = &task.kill {
                step.change(Mutation::KillChanged { task: id, kill: KillProgress { begun: true, ..kill.clone() } });
            }
        }
        ExecutorEvent::Changed { sequence, at, state, reason, message, ended } => {
            let sequence = task.sequence_base() + sequence;
            let report = Report { ended: ended.clone(), ..Report::new(id, sequence, *state, *at, *reason, message) };
            if state.is_terminal() {
                step.end_with(id, Trigger::Ended, None);
            }
            step.publish(report);
        }
        ExecutorEvent::Started { .. } | ExecutorEvent::Other { .. } => {}
    }
}

/// The executor died. Without a final event in its log the agent has to decide the task's end.
pub(super) fn gone(step: &mut Step, id: TaskId) {
    let Some(task) = step.state.tasks.get(&id) else { return };
    if !matches!(task.phase(), Phase::Live | Phase::Spawning) {
        return;
    }
    let forced = task.kill.as_ref().filter(|kill| kill.forced_at_ms.is_some()).map(|kill| kill.reason);
    match forced {
        Some(reason) => {
            let message = "killed by the agent: the executor did not end the task in time";
            end(step, id, TaskState::Killed, reason, message);
        }
        None => {
            step.note(Note::ExecutorDied { task: id });
            let message = "the executor died without ending the task";
            end(step, id, TaskState::Lost, Reason::ExecutorLost, message);
        }
    }
}

pub(super) fn kill(step: &mut Step, kill: &Kill) {
    if !leader::obeys(step, kill.epoch, "a kill") {
        return;
    }
    let (state, id) = (step.state, kill.task);
    if state.waiting.contains_key(&id) {
        step.change(Mutation::LaunchTaken { task: id });
        let why = "killed before it was started";
        return hold_ended(step, Report::new(id, 1, TaskState::Killed, step.now.wall, kill.reason, why));
    }
    if !state.tasks.get(&id).is_some_and(|task| task.is_living()) {
        return step.report(state.standing(id, step.now.wall));
    }
    lease::stop_task(step, id, kill.reason, kill.grace_period_ms);
}

/// Ends a task by the agent's own verdict: durable first where a restart could find the task, then reported.
pub(super) fn end(step: &mut Step, id: TaskId, state: TaskState, reason: Reason, message: &str) {
    let Some(task) = step.state.tasks.get(&id) else { return };
    let report = Report::new(id, task.verdict_sequence(), state, step.now.wall, reason, message);
    if task.is_on_disk() {
        return decide_end(step, report);
    }
    step.end_with(id, Trigger::Refused, None);
    step.publish(report);
}

/// The agent's verdict on a task that a restart would find: durable first, then told.
pub(super) fn decide_end(step: &mut Step, report: Report) {
    step.advance(report.task, Trigger::Decided, Stage::Deciding(Box::new(report.clone())));
    step.act(Effect::Record(report));
}

/// Holds a task that ended before anything of it was made, until its end is acknowledged.
pub(super) fn hold_ended(step: &mut Step, report: Report) {
    let ended_ms = step.now.mono_ms.cast_signed();
    let ending = Ending { ended_ms, remains: Remains::Nothing, withheld: None };
    let held = HeldTask::new(report.task, TaskPlan::default(), Stage::Over(ending), step.now.wall);
    step.change(Mutation::TaskHeld(Box::new(held)));
    step.publish(report);
}

/// The agent's verdict is durable.
pub(super) fn recorded(step: &mut Step, id: TaskId) {
    let Some(task) = step.state.tasks.get(&id) else { return };
    let Stage::Deciding(report) = &task.stage else { return };
    // What must not live twice may be replaced as soon as this is told: not before nothing of it is left.
    if task.plan.at_most_one {
        step.end_with(id, Trigger::Recorded, Some(report.clone()));
    } else {
        step.end_with(id, Trigger::Recorded, None);
        step.publish((**report).clone());
    }
    // The last of them.
    if step.state.reboot_verdicts.iter().eq([&id]) {
        step.then(Next::RememberBoot);
    }
}

/// No process and no cgroup of it is left.
pub(super) fn cleaned(step: &mut Step, id: TaskId, bytes: u64) {
    let Some(Stage::Over(ending)) = step.state.tasks.get(&id).map(|task| &task.stage) else { return };
    step.change(Mutation::TaskMeasured { task: id, bytes });
    room::count_in(step, id, bytes);
    if let Some(report) = &ending.withheld {
        step.publish((**report).clone());
    }
    step.then(Next::BeginWaiting);
}
