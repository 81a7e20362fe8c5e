//! State::apply: the only code that changes an agent's state. What no longer fits it changes nothing: an agent lives on.

use std::sync::Arc;

use dawn_proto::TaskId;

use super::{HeldTask, Link, MAX_FORGOTTEN_TASKS, MAX_SPECS, MAX_SPECS_BYTES, Mutation, Remains, Spec, Stage, State};

impl State {
    /// Carries one mutation out.
    pub fn apply(&mut self, mutation: Mutation) {
        match mutation {
            Mutation::MemoryChanged(memory) => self.memory = *memory,
            Mutation::OfferChanged(offer) => self.offer = *offer,
            Mutation::Draining => self.draining = true,
            Mutation::SpecKept(spec) => self.keep_spec(spec),
            Mutation::LaunchWaits(launch) => {
                self.waiting.insert(launch.task, *launch);
            }
            Mutation::LaunchTaken { task } => {
                self.waiting.remove(&task);
            }
            Mutation::LaunchesDropped => self.waiting.clear(),
            Mutation::Swept { next_at_ms } => self.sweep_at_ms = next_at_ms,
            Mutation::Looked { next_at_ms } => self.observe_at_ms = next_at_ms,
            Mutation::Observed(observed) => self.observed = *observed,
            Mutation::RebootEnds { task } => {
                self.reboot_verdicts.insert(task);
            }
            Mutation::LinkUp { .. }
            | Mutation::LinkHeard { .. }
            | Mutation::LinkDropped
            | Mutation::LinkRegistered { .. }
            | Mutation::HeartbeatSent { .. }
            | Mutation::HeartbeatAnswered { .. }
            | Mutation::LeaseTold { .. }
            | Mutation::LeaseRenewed { .. }
            | Mutation::LeaseLapsed => self.apply_to_link(mutation),
            Mutation::TaskRemoved { .. }
            | Mutation::DirectoryGone { .. }
            | Mutation::LeftBefore { .. }
            | Mutation::RoomAwaited { .. }
            | Mutation::RoomDecided { .. }
            | Mutation::HighestFree(_)
            | Mutation::Suspects(_)
            | Mutation::RoomMade { .. } => self.apply_to_space(mutation),
            Mutation::TaskHeld(task) => self.hold(task),
            Mutation::TaskMoved { task, stage } => self.move_task(task, stage),
            Mutation::TaskForgotten { task } => self.forget(task),
            Mutation::TaskIdentified { task, .. }
            | Mutation::TaskHeard { task, .. }
            | Mutation::ProcessStarted { task, .. }
            | Mutation::ProcessExited { task, .. }
            | Mutation::KillChanged { task, .. }
            | Mutation::ReportsSentAgain { task, .. }
            | Mutation::ReportsAcknowledged { task, .. }
            | Mutation::TaskReleased { task }
            | Mutation::TaskMeasured { task, .. } => self.change_task(task, mutation),
            Mutation::TaskReported { ref report, .. } => {
                let task = report.task;
                self.change_task(task, mutation);
            }
        }
    }

    fn apply_to_link(&mut self, mutation: Mutation) {
        match mutation {
            Mutation::LinkUp { session, at_ms } => {
                self.link = Link::Up { session, heard_ms: at_ms };
                self.lease.registering_ms = at_ms;
            }
            Mutation::LinkHeard { at_ms } => self.link.hear(at_ms),
            Mutation::LinkDropped => {
                self.link = Link::Down;
                self.waiting.clear();
            }
            Mutation::LinkRegistered { session, interval_ms, lease_ms, at_ms } => {
                self.compared = true;
                self.link = Link::Registered {
                    session,
                    heard_ms: at_ms,
                    interval_ms,
                    lease_ms,
                    beat_at_ms: at_ms.saturating_add(interval_ms),
                    beats: self.lease.beats,
                };
            }
            Mutation::HeartbeatSent { sequence, at_ms } => {
                self.link.send_heartbeat(sequence, at_ms);
                self.lease.send_heartbeat(sequence, at_ms);
            }
            Mutation::HeartbeatAnswered { sequence } => self.lease.answer(sequence),
            Mutation::LeaseTold { lease_ms } => self.lease.lease_ms = lease_ms,
            Mutation::LeaseRenewed { until_ms } => (self.lease.until_ms, self.lease.lapsed) = (until_ms, false),
            Mutation::LeaseLapsed => self.lease.lapsed = true,
            _ => {}
        }
    }

