//! An agent says where a task stands.
//! Reports come until they are acknowledged: repeats and old news change nothing and are acknowledged again.

use dawn_proto::TaskState;
use dawn_proto::v1::Reason;

use super::step::Step;
use super::{Rule, agents, avoid, lease, restore, retry, rule, unheard};
use crate::model::{AgentNo, Effect, LinkId, Mutation, Report, Task, TaskMoved};

/// Longest message kept, in bytes.
const KEPT_MESSAGE_BYTES: usize = 512;

pub(super) fn reported(step: &mut Step, link: LinkId, report: &Report) {
    if let Some(agent) = agents::heard(step, link) {
        take(step, link, agent, report);
        restore::ask(step, agent, [report], false);
    }
}

pub(super) fn take(step: &mut Step, link: LinkId, agent: AgentNo, report: &Report) {
    if restore::is_lost(step, report) {
        // Not acknowledged before it is known what it is.
        return;
    }
    if lease::is_doubted(step, agent, report) {
        // Not acknowledged either: it is said again, and asked for when the time is over.
        return;
    }
    let task = step.state.tasks.get(&report.task);
    let from = task.map(|task| (task, step.state_of(task)));
    match from {
        // Placed elsewhere, or given up and placed elsewhere since: this one is nobody's.
        Some((task, _)) if task.status.place().is_some_and(|place| place.agent != agent) => {
            disown(step, agent, report, None);
        }
        // Its launch is still on its way, or was lost with a link: it goes out again. Replacing the task would leave a launch
        // behind that may yet arrive, and then the instance runs twice.
        Some((task, TaskState::Assigned)) if report.reason == Reason::NotOnAgent => {
            step.effects.push(Effect::Launch { agent, task: task.id });
        }
        Some((task, from)) => {
            let to = said(from, report.state);
            match to.map(|to| (to, rule(Some(from), to))) {
                Some((to, Rule::Move(_))) => moved(step, agent, task, to, report),
                // How far a starting task is, or what a running one is warned of: a step of its history, once.
                Some((to @ (TaskState::Starting | TaskState::Running), Rule::Same)) if is_progress(task, report) => {
                    let message = shortened(&report.message).into();
                    let moved = Mutation::TaskMoved(TaskMoved {
                        task: task.id,
                        to,
                        reason: report.reason,
                        message,
                        exit: None,
                        ended: None,
                    });
                    step.mutations.push(moved);
                }
                Some((_, Rule::IllegalKill)) => disown(step, agent, report, Some(from)),
                Some((_, Rule::Same | Rule::Illegal)) | None => {}
            }
        }
        None => disown(step, agent, report, None),
    }
    step.effects.push(Effect::Ack { link, task: report.task, sequence: report.sequence });
}

fn is_progress(task: &Task, report: &Report) -> bool {
    let last = task.history.last().map(|last| &*last.message);
    !report.message.is_empty() && last != Some(shortened(&report.message))
}

/// The state that a report says the task is in, if agents may say so. ASSIGNED of a task that was out of reach: the agent
/// has it.
fn said(from: TaskState, state: TaskState) -> Option<TaskState> {
    match state {
        TaskState::Assigned if from == TaskState::Partitioned => Some(TaskState::Starting),
        TaskState::Assigned | TaskState::Starting | TaskState::Running => Some(state),
        _ if state.is_terminal() => Some(state),
        _ => None,
    }
}

/// Kills what should not live. Safe because the state is all that this epoch's leader and those before it made durable,
/// and nothing is launched before it is durable (see `transition`).
fn disown(step: &mut Step, agent: AgentNo, report: &Report, from: Option<TaskState>) {
    let lives = said(TaskState::Lost, report.state).is_some_and(|to| rule(None, to) == Rule::IllegalKill);
    if lives {
        let stopping = from.is_some_and(TaskState::is_stopping);
        let task = step.state.tasks.get(&report.task);
        let asked = task.and_then(|task| task.history.last()).map(|last| last.reason).filter(|_| stopping);
        let reason = asked.unwrap_or(Reason::Orphan);
        step.effects.push(Effect::Kill { agent, task: report.task, reason, grace_period_ms: None });
    }
}

fn moved(step: &mut Step, agent: AgentNo, task: &Task, to: TaskState, report: &Report) {
    let stopping = task.history.last().filter(|last| last.to.is_stopping()).map(|last| last.reason);
    let over_time = stopping == Some(Reason::MaxRunTime) && to != TaskState::Finished;
    // Killed for its run time is a failure of its own, not a kill.
    let to = if over_time { TaskState::Failed } else { to };
    let reason = match (report.reason, stopping) {
        (_, Some(Reason::MaxRunTime)) if over_time => Reason::MaxRunTime,
        (Reason::None, Some(asked)) => asked,
        (said, _) => said,
    };
    let to = avoid::ended(step, agent, task, to, reason);
    if avoid::has_started(to, reason) {
        avoid::started(step, agent, task);
    }
    if to.is_terminal() {
        let ended = unheard::end_told_by_agent(step, agent, report);
        retry::end_with(step, task, to, reason, shortened(&report.message), report.exit, ended);
    } else {
        step.move_task(task, to, reason, shortened(&report.message));
    }
}

fn shortened(message: &str) -> &str {
    &message[..message.floor_char_boundary(KEPT_MESSAGE_BYTES)]
}
