//! Answers that don't come: launches and kills sent again, tasks asked after. Effects are the fast path, this is the promise.
//! Runs last in a tick, so that nothing is sent again that the tick has just decided otherwise.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::agents::{ask, ask_after_boots, kill_again, tasks_on};
use super::lease;
use super::retry;
use super::step::Step;
use crate::model::{AgentNo, Effect, Task};

pub(super) fn tick(step: &mut Step) {
    resend(step);
    ask_after_boots(step);
    reconcile(step);
}

/// Launches and kills without an answer: sent again; a launch that stays without one is given up.
fn resend(step: &mut Step) {
    let oldest = Timestamp(step.now.wall.0.saturating_sub_unsigned(step.settings.resend_interval_ms));
    for (_, id) in step.state.indexes().in_transit.range(..=(oldest, TaskId(u64::MAX))) {
        let Some(task) = step.state.tasks.get(id).filter(|task| step.state_of(task) == task.state()) else { continue };
        let Some(agent) = task.held_on().filter(|agent| step.is_reachable(*agent)) else { continue };
        let assigned = task.state() == TaskState::Assigned;
        if assigned && lease::may_live_under_earlier_boot(step, task, agent) {
            continue;
        }
        // The order may be on its way yet to an agent that obeys it: only silence proves that it does not.
        if assigned && is_overdue(step, task) && !lease::may_live(step, task, agent) {
            retry::end(step, task, TaskState::Lost, Reason::AgentLost, "its node never said that it has it");
        } else if due_again(step, task.since()) {
            step.effects.push(if assigned { Effect::Launch { agent, task: task.id } } else { kill_again(agent, task) });
            // A kill of what the agent has no trace of may go unanswered; a question does not.
            ask(step, agent, vec![task.id]);
        }
    }
}

/// Whether a launch had its time to be answered, under this leader too: the one before may have been gone for as long.
fn is_overdue(step: &Step, task: &Task) -> bool {
    let led_ms = step.now.mono_ms.saturating_sub(step.live.elected_ms);
    step.now.wall.since_ms(task.since()).min(led_ms) > step.settings.assigned_timeout_ms
}

/// Whether a multiple of the interval since then came between the last tick and this one.
fn due_again(step: &Step, since: Timestamp) -> bool {
    let times = |at: Timestamp| at.since_ms(since) / step.settings.resend_interval_ms.max(1);
    times(step.now.wall) > times(step.live.ticked.wall)
}

/// Asks every agent in its turn where all its tasks stand, the agents spread over the interval.
fn reconcile(step: &mut Step) {
    let interval_ms = step.settings.reconcile_interval_ms.max(1);
    let turn = |agent: AgentNo, mono_ms: u64| {
        let phase_ms = u64::from(agent.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) % interval_ms;
        mono_ms.saturating_add(phase_ms) / interval_ms
    };
    let (now_ms, before_ms) = (step.now.mono_ms, step.live.ticked.mono_ms);
    for agent in step.live.agents.keys() {
        if turn(*agent, now_ms) > turn(*agent, before_ms) && step.is_reachable(*agent) {
            let tasks =
                tasks_on(step, *agent).filter(|task: &&Task| step.is_living(task)).map(|task| task.id).collect();
            ask(step, *agent, tasks);
        }
    }
}