    fn apply_to_space(&mut self, mutation: Mutation) {
        match mutation {
            Mutation::TaskRemoved { task, bytes, why } => {
                self.space.going.insert(task, bytes);
                self.space.removed.insert(task, why);
                self.forget(task);
            }
            Mutation::DirectoryGone { task } => {
                self.space.going.remove(&task);
            }
            Mutation::LeftBefore { task } => {
                self.space.found.insert(task);
            }
            Mutation::RoomAwaited { task, until_ms } => self.space.waiting.push_back((task, until_ms)),
            Mutation::RoomDecided { task } => {
                // Most are the first in turn.
                if let Some(at) = self.space.waiting.iter().position(|(waiting, _)| *waiting == task) {
                    self.space.waiting.remove(at);
                }
            }
            Mutation::HighestFree(free) => self.space.highest = Some(free),
            Mutation::Suspects(tasks) => self.space.suspects = tasks.into(),
            Mutation::RoomMade { next_at_ms } => self.space.room_at_ms = next_at_ms,
            _ => {}
        }
    }

    /// Changes what is told of a task while it stays in its phase.
    fn change_task(&mut self, id: TaskId, mutation: Mutation) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        match mutation {
            Mutation::TaskIdentified { identity, .. } => task.plan.identity = identity,
            Mutation::TaskHeard { sequence, .. } => task.heard = sequence,
            Mutation::ProcessStarted { name, identity, .. } => task.processes.insert(name, identity),
            Mutation::ProcessExited { name, .. } => task.processes.remove(&name),
            Mutation::KillChanged { kill, .. } => {
                task.kill = Some(kill);
                self.index.killing.insert(id);
            }
            Mutation::TaskReported { report, resend_at_ms } => {
                task.push_report(*report);
                task.resend_at_ms = resend_at_ms;
                self.index.unacked.insert(id);
            }
            Mutation::ReportsSentAgain { resend_at_ms, .. } => task.resend_at_ms = resend_at_ms,
            Mutation::ReportsAcknowledged { sequence, .. } => {
                task.acknowledge(sequence);
                if task.unacked.is_empty() {
                    self.index.unacked.remove(&id);
                }
            }
            Mutation::TaskReleased { .. } => task.released = true,
            Mutation::TaskMeasured { bytes, .. } => {
                if let Stage::Over(ending) = &mut task.stage {
                    (ending.remains, ending.withheld) = (Remains::Directory { bytes }, None);
                }
                self.space.found.remove(&id);
            }
            _ => {}
        }
    }

    fn keep_spec(&mut self, spec: Arc<Spec>) {
        let id = spec.id;
        if self.specs.insert(id, spec).is_none() {
            self.spec_order.push_back(id);
        }
        let mut bytes: usize = self.specs.values().map(|spec| spec.payload.len()).sum();
        while self.spec_order.len() > MAX_SPECS || bytes > MAX_SPECS_BYTES {
            let Some(oldest) = self.spec_order.pop_front().and_then(|oldest| self.specs.remove(&oldest)) else { break };
            bytes -= oldest.payload.len();
        }
    }

    fn hold(&mut self, task: Box<HeldTask>) {
        self.index.hold(&task);
        self.tasks.insert(task.id, task);
    }

    /// Entering the end sets free what a task held.
    fn move_task(&mut self, id: TaskId, stage: Stage) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.is_living()) else { return };
        task.stage = stage;
        if task.is_living() {
            return;
        }
        task.kill = None;
        task.processes.take();
        self.index.free(task);
        self.reboot_verdicts.remove(&id);
    }

    /// Forgets a task for good; a late repeat of its launch is still known for one.
    fn forget(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.index.unacked.remove(&task);
        if self.forgotten.insert(task) {
            self.forgotten_order.push_back(task);
        }
        while self.forgotten_order.len() > MAX_FORGOTTEN_TASKS {
            if let Some(oldest) = self.forgotten_order.pop_front() {
                self.forgotten.remove(&oldest);
                self.space.removed.remove(&oldest);
            }
        }
    }
}
