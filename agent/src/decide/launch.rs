//! A launch from its order to its executor: spec, admission, vetting, checkpoint, sandbox and cgroup, start.

use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{SpecId, TaskId, TaskState};

use super::admit::{self, Room};
use super::phase::Trigger;
use super::step::Step;
use super::{Next, leader, life, room};
use crate::model::{
    Effect, HeldTask, Identity, Launch, LaunchRecord, MAX_HELD_TASKS, MAX_WAITING_LAUNCHES, Message, Mutation, Note,
    Phase, Refusal, Report, Spec, Stage, TaskPlan,
};

/// A port that could not be bound is left out of the offer for this long.
const PORT_EXCLUDED_MS: u64 = 60_000;

pub(super) fn take_launch(step: &mut Step, launch: &Launch) {
    if !leader::obeys(step, launch.epoch, "a launch") {
        return;
    }
    let (state, id) = (step.state, launch.task);
    if state.tasks.contains_key(&id) {
        return step.report(state.standing(id, step.now.wall));
    }
    if state.forgotten.contains(&id) {
        return step.report(Report::not_on_agent(id, step.now.wall));
    }
    match state.specs.get(&launch.spec) {
        Some(spec) => admit_launch(step, launch.clone(), spec.clone()),
        None if state.waiting.contains_key(&id) => {}
        None if state.waiting.len() >= MAX_WAITING_LAUNCHES => {
            let why = format!("{MAX_WAITING_LAUNCHES} launches wait for their specs already");
            refuse(step, id, Reason::NoRoom, &why);
        }
        None => {
            step.send(Message::NeedSpec { spec: launch.spec, task: id });
            step.change(Mutation::LaunchWaits(Box::new(launch.clone())));
        }
    }
}

pub(super) fn spec_came(step: &mut Step, spec: &Arc<Spec>) {
    step.change(Mutation::SpecKept(spec.clone()));
    for launch in take_waiting(step, spec.id) {
        step.then(Next::Admit(Box::new(launch), spec.clone()));
    }
}

pub(super) fn spec_is_bad(step: &mut Step, spec: SpecId, why: &str) {
    step.note(Note::SpecUnreadable { spec, why: why.to_string() });
    for launch in take_waiting(step, spec) {
        refuse(step, launch.task, Reason::LaunchRefused, why);
    }
}

fn take_waiting(step: &mut Step, spec: SpecId) -> Vec<Launch> {
    let taken: Vec<Launch> = step.state.waiting.values().filter(|one| one.spec == spec).cloned().collect();
    taken.iter().for_each(|launch| step.change(Mutation::LaunchTaken { task: launch.task }));
    taken
}

pub(super) fn admit_launch(step: &mut Step, launch: Launch, spec: Arc<Spec>) {
    let (state, task) = (step.state, launch.task);
    if state.tasks.len() >= MAX_HELD_TASKS {
        return step.note(Note::LaunchDropped { task, held: state.tasks.len() });
    }
    let room = Room {
        total: &state.offer.total,
        held: &state.index.held,
        ports: &state.index.ports,
        gpus: &state.index.gpus,
        living: state.index.living,
        max_tasks: state.offer.max_tasks,
    };
    if let Err(veto) = admit::admit(&room, &spec.demand, &launch.ports, &launch.gpus) {
        return refuse(step, task, veto.reason(), &veto.to_string());
    }
    if spec.at_most_one && !state.lease.is_held(step.now.mono_ms) {
        let why = "this agent's lease has run out: the order may be older than a replacement";
        return refuse(step, task, Reason::LaunchRefused, why);
    }
    let record = LaunchRecord { launch, spec, identity: Identity::default(), lease_until_ms: None };
    let plan = TaskPlan::of(&record, state.setup.default_max_pids);
    let held = HeldTask::new(task, plan, Stage::Vetting(Box::new(record)), step.now.wall);
    step.change(Mutation::TaskHeld(Box::new(held)));
    room::begin_with_room(step, task);
}

/// Ends a launch that left nothing on disk; the report is kept in memory until acknowledged.
fn refuse(step: &mut Step, task: TaskId, reason: Reason, why: &str) {
    step.note(Note::LaunchRefused { task, why: why.to_string() });
    if step.state.tasks.len() >= MAX_HELD_TASKS {
        return;
    }
    life::hold_ended(step, Report::new(task, 1, TaskState::Lost, step.now.wall, reason, why));
}

/// The first step: user and ports are looked at.
pub(super) fn vet_user(step: &mut Step, id: TaskId) {
    let Some(Stage::Vetting(record)) = step.state.tasks.get(&id).map(|task| &task.stage) else { return };
    step.act(Effect::Vet { task: id, user: record.spec.user.clone(), ports: record.launch.ports.clone() });
}

pub(super) fn user_vetted(step: &mut Step, id: TaskId, result: &Result<Identity, Refusal>) {
    let Some(task) = step.state.tasks.get(&id) else { return };
    let Stage::Vetting(record) = &task.stage else { return };
    let identity = match result {
        Ok(identity) => identity.clone(),
        Err(refusal) => return fail_launch(step, id, refusal),
    };
    if task.kill.is_some() {
        return end_killed_unstarted(step, id);
    }
    let lease_until_ms = record.spec.at_most_one.then_some(step.state.lease.until_ms);
    let record = LaunchRecord { identity: identity.clone(), lease_until_ms, ..LaunchRecord::clone(record) };
    step.change(Mutation::TaskIdentified { task: id, identity });
    step.advance(id, Trigger::Done, Stage::Checkpointing);
    step.act(Effect::Checkpoint(Box::new(record)));
}

