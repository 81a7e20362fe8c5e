//! The link to the leader as the agent's state sees it: sessions, registration, fencing, acknowledgement, reconciling.

use dawn_proto::{Epoch, TaskId, TaskState, Timestamp};
use tracing::{info, warn};

use super::Agent;
use crate::decide::fence::{self, Fence};
use crate::model::{Effect, InspectedTask, Inspection, Message, Now, Phase, RegisterMessage, Report, Welcomed};

/// Silence of a scheduler before it has registered us for the first time.
const REGISTER_TIMEOUT_MS: u64 = 10_000;
/// Later it gets a third of the lease, but at least this.
const MIN_REGISTER_TIMEOUT_MS: u64 = 1_000;
/// Bounds of what a leader may tell, so that a bad value makes neither a hot loop nor an agent that is never heard.
const MIN_HEARTBEAT_MS: u64 = 50;
const MAX_HEARTBEAT_MS: u64 = 3_600_000;
const MAX_LEASE_MS: u64 = 24 * 3_600_000;

/// Where the link stands. Times are monotonic milliseconds.
#[derive(Debug)]
pub(super) enum Link {
    Down,
    /// Connected, Register sent.
    Up {
        session: u64,
        heard_ms: u64,
    },
    Registered {
        session: u64,
        heard_ms: u64,
        interval_ms: u64,
        lease_ms: u64,
        beat_at_ms: u64,
        beats: u64,
    },
}

impl Link {
    pub(super) fn heard(&mut self, now_ms: u64) {
        if let Link::Up { heard_ms, .. } | Link::Registered { heard_ms, .. } = self {
            *heard_ms = now_ms;
        }
    }

    pub(super) fn session(&self) -> Option<u64> {
        match self {
            Link::Down => None,
            Link::Up { session, .. } | Link::Registered { session, .. } => Some(*session),
        }
    }

    pub(super) fn registered_session(&self) -> Option<u64> {
        if let Link::Registered { session, .. } = self { Some(*session) } else { None }
    }

    /// Whether the scheduler has been silent for so long that another must be tried, to register there within the lease.
    /// `known_lease_ms` is the last leader's; 0: there was none.
    pub(super) fn is_silent(&self, now_ms: u64, known_lease_ms: u64) -> bool {
        let register_ms = match known_lease_ms {
            0 => REGISTER_TIMEOUT_MS,
            lease_ms => (lease_ms / 3).clamp(MIN_REGISTER_TIMEOUT_MS, REGISTER_TIMEOUT_MS),
        };
        match self {
            Link::Down => false,
            Link::Up { heard_ms, .. } => now_ms.saturating_sub(*heard_ms) >= register_ms,
            // One answer to a heartbeat may be late by half an interval.
            Link::Registered { heard_ms, lease_ms, interval_ms, .. } => {
                now_ms.saturating_sub(*heard_ms) >= (lease_ms / 2).max(interval_ms * 3 / 2)
            }
        }
    }

    /// The number of the heartbeat that is due.
    pub(super) fn beat(&mut self, now_ms: u64) -> Option<u64> {
        match self {
            Link::Registered { interval_ms, beat_at_ms, beats, .. } if now_ms >= *beat_at_ms => {
                *beat_at_ms = now_ms.saturating_add(*interval_ms);
                *beats += 1;
                Some(*beats)
            }
            _ => None,
        }
    }
}

