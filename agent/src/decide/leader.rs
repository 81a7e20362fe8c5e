//! The link to the leader as the agent sees it: sessions, registration, fencing, acknowledgement, reconciling.

use dawn_proto::{Epoch, TaskId, TaskState};

use super::fence::{self, Fence};
use super::step::Step;
use super::{Next, begin, lease};
use crate::model::{
    Effect, InspectedTask, Inspection, Memory, Message, Mutation, Note, Phase, RegisterMessage, Welcomed,
};

/// Bounds of what a leader may tell, so that a bad value makes neither a hot loop nor an agent that is never heard.
const MIN_HEARTBEAT_MS: u64 = 50;
const MAX_HEARTBEAT_MS: u64 = 3_600_000;
const MAX_LEASE_MS: u64 = 24 * 3_600_000;

pub(super) fn link_came_up(step: &mut Step, session: u64) {
    let state = step.state;
    step.change(Mutation::LinkUp { session, at_ms: step.now.mono_ms });
    // The first time by name: a restart or reboot may have changed much. Later, when all agents may come at once, a
    // digest is enough for a leader whose state says the same.
    let (tasks, held) = match state.compared {
        false => (state.held_list(), None),
        true => (Vec::new(), Some(state.held_reports().map(|report| (report.task, report.state)).collect())),
    };
    let register = RegisterMessage {
        agent_id: state.setup.agent_id.to_string(),
        hostname: state.setup.hostname.clone(),
        cluster_id: state.memory.cluster_id.clone(),
        offer: state.offer.offer(),
        tasks,
        held,
        isolation: state.setup.isolation.clone(),
        boot_id: state.setup.boot_id.clone(),
        epoch_seen: state.memory.epoch_seen,
        welcome: state.memory.welcome,
    };
    step.act(Effect::Send { session, message: Message::Register(Box::new(register)) });
}

pub(super) fn link_went_down(step: &mut Step, session: u64, why: &str) {
    if step.state.link.session() == Some(session) {
        step.note(Note::LinkDown { why: why.to_string() });
        step.change(Mutation::LinkDropped);
    }
}

/// Ends the link to the scheduler and looks for the next one. `slowly`: waits longer before that, because the scheduler
/// would give the same answer for a while.
pub(super) fn hang_up(step: &mut Step, next: Option<String>, slowly: bool) {
    if let Some(session) = step.state.link.session() {
        step.act(Effect::Hangup { session, next, slowly });
    }
    step.change(Mutation::LinkDropped);
}

/// Whether an order of this epoch may be obeyed. A higher one than any seen is remembered.
pub(super) fn obeys(step: &mut Step, epoch: Epoch, what: &'static str) -> bool {
    match fenced(step, epoch, what) {
        Some(Fence::Raise) => {
            let memory = Memory { epoch_seen: epoch, ..step.state.memory.clone() };
            begin::remember_leader(step, memory);
            true
        }
        Some(_) => true,
        None => false,
    }
}

/// Holds an order's epoch against the highest seen. None: it must not be obeyed, and the link is dropped.
fn fenced(step: &mut Step, epoch: Epoch, what: &'static str) -> Option<Fence> {
    let seen = step.state.memory.epoch_seen;
    match fence::epoch(seen, epoch) {
        Fence::Stale => {
            step.note(Note::StaleOrder { what, epoch, seen });
            hang_up(step, None, false);
            None
        }
        Fence::Absurd => {
            step.note(Note::AbsurdOrder { what, epoch, seen });
            hang_up(step, None, true);
            None
        }
        fence => Some(fence),
    }
}

