//! What follows from the agent's own lease (`model/lease.rs`): what must not live twice is told of it, and ends with it.

use dawn_proto::TaskId;
use dawn_proto::v1::Reason;

use super::step::Step;
use super::stop;
use crate::model::{Effect, Mutation, Note, Phase};

/// The scheduler registered us: it heard what was sent then.
pub(super) fn begins(step: &mut Step, lease_ms: u64) {
    step.change(Mutation::LeaseTold { lease_ms });
    renew(step, step.state.lease.registering_ms, lease_ms);
}

pub(super) fn heartbeat_answered(step: &mut Step, sequence: u64) {
    step.change(Mutation::HeartbeatAnswered { sequence });
    if let Some(sent_ms) = step.state.lease.sent_ms(sequence) {
        renew(step, sent_ms, step.state.lease.lease_ms);
    }
}

fn renew(step: &mut Step, heard_ms: u64, lease_ms: u64) {
    let (state, now_ms) = (step.state, step.now.mono_ms);
    let until_ms = heard_ms.saturating_add(lease_ms);
    if until_ms <= state.lease.until_ms.max(now_ms) {
        return;
    }
    if !state.lease.is_held(now_ms) {
        // Ordered before the gap: given up since, maybe. The leader orders again what it still wants.
        step.change(Mutation::LaunchesDropped);
    }
    step.change(Mutation::LeaseRenewed { until_ms });
    for task in state.tasks.values().filter(|task| task.plan.at_most_one && task.phase() == Phase::Live) {
        step.act(Effect::Renew { task: task.id, until_ms });
    }
}

/// Stops what must not live without a lease, once it is over.
pub(super) fn hold(step: &mut Step) {
    let state = step.state;
    if !state.lease.is_to_lapse(step.now.mono_ms) {
        return;
    }
    step.change(Mutation::LeaseLapsed);
    for task in state.tasks.values().filter(|task| task.plan.at_most_one && task.is_living()) {
        step.note(Note::LeaseIsOver { task: task.id });
        stop_task(step, task.id, Reason::AgentLost, None);
    }
}

/// Begins a kill, or makes the one under way shorter.
pub(super) fn stop_task(step: &mut Step, id: TaskId, reason: Reason, grace_period_ms: Option<u64>) {
    let Some(task) = step.state.tasks.get(&id) else { return };
    let kill = stop::order(task, reason, grace_period_ms, step.now.mono_ms);
    let is_told = kill.is_some() && task.phase() == Phase::Live;
    if let Some(kill) = kill {
        step.change(Mutation::KillChanged { task: id, kill });
    }
    if task.phase() == Phase::Fetching {
        step.act(Effect::StopFetch { task: id });
    }
    // In an earlier phase the step under way notices the kill when it is done.
    if is_told {
        step.act(Effect::TellKill { task: id, reason, grace_period_ms });
    }
}