impl Agent {
    pub(super) fn on_up(&mut self, session: u64, now: Now) {
        self.link = Link::Up { session, heard_ms: now.mono_ms };
        self.lease.registering(now.mono_ms);
        // The first time by name: a restart or reboot may have changed much. Later, when all agents may come at once, a
        // digest is enough for a leader whose state says the same.
        let (tasks, held) = match self.compared {
            false => (self.held_reports().cloned().collect(), None),
            true => (Vec::new(), Some(self.held_reports().map(|report| (report.task, report.state)).collect())),
        };
        let register = RegisterMessage {
            agent_id: self.setup.agent_id.to_string(),
            hostname: self.setup.hostname.clone(),
            cluster_id: self.memory.cluster_id.clone(),
            offer: self.offer.offer(),
            tasks,
            held,
            isolation: self.setup.isolation.clone(),
            boot_id: self.setup.boot_id.clone(),
            epoch_seen: self.memory.epoch_seen,
            welcome: self.memory.welcome,
        };
        self.effects.push(Effect::Send { session, message: Message::Register(Box::new(register)) });
    }

    /// Where every task stands that is living, or whose end was not acknowledged.
    fn held_reports(&self) -> impl Iterator<Item = &Report> {
        self.tasks.values().filter(|task| task.is_living() || !task.released).map(|task| &task.last)
    }

    pub(super) fn on_tell_tasks(&mut self, epoch: Epoch) {
        if self.fence(epoch, "a question for all tasks") {
            self.send(Message::HeldTasks(self.held_reports().cloned().collect()));
        }
    }

    pub(super) fn on_down(&mut self, session: u64, why: &str) {
        if self.link.session() == Some(session) {
            info!(why, "the link to the scheduler is down; tasks run on");
            self.link = Link::Down;
            // The leader orders them again: it knows that they were never reported.
            self.waiting.clear();
        }
    }

    /// `slowly`: whoever answers will say the same for a while.
    pub(super) fn hang_up(&mut self, next: Option<String>, slowly: bool) {
        if let Some(session) = self.link.session() {
            self.effects.push(Effect::Hangup { session, next, slowly });
        }
        self.link = Link::Down;
        self.waiting.clear();
    }

    /// Holds an order's epoch against the highest seen. False: it must not be obeyed.
    pub(super) fn fence(&mut self, epoch: Epoch, what: &str) -> bool {
        let seen = self.memory.epoch_seen;
        match fence::epoch(seen, epoch) {
            Fence::Obey => true,
            Fence::Raise => {
                self.memory.epoch_seen = epoch;
                self.effects.push(Effect::Remember(self.memory.clone()));
                true
            }
            Fence::Stale => {
                warn!(what, epoch = epoch.0, seen = seen.0, "ignored: from a scheduler that leads no more");
                self.hang_up(None, false);
                false
            }
            Fence::Absurd => {
                warn!(what, epoch = epoch.0, seen = seen.0, "ignored: no scheduler can have led so often");
                self.hang_up(None, true);
                false
            }
        }
    }

    pub(super) fn on_registered(&mut self, welcomed: Welcomed, now: Now) {
        let Some(session) = self.link.session() else { return };
        let Welcomed { epoch, cluster_id, heartbeat_interval_ms, lease_ms, number, without_lease } = welcomed;
        if !fence::cluster(&self.memory.cluster_id, &cluster_id) {
            warn!(
                "this agent belongs to cluster {}, the scheduler is of cluster {cluster_id}; give it the right \
                 --scheduler, or a new --work-dir to make it a new agent. Its tasks run on",
                self.memory.cluster_id
            );
            return self.hang_up(None, true);
        }
        let before = self.memory.clone();
        if !self.fence(epoch, "a registration") {
            return;
        }
        let interval_ms = heartbeat_interval_ms.clamp(MIN_HEARTBEAT_MS, MAX_HEARTBEAT_MS);
        let lease_ms = lease_ms.clamp(2 * interval_ms, MAX_LEASE_MS);
        (self.memory.cluster_id, self.memory.lease_ms) = (cluster_id, lease_ms);
        if number != 0 {
            self.memory.welcome = number;
        }
        if self.memory != before {
            // One write for all of it.
            self.effects.retain(|effect| !matches!(effect, Effect::Remember(_)));
            self.effects.push(Effect::Remember(self.memory.clone()));
        }
        info!(epoch = epoch.0, lease_ms, without_lease, "registered");
        self.compared = true;
        let (heard_ms, beat_at_ms) = (now.mono_ms, now.mono_ms.saturating_add(interval_ms));
        let beats = self.lease.beats;
        self.link = Link::Registered { session, heard_ms, interval_ms, lease_ms, beat_at_ms, beats };
        match without_lease {
            false => self.lease_begins(lease_ms, now),
            true => warn!(
                "another machine claims to be this agent: tasks that must not live twice end here when their lease is \
                 over, until an operator chooses (dawn node forgive)"
            ),
        }
        self.resend_unacked(now, true);
    }