pub(super) fn agent_registered(step: &mut Step, welcomed: &Welcomed) {
    let state = step.state;
    let Some(session) = state.link.session() else { return };
    let Welcomed { epoch, cluster_id, heartbeat_interval_ms, lease_ms, number, without_lease } = welcomed.clone();
    if !fence::cluster(&state.memory.cluster_id, &cluster_id) {
        step.note(Note::OtherCluster { known: state.memory.cluster_id.clone(), told: cluster_id });
        return hang_up(step, None, true);
    }
    if fenced(step, epoch, "a registration").is_none() {
        return;
    }
    let interval_ms = heartbeat_interval_ms.clamp(MIN_HEARTBEAT_MS, MAX_HEARTBEAT_MS);
    let lease_ms = lease_ms.clamp(2 * interval_ms, MAX_LEASE_MS);
    let welcome = if number == 0 { state.memory.welcome } else { number };
    let memory = Memory { cluster_id, epoch_seen: epoch, lease_ms, welcome, ..state.memory.clone() };
    if memory != state.memory {
        begin::remember_leader(step, memory);
    }
    step.note(Note::Registered { epoch, lease_ms, without_lease });
    step.change(Mutation::LinkRegistered { session, interval_ms, lease_ms, at_ms: step.now.mono_ms });
    if !without_lease {
        lease::begins(step, lease_ms);
    }
    step.then(Next::ResendAll);
}

/// Nothing that a scheduler says ends an agent: its tasks run on, and it dials again.
pub(super) fn registration_refused(step: &mut Step, reason: &str, leader_address: &str, slowly: bool) {
    let (reason, leader_address) = (reason.to_string(), leader_address.to_string());
    step.note(Note::Refused { reason, leader_address: leader_address.clone(), slowly });
    hang_up(step, Some(leader_address).filter(|address| !address.is_empty()), slowly);
}

pub(super) fn acknowledged(step: &mut Step, id: TaskId, sequence: u64) {
    let Some(task) = step.state.tasks.get(&id) else { return };
    step.change(Mutation::ReportsAcknowledged { task: id, sequence });
    if !task.is_final_at(sequence) || task.released {
        return;
    }
    step.change(Mutation::TaskReleased { task: id });
    if task.is_on_disk() {
        step.act(Effect::Release { task: id });
    } else if task.phase() == Phase::Over {
        step.change(Mutation::TaskForgotten { task: id });
    }
}

pub(super) fn reconcile(step: &mut Step, epoch: Epoch, ids: &[TaskId]) {
    if obeys(step, epoch, "a reconciliation") {
        ids.iter().for_each(|id| step.report(step.state.standing(*id, step.now.wall)));
    }
}

pub(super) fn tell_tasks(step: &mut Step, epoch: Epoch) {
    if obeys(step, epoch, "a question for all tasks") {
        step.send(Message::HeldTasks(step.state.held_list()));
    }
}

pub(super) fn inspect(step: &mut Step, request: u64) {
    let Some(session) = step.state.link.registered_session() else { return };
    let living = step.state.tasks.values().filter(|task| task.is_living());
    let tasks = living.map(|task| InspectedTask {
        task: task.id,
        job: task.plan.job.clone(),
        state: task.state(),
        stopping: task.kill.is_some(),
        on_disk: task.is_on_disk(),
        ..InspectedTask::default()
    });
    let (tasks, epoch_seen) = (tasks.collect(), step.state.memory.epoch_seen);
    let inspection = Inspection { request, epoch_seen, tasks, ..Inspection::default() };
    step.act(Effect::Inspect { session, inspection: Box::new(inspection) });
}

pub(super) fn describe(step: &mut Step, epoch: Epoch, ids: &[TaskId], finished: &[(TaskId, TaskId)]) {
    if !obeys(step, epoch, "a question") {
        return;
    }
    let state = step.state;
    let Some(session) = state.link.registered_session() else { return };
    let named = ids.iter().filter_map(|id| state.tasks.get(id));
    let ranges = finished.iter().filter(|(first, end)| first < end);
    let ended = ranges.flat_map(|(first, end)| state.tasks.range(*first..*end)).map(|(_, task)| task);
    let ended = ended.filter(|task| task.state() == TaskState::Finished && !ids.contains(&task.id));
    let reports: Vec<_> = named.chain(ended).filter(|task| task.is_on_disk()).map(|task| task.last.clone()).collect();
    if !reports.is_empty() {
        step.act(Effect::Describe { session, reports });
    }
}
