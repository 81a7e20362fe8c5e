//! A launch from its order to its executor: spec, admission, vetting, checkpoint, sandbox and cgroup, start.

use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{SpecId, TaskId, TaskState};
use tracing::{info, warn};

use super::Agent;
use crate::decide::admit::{self, Room};
use crate::decide::phase::Step;
use crate::model::{
    Effect, HeldTask, Identity, Launch, LaunchRecord, MAX_HELD_TASKS, MAX_SPECS, MAX_SPECS_BYTES, MAX_WAITING_LAUNCHES,
    Message, Now, Phase, Refusal, Report, Spec, Stage, TaskPlan,
};

/// A port that somebody else listens on is left out of the offer for this long.
const PORT_EXCLUDED_MS: u64 = 60_000;

impl Agent {
    pub(super) fn on_launch(&mut self, launch: Launch, now: Now) {
        if !self.fence(launch.epoch, "a launch") {
            return;
        }
        let id = launch.task;
        if self.tasks.contains_key(&id) {
            let report = self.standing(id, now.wall);
            return self.report(report);
        }
        if self.forgotten.contains(&id) {
            return self.report(Report::not_on_agent(id, now.wall));
        }
        match self.specs.get(&launch.spec).cloned() {
            Some(spec) => self.admit(launch, spec, now),
            None if self.waiting.contains_key(&id) => {}
            None if self.waiting.len() >= MAX_WAITING_LAUNCHES => {
                let why = format!("{MAX_WAITING_LAUNCHES} launches wait for their specs already");
                self.refuse(&launch, Reason::NoRoom, &why, now);
            }
            None => {
                self.send(Message::NeedSpec { spec: launch.spec, task: id });
                self.waiting.insert(id, launch);
            }
        }
    }

    pub(super) fn on_spec(&mut self, spec: Arc<Spec>, now: Now) {
        if self.specs.insert(spec.id, spec.clone()).is_none() {
            self.spec_order.push_back(spec.id);
        }
        let mut bytes: usize = self.specs.values().map(|spec| spec.payload.len()).sum();
        while self.spec_order.len() > MAX_SPECS || bytes > MAX_SPECS_BYTES {
            let Some(oldest) = self.spec_order.pop_front().and_then(|oldest| self.specs.remove(&oldest)) else { break };
            bytes -= oldest.payload.len();
        }
        for launch in self.take_waiting(spec.id) {
            self.admit(launch, spec.clone(), now);
        }
    }

    pub(super) fn on_bad_spec(&mut self, spec: SpecId, why: &str, now: Now) {
        warn!(%spec, why, "a spec this agent can't read");
        for launch in self.take_waiting(spec) {
            self.refuse(&launch, Reason::LaunchRefused, why, now);
        }
    }

    fn take_waiting(&mut self, spec: SpecId) -> Vec<Launch> {
        let ids: Vec<TaskId> = self.waiting.values().filter(|one| one.spec == spec).map(|one| one.task).collect();
        ids.into_iter().filter_map(|id| self.waiting.remove(&id)).collect()
    }

    fn admit(&mut self, launch: Launch, spec: Arc<Spec>, now: Now) {
        if self.tasks.len() >= MAX_HELD_TASKS {
            warn!(task = %launch.task, held = self.tasks.len(), "launch dropped: too many ended tasks not acknowledged");
            return;
        }
        let room = Room {
            total: &self.offer.total,
            held: &self.held,
            ports: &self.ports,
            gpus: &self.gpus,
            living: self.living,
            max_tasks: self.offer.max_tasks,
        };
        if let Err(veto) = admit::admit(&room, &spec.demand, &launch.ports, &launch.gpus) {
            return self.refuse(&launch, veto.reason(), &veto.to_string(), now);
        }
        if spec.at_most_one && !self.lease.is_held(now.mono_ms) {
            let why = "this agent's lease has run out: the order may be older than a replacement";
            return self.refuse(&launch, Reason::LaunchRefused, why, now);
        }
        let task = launch.task;
        let record = LaunchRecord { launch, spec, identity: Identity::default(), lease_until_ms: None };
        let plan = TaskPlan::of(&record, self.setup.default_max_pids);
        let held = HeldTask::new(task, plan, Stage::Vetting(Box::new(record)), now.wall);
        self.take_room(&held);
        self.tasks.insert(task, Box::new(held));
        self.begin_with_room(task, now);
    }

    /// Ends a launch that left nothing on disk; the report is kept in memory until acknowledged.
    fn refuse(&mut self, launch: &Launch, reason: Reason, why: &str, now: Now) {
        info!(task = %launch.task, why, "launch refused");
        if self.tasks.len() >= MAX_HELD_TASKS {
            return;
        }
        self.hold_ended(Report::new(launch.task, 1, TaskState::Lost, now.wall, reason, why), now);
    }

