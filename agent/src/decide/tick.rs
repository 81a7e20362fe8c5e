//! What time brings: heartbeats, a silent scheduler, reports not acknowledged, kills under way, space to make.

use super::step::{RESEND_MS, Step};
use super::stop::{self, Due};
use super::{Next, leader, room, sweep};
use crate::model::{Effect, Message, Mutation, Note, Observed, Phase};

/// Between two looks at how the agent stands.
const OBSERVE_EVERY_MS: u64 = 1_000;
/// Between two looks at what may be deleted.
const SWEEP_EVERY_MS: u64 = 10_000;

pub(super) fn tick(step: &mut Step) {
    if step.state.link.is_silent(step.now.mono_ms, step.state.memory.lease_ms) {
        step.note(Note::SchedulerSilent);
        leader::hang_up(step, None, false);
    }
    for next in [Next::Duties, Next::BeginWaiting, Next::Sweep, Next::Observe] {
        step.then(next);
    }
}

pub(super) fn duties(step: &mut Step) {
    let (state, now) = (step.state, step.now);
    if let Some(sequence) = state.link.due_heartbeat(now.mono_ms) {
        step.change(Mutation::HeartbeatSent { sequence, at_ms: now.mono_ms });
        step.send(Message::Heartbeat { sequence, wall: now.wall, welcome: state.memory.welcome });
    }
    if state.offer.excluded.values().any(|excluded| excluded.until_ms <= now.mono_ms) {
        let mut offer = state.offer.clone();
        offer.readmit(now.mono_ms);
        step.offer(offer);
    }
    resend(step, false);
    go_on_killing(step);
}

/// Sends again what waits for its acknowledgement: what is due, or all of it.
pub(super) fn resend(step: &mut Step, all: bool) {
    let now_ms = step.now.mono_ms;
    let unacked = step.state.index.unacked.iter().filter_map(|id| step.state.tasks.get(id));
    for task in unacked.filter(|task| all || task.resend_at_ms <= now_ms) {
        step.change(Mutation::ReportsSentAgain { task: task.id, resend_at_ms: now_ms.saturating_add(RESEND_MS) });
        task.unacked.iter().for_each(|report| step.report(report.clone()));
    }
}

fn go_on_killing(step: &mut Step) {
    let killing = step.state.index.killing.iter().filter_map(|id| step.state.tasks.get(id));
    for task in killing.filter(|task| task.phase() == Phase::Live) {
        let due = task.kill.as_ref().and_then(|kill| stop::due(kill, step.now.mono_ms));
        let Some((due, kill)) = due else { continue };
        let (id, reason, grace_period_ms) = (task.id, kill.reason, kill.grace_period_ms);
        step.change(Mutation::KillChanged { task: id, kill });
        match due {
            Due::Tell => step.act(Effect::TellKill { task: id, reason, grace_period_ms }),
            Due::Force => {
                step.note(Note::ProcessesForced { task: id });
                step.act(Effect::ForceKill { task: id, processes: task.processes.identities() });
            }
            Due::KillExecutor => {
                step.note(Note::ExecutorForced { task: id });
                step.act(Effect::KillExecutor { task: id });
            }
        }
    }
}

pub(super) fn sweep(step: &mut Step) {
    let (state, now_ms) = (step.state, step.now.mono_ms);
    if now_ms < state.sweep_at_ms {
        return;
    }
    step.change(Mutation::Swept { next_at_ms: now_ms.saturating_add(SWEEP_EVERY_MS) });
    for id in sweep::victims(room::ended(state), state.setup.keep, now_ms.cast_signed()) {
        room::remove(step, id, None);
    }
}

pub(super) fn observe(step: &mut Step) {
    let (state, now_ms) = (step.state, step.now.mono_ms);
    if now_ms < state.observe_at_ms {
        return;
    }
    step.change(Mutation::Looked { next_at_ms: now_ms.saturating_add(OBSERVE_EVERY_MS) });
    let mut observed = Observed {
        registered: state.link.registered_session().is_some(),
        total: state.offer.total.clone(),
        held: state.index.held.clone(),
        unacked: u32::try_from(state.index.unacked.len()).unwrap_or(u32::MAX),
        ..Observed::default()
    };
    for task in state.tasks.values() {
        *observed.states.entry(task.state()).or_default() += 1;
        if !task.is_living() && task.is_on_disk() {
            observed.sandboxes += 1;
            observed.sandbox_bytes = observed.sandbox_bytes.saturating_add(task.bytes());
        }
    }
    if observed != state.observed {
        step.change(Mutation::Observed(Box::new(observed.clone())));
        step.act(Effect::Observe(Box::new(observed)));
    }
}