pub(super) fn plan_checkpointed(step: &mut Step, id: TaskId, result: &Result<(), Refusal>) {
    let Some(task) = step.state.tasks.get(&id).filter(|task| task.phase() == Phase::Checkpointing) else { return };
    if let Err(refusal) = result {
        return fail_launch(step, id, refusal);
    }
    if let Some(kill) = &task.kill {
        // A restart would find it from now on.
        let (sequence, at) = (task.verdict_sequence(), step.now.wall);
        let why = "killed before it was started";
        return life::decide_end(step, Report::new(id, sequence, TaskState::Killed, at, kill.reason, why));
    }
    let (limits, identity) = (task.plan.limits.clone(), task.plan.identity.clone());
    step.advance(id, Trigger::Done, Stage::Preparing);
    step.act(Effect::Prepare { task: id, limits, identity });
}

pub(super) fn sandbox_prepared(step: &mut Step, id: TaskId, result: &Result<(), Refusal>) {
    let Some(task) = step.state.tasks.get(&id).filter(|task| task.phase() == Phase::Preparing) else { return };
    if let Err(refusal) = result {
        return fail_launch(step, id, refusal);
    }
    if task.kill.is_some() {
        return end_killed_unstarted(step, id);
    }
    if task.plan.artifacts.is_empty() {
        return spawn(step, id);
    }
    let (identity, artifacts) = (task.plan.identity.clone(), task.plan.artifacts.clone());
    step.advance(id, Trigger::Fetch, Stage::Fetching);
    step.act(Effect::Fetch { task: id, identity, artifacts, disk_bytes: task.plan.demand.disk_bytes });
}

fn spawn(step: &mut Step, id: TaskId) {
    step.advance(id, Trigger::Done, Stage::Spawning);
    step.act(Effect::Spawn { task: id });
}

/// Reports the progress of fetching artifacts. After a restart the agent fetches from the beginning, but does not report
/// the same progress twice.
pub(super) fn report_fetching(step: &mut Step, id: TaskId, sequence: u64, message: &str) {
    let Some(task) = step.state.tasks.get(&id).filter(|task| task.phase() == Phase::Fetching) else { return };
    if sequence > task.last.sequence && task.kill.is_none() {
        step.publish(Report::new(id, sequence, TaskState::Starting, step.now.wall, Reason::None, message));
    }
}

pub(super) fn artifacts_fetched(step: &mut Step, id: TaskId, result: &Result<(), Refusal>) {
    let Some(task) = step.state.tasks.get(&id).filter(|task| task.phase() == Phase::Fetching) else { return };
    if task.kill.is_some() {
        return end_killed_unstarted(step, id);
    }
    match result {
        Err(refusal) => fail_launch(step, id, refusal),
        Ok(()) => spawn(step, id),
    }
}

pub(super) fn executor_spawned(step: &mut Step, id: TaskId, result: &Result<(), Refusal>) {
    let Some(task) = step.state.tasks.get(&id).filter(|task| task.phase() == Phase::Spawning) else { return };
    if let Err(refusal) = result {
        return fail_launch(step, id, refusal);
    }
    if task.plan.at_most_one {
        step.act(Effect::Renew { task: id, until_ms: step.state.lease.until_ms });
    }
    step.advance(id, Trigger::Done, Stage::Live);
    if let Some(kill) = &task.kill {
        let (reason, grace_period_ms) = (kill.reason, kill.grace_period_ms);
        step.act(Effect::TellKill { task: id, reason, grace_period_ms });
    }
}

/// A step of the launch failed. Whose fault it was, the scheduler finds out by trying elsewhere.
pub(super) fn fail_launch(step: &mut Step, id: TaskId, refusal: &Refusal) {
    let stopped = "its launch was given up".to_string();
    let (state, reason, message) = match refusal {
        Refusal::UnknownUser { message } => (TaskState::Failed, Reason::UnknownUser, message),
        Refusal::Plan { message } => (TaskState::Lost, Reason::LaunchRefused, message),
        Refusal::NoRoom { message } => (TaskState::Lost, Reason::NoRoom, message),
        Refusal::Disk { reason, message } => (TaskState::Lost, *reason, message),
        Refusal::RootFs { message } => (TaskState::Lost, Reason::RootFsFailed, message),
        Refusal::Limit { message } => (TaskState::Lost, Reason::LimitNotPossible, message),
        Refusal::PortBusy { message, .. } => (TaskState::Lost, Reason::PortClash, message),
        Refusal::Checkpoint { message } => (TaskState::Lost, Reason::CheckpointFailed, message),
        Refusal::Sandbox { message } => (TaskState::Lost, Reason::SandboxFailed, message),
        Refusal::Cgroup { message } => (TaskState::Lost, Reason::CgroupFailed, message),
        Refusal::Executor { message } => (TaskState::Lost, Reason::ExecutorLost, message),
        Refusal::Artifact { reason, message } => (TaskState::Failed, *reason, message),
        Refusal::Stopped => (TaskState::Lost, Reason::LaunchRefused, &stopped),
    };
    step.note(Note::LaunchFailed { task: id, message: message.clone() });
    life::end(step, id, state, reason, message);
    if let Refusal::PortBusy { port, holder, .. } = refusal {
        let mut offer = step.state.offer.clone();
        match offer.exclude(port.number, *holder, step.now.mono_ms.saturating_add(PORT_EXCLUDED_MS)) {
            true => step.offer(offer),
            false => step.change(Mutation::OfferChanged(Box::new(offer))),
        }
    }
}

pub(super) fn end_killed_unstarted(step: &mut Step, id: TaskId) {
    let kill = step.state.tasks.get(&id).and_then(|task| task.kill.as_ref());
    let reason = kill.map_or(Reason::None, |kill| kill.reason);
    life::end(step, id, TaskState::Killed, reason, "killed before it was started");
}