    /// Nothing that a scheduler says ends an agent: its tasks run on, and it dials again.
    pub(super) fn on_refused(&mut self, reason: &str, leader_address: String, slowly: bool) {
        match slowly {
            true => {
                warn!(reason, "refused by the scheduler; the tasks run on, and it is asked again at growing intervals")
            }
            false => info!(reason, leader_address, "refused by the scheduler"),
        }
        self.hang_up(Some(leader_address).filter(|address| !address.is_empty()), slowly);
    }

    pub(super) fn on_ack(&mut self, id: TaskId, sequence: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let final_one = task.acknowledge(sequence);
        if task.unacked.is_empty() {
            self.unacked.remove(&id);
        }
        if !final_one || task.released {
            return;
        }
        task.released = true;
        if task.is_on_disk() {
            self.effects.push(Effect::Release { task: id });
        } else if task.phase() == Phase::Over {
            self.forget(id);
        }
    }

    pub(super) fn on_reconcile(&mut self, epoch: Epoch, ids: Vec<TaskId>, now: Now) {
        if !self.fence(epoch, "a reconciliation") {
            return;
        }
        for id in ids {
            let report = self.standing(id, now.wall);
            self.report(report);
        }
    }

    pub(super) fn on_inspect(&mut self, request: u64) {
        let Some(session) = self.link.registered_session() else { return };
        let living = self.tasks.values().filter(|task| task.is_living());
        let tasks = living.map(|task| InspectedTask {
            task: task.id,
            job: task.plan.job.clone(),
            state: task.state(),
            stopping: task.kill.is_some(),
            on_disk: task.is_on_disk(),
            ..InspectedTask::default()
        });
        let (tasks, epoch_seen) = (tasks.collect(), self.memory.epoch_seen);
        let inspection = Inspection { request, epoch_seen, tasks, ..Inspection::default() };
        self.effects.push(Effect::Inspect { session, inspection: Box::new(inspection) });
    }

    pub(super) fn on_describe(&mut self, epoch: Epoch, ids: &[TaskId], finished: &[(TaskId, TaskId)]) {
        if !self.fence(epoch, "a question") {
            return;
        }
        let Some(session) = self.link.registered_session() else { return };
        let named = ids.iter().filter_map(|id| self.tasks.get(id));
        let ranges = finished.iter().filter(|(first, end)| first < end);
        let ended = ranges.flat_map(|(first, end)| self.tasks.range(*first..*end)).map(|(_, task)| task);
        let ended = ended.filter(|task| task.state() == TaskState::Finished && !ids.contains(&task.id));
        let reports: Vec<_> =
            named.chain(ended).filter(|task| task.is_on_disk()).map(|task| task.last.clone()).collect();
        if !reports.is_empty() {
            self.effects.push(Effect::Describe { session, reports });
        }
    }

    /// Where a task stands, known or not.
    pub(super) fn standing(&self, id: TaskId, at: Timestamp) -> Report {
        match self.tasks.get(&id) {
            Some(task) => task.last.clone(),
            None if self.waiting.contains_key(&id) => {
                Report::new(id, 0, TaskState::Assigned, at, dawn_proto::v1::Reason::None, "waits for its spec")
            }
            None => Report::not_on_agent(id, at),
        }
    }
}
