//! A held task's life: what its executor says, kills, its end and what the end sets free.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState};
use tracing::{debug, error, warn};

use super::Agent;
use crate::decide::admit;
use crate::decide::phase::{self, Step};
use crate::model::{
    Effect, Ending, ExecutorEvent, HeldTask, Kill, MachineEvent, Now, Phase, Remains, Report, Stage, TaskPlan,
};

/// A report that is not acknowledged is sent again after this long.
pub(super) const RESEND_MS: u64 = 5_000;
/// Tasks whose last words are held in memory while their reports wait for a leader. The last words of further tasks stay in
/// the event logs.
pub(super) const MOST_WITH_WORDS: usize = 512;

impl Agent {
    pub(super) fn on_machine(&mut self, event: MachineEvent, now: Now) {
        match event {
            MachineEvent::Vetted { task, result } => self.on_vetted(task, result, now),
            MachineEvent::Checkpointed { task, result } => self.on_checkpointed(task, result, now),
            MachineEvent::Prepared { task, result } => self.on_prepared(task, result, now),
            MachineEvent::Progress { task, sequence, message } => self.on_progress(task, sequence, &message, now),
            MachineEvent::Fetched { task, result } => self.on_fetched(task, result, now),
            MachineEvent::Spawned { task, result } => self.on_spawned(task, result, now),
            MachineEvent::Heard { task, event } => self.on_heard(task, event, now),
            MachineEvent::Gone { task } => self.on_gone(task, now),
            MachineEvent::Recorded { task } => self.on_recorded(task, now),
            MachineEvent::Cleaned { task, bytes } => self.on_cleaned(task, bytes, now),
            MachineEvent::Deleted { task } => self.on_deleted(task, now),
            MachineEvent::Free(free) => self.on_free(free, now),
        }
    }