    pub(super) fn on_vetted(&mut self, id: TaskId, result: Result<Identity, Refusal>, now: Now) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Stage::Vetting(record) = &task.stage else { return };
        let identity = match result {
            Ok(identity) => identity,
            Err(refusal) => return self.fail(id, &refusal, now),
        };
        if task.kill.is_some() {
            return self.end_killed_unstarted(id, now);
        }
        let lease_until_ms = record.spec.at_most_one.then(|| self.lease.until_ms());
        let record = LaunchRecord { identity: identity.clone(), lease_until_ms, ..LaunchRecord::clone(record) };
        task.plan.identity = identity;
        self.take_step(id, Step::Done, Stage::Checkpointing);
        self.effects.push(Effect::Checkpoint(Box::new(record)));
    }

    pub(super) fn on_checkpointed(&mut self, id: TaskId, result: Result<(), Refusal>, now: Now) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.phase() == Phase::Checkpointing) else { return };
        if let Err(refusal) = result {
            return self.fail(id, &refusal, now);
        }
        let (limits, identity) = (task.plan.limits.clone(), task.plan.identity.clone());
        let effect = Effect::Prepare { task: id, limits, identity };
        if let Some(kill) = &task.kill {
            // A restart would find it from now on.
            let (reason, sequence) = (kill.reason, task.verdict_sequence());
            let why = "killed before it was started";
            return self.decide_end(Report::new(id, sequence, TaskState::Killed, now.wall, reason, why));
        }
        self.take_step(id, Step::Done, Stage::Preparing);
        self.effects.push(effect);
    }

    pub(super) fn on_prepared(&mut self, id: TaskId, result: Result<(), Refusal>, now: Now) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.phase() == Phase::Preparing) else { return };
        if let Err(refusal) = result {
            return self.fail(id, &refusal, now);
        }
        if task.kill.is_some() {
            return self.end_killed_unstarted(id, now);
        }
        if !task.plan.artifacts.is_empty() {
            let (identity, artifacts) = (task.plan.identity.clone(), task.plan.artifacts.clone());
            let effect = Effect::Fetch { task: id, identity, artifacts, disk_bytes: task.plan.demand.disk_bytes };
            self.take_step(id, Step::Fetch, Stage::Fetching);
            return self.effects.push(effect);
        }
        self.take_step(id, Step::Done, Stage::Spawning);
        self.effects.push(Effect::Spawn { task: id });
    }

    /// Tells how far the fetching is. A restart begins it anew: what was told already is not told again.
    pub(super) fn on_progress(&mut self, id: TaskId, sequence: u64, message: &str, now: Now) {
        let Some(task) = self.tasks.get(&id).filter(|task| task.phase() == Phase::Fetching) else { return };
        if sequence > task.last.sequence && task.kill.is_none() {
            self.publish(Report::new(id, sequence, TaskState::Starting, now.wall, Reason::None, message), now);
        }
    }

    pub(super) fn on_fetched(&mut self, id: TaskId, result: Result<(), Refusal>, now: Now) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.phase() == Phase::Fetching) else { return };
        if task.kill.is_some() {
            return self.end_killed_unstarted(id, now);
        }
        if let Err(refusal) = result {
            return self.fail(id, &refusal, now);
        }
        self.take_step(id, Step::Done, Stage::Spawning);
        self.effects.push(Effect::Spawn { task: id });
    }

    pub(super) fn on_spawned(&mut self, id: TaskId, result: Result<(), Refusal>, now: Now) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.phase() == Phase::Spawning) else { return };
        if let Err(refusal) = result {
            return self.fail(id, &refusal, now);
        }
        let kill = task.kill.clone();
        if task.plan.at_most_one {
            self.effects.push(Effect::Renew { task: id, until_ms: self.lease.until_ms() });
        }
        self.take_step(id, Step::Done, Stage::Live);
        if let Some(kill) = kill {
            let (reason, grace_period_ms) = (kill.reason, kill.grace_period_ms);
            self.effects.push(Effect::TellKill { task: id, reason, grace_period_ms });
        }
    }

    /// A step of the launch failed. Whose fault it was, the scheduler finds out by trying elsewhere.
    pub(super) fn fail(&mut self, id: TaskId, refusal: &Refusal, now: Now) {
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
        warn!(task = %id, message, "launch failed");
        self.end(id, state, reason, message, now);
        if let Refusal::PortBusy { port, .. } = refusal
            && self.offer.exclude(port.number, now.mono_ms + PORT_EXCLUDED_MS)
        {
            self.send(Message::Offer(self.offer.offer()));
        }
    }

    /// The first step: user and ports are looked at.
    pub(super) fn vet(&mut self, id: TaskId) {
        let Some(Stage::Vetting(record)) = self.tasks.get(&id).map(|task| &task.stage) else { return };
        let (user, ports) = (record.spec.user.clone(), record.launch.ports.clone());
        self.effects.push(Effect::Vet { task: id, user, ports });
    }

    pub(super) fn end_killed_unstarted(&mut self, id: TaskId, now: Now) {
        let reason = self.tasks.get(&id).and_then(|task| task.kill.as_ref()).map_or(Reason::None, |kill| kill.reason);
        self.end(id, TaskState::Killed, reason, "killed before it was started", now);
    }
}