    fn on_heard(&mut self, id: TaskId, event: ExecutorEvent, now: Now) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.is_living()) else { return };
        if event.sequence() <= task.heard {
            return;
        }
        task.heard = event.sequence();
        match event {
            ExecutorEvent::ProcessStarted { name, identity, .. } => {
                task.processes.insert(name, identity);
            }
            ExecutorEvent::ProcessExited { name, .. } => {
                task.processes.remove(&name);
            }
            ExecutorEvent::KillBegun { .. } => {
                if let Some(kill) = &mut task.kill {
                    kill.begun = true;
                }
            }
            ExecutorEvent::Changed { sequence, at, state, reason, message, ended } => {
                let sequence = task.sequence_base() + sequence;
                let mut report = Report::new(id, sequence, state, at, reason, &message);
                report.ended = ended;
                if state.is_terminal() {
                    self.end_with(id, Step::Ended, None, now);
                }
                self.publish(report, now);
            }
            ExecutorEvent::Started { .. } | ExecutorEvent::Other { .. } => {}
        }
    }

    /// The executor died. Without a final event in its log the agent has to decide the task's end.
    fn on_gone(&mut self, id: TaskId, now: Now) {
        let Some(task) = self.tasks.get(&id) else { return };
        if !matches!(task.phase(), Phase::Live | Phase::Spawning) {
            return;
        }
        let forced = task.kill.as_ref().filter(|kill| kill.forced_at_ms.is_some()).map(|kill| kill.reason);
        match forced {
            Some(reason) => {
                let message = "killed by the agent: the executor did not end the task in time";
                self.end(id, TaskState::Killed, reason, message, now);
            }
            None => {
                warn!(task = %id, "the executor died");
                self.end(id, TaskState::Lost, Reason::ExecutorLost, "the executor died without ending the task", now);
            }
        }
    }

    pub(super) fn on_kill(&mut self, kill: Kill, now: Now) {
        if !self.fence(kill.epoch, "a kill") {
            return;
        }
        let id = kill.task;
        if self.waiting.remove(&id).is_some() {
            let why = "killed before it was started";
            return self.hold_ended(Report::new(id, 1, TaskState::Killed, now.wall, kill.reason, why), now);
        }
        if !self.tasks.get(&id).is_some_and(|task| task.is_living()) {
            let report = self.standing(id, now.wall);
            return self.report(report);
        }
        self.stop_task(id, kill.reason, kill.grace_period_ms, now);
    }

    /// Ends a task by the agent's own verdict: durable first where a restart could find the task, then reported.
    pub(super) fn end(&mut self, id: TaskId, state: TaskState, reason: Reason, message: &str, now: Now) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let report = Report::new(id, task.verdict_sequence(), state, now.wall, reason, message);
        if !task.is_on_disk() {
            self.end_with(id, Step::Refused, None, now);
            return self.publish(report, now);
        }
        self.decide_end(report);
    }

    /// The agent's verdict on a task that a restart would find: durable first, then told.
    pub(super) fn decide_end(&mut self, report: Report) {
        self.take_step(report.task, Step::Decided, Stage::Deciding(Box::new(report.clone())));
        self.effects.push(Effect::Record(report));
    }

    /// Holds a task that ended before anything of it was made, until its end is acknowledged.
    pub(super) fn hold_ended(&mut self, report: Report, now: Now) {
        let id = report.task;
        let ending = Ending { ended_ms: now.mono_ms.cast_signed(), remains: Remains::Nothing, withheld: None };
        let held = HeldTask::new(id, TaskPlan::default(), Stage::Over(ending), now.wall);
        self.tasks.insert(id, Box::new(held));
        self.publish(report, now);
    }

    fn on_recorded(&mut self, id: TaskId, now: Now) {
        let Some(task) = self.tasks.get(&id) else { return };
        let Stage::Deciding(report) = &task.stage else { return };
        let report = report.clone();
        // What must not live twice may be replaced as soon as this is told: not before nothing of it is left.
        match task.plan.at_most_one {
            true => self.end_with(id, Step::Recorded, Some(report), now),
            false => {
                self.end_with(id, Step::Recorded, None, now);
                self.publish(*report, now);
            }
        }
        if self.reboot_verdicts.remove(&id) && self.reboot_verdicts.is_empty() {
            self.remember_boot();
        }
    }

    fn on_cleaned(&mut self, id: TaskId, bytes: u64, now: Now) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Stage::Over(ending) = &mut task.stage else { return };
        ending.remains = Remains::Directory { bytes };
        let withheld = ending.withheld.take();
        self.count_in(id, bytes);
        if let Some(report) = withheld {
            self.publish(*report, now);
        }
        self.begin_waiting(now);
    }

    /// Keeps a report until acknowledged, and sends it.
    pub(super) fn publish(&mut self, mut report: Report, now: Now) {
        let Some(task) = self.tasks.get_mut(&report.task) else { return };
        if self.unacked.len() >= MOST_WITH_WORDS {
            report.forget_words();
        }
        task.push_report(report.clone());
        task.resend_at_ms = now.mono_ms + RESEND_MS;
        self.unacked.insert(report.task);
        self.report(report);
    }

    /// Moves a task by the table.
    pub(super) fn take_step(&mut self, id: TaskId, step: Step, stage: Stage) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let (from, to) = (task.phase(), stage.phase());
        if phase::next(from, step) != Some(to) {
            error!(task = %id, ?from, ?step, "illegal step ignored");
            return;
        }
        debug!(task = %id, ?from, ?to, "phase");
        task.stage = stage;
    }

    /// Moves a task to its end, which sets free what it held.
    fn end_with(&mut self, id: TaskId, step: Step, withheld: Option<Box<Report>>, now: Now) {
        let Some(task) = self.tasks.get(&id).filter(|task| task.is_living()) else { return };
        let remains = if task.is_on_disk() { Remains::Unmeasured } else { Remains::Nothing };
        let ending = Ending { ended_ms: now.mono_ms.cast_signed(), remains, withheld };
        self.take_step(id, step, Stage::Over(ending));
        let Some(task) = self.tasks.get_mut(&id).filter(|task| !task.is_living()) else { return };
        if task.is_on_disk() {
            let processes = task.processes.take();
            self.effects.push(Effect::CleanUp { task: id, processes });
        }
        self.killing.remove(&id);
        self.free_room(id);
    }

    pub(super) fn take_room(&mut self, task: &HeldTask) {
        self.held.add(&task.plan.demand);
        self.ports.extend(task.plan.ports.iter().map(|port| (port.number, task.id)));
        for gpu in &task.plan.limits.further.gpus {
            *self.gpus.entry(*gpu).or_default() += admit::of_each_gpu(&task.plan.demand);
        }
        self.living += 1;
    }

    fn free_room(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        self.held.take(&task.plan.demand);
        for port in &task.plan.ports {
            if self.ports.get(&port.number) == Some(&id) {
                self.ports.remove(&port.number);
            }
        }
        for gpu in &task.plan.limits.further.gpus {
            let held = self.gpus.entry(*gpu).or_default();
            *held = held.saturating_sub(admit::of_each_gpu(&task.plan.demand));
        }
        self.gpus.retain(|_, held| *held > 0);
        self.living = self.living.saturating_sub(1);
    }
}
