//! The agent's own lease: how long the scheduler surely waits before it starts elsewhere what must not live twice here.
//!
//! It counts from when the last answered heartbeat (or registration) was sent. The scheduler heard that one no earlier, so
//! its own count of the agent's silence began no earlier, and ends no sooner than this lease plus the time a kill takes.
//! The executor of each such task holds the same deadline and kills without the agent; the agent makes sure of it.

use std::collections::VecDeque;

use dawn_proto::TaskId;
use dawn_proto::v1::Reason;
use tracing::warn;

use super::Agent;
use crate::decide::stop;
use crate::model::{Effect, Now, Phase};

/// Heartbeats whose answers may still come; older ones renew nothing.
const MAX_UNANSWERED: usize = 64;

/// Times are monotonic milliseconds.
#[derive(Debug)]
pub(super) struct Lease {
    until_ms: u64,
    /// The number of the last heartbeat, over all sessions: an answer names one heartbeat only.
    pub(super) beats: u64,
    lease_ms: u64,
    registering_ms: u64,
    sent: VecDeque<(u64, u64)>,
    /// What an earlier life of the agent was told is not known: its executors hold their own deadlines, all of which are
    /// over by then.
    grace_until_ms: u64,
    lapsed: bool,
}

impl Lease {
    /// Nothing is known yet. `lease_ms` as told to an earlier life.
    pub(super) fn new(lease_ms: u64, now_ms: u64) -> Lease {
        let grace_until_ms = now_ms.saturating_add(lease_ms);
        Lease {
            until_ms: 0,
            beats: 0,
            lease_ms,
            registering_ms: now_ms,
            sent: VecDeque::new(),
            grace_until_ms,
            lapsed: false,
        }
    }

    pub(super) fn registering(&mut self, now_ms: u64) {
        self.registering_ms = now_ms;
    }

    pub(super) fn beating(&mut self, sequence: u64, now_ms: u64) {
        self.beats = sequence;
        self.sent.push_back((sequence, now_ms));
        if self.sent.len() > MAX_UNANSWERED {
            self.sent.pop_front();
        }
    }

    pub(super) fn is_held(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }

    pub(super) fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// When the answered heartbeat was sent; None: it is not known any more.
    fn answered(&mut self, sequence: u64) -> Option<u64> {
        while self.sent.front().is_some_and(|(sent, _)| *sent < sequence) {
            self.sent.pop_front();
        }
        let (_, at_ms) = self.sent.front().copied().filter(|(sent, _)| *sent == sequence)?;
        self.sent.pop_front();
        Some(at_ms)
    }
}

impl Agent {
    /// The scheduler registered us: it heard what was sent then.
    pub(super) fn lease_begins(&mut self, lease_ms: u64, now: Now) {
        self.lease.lease_ms = lease_ms;
        self.renew(self.lease.registering_ms, now);
    }

    /// The scheduler answered a heartbeat.
    pub(super) fn lease_goes_on(&mut self, sequence: u64, now: Now) {
        if let Some(sent_ms) = self.lease.answered(sequence) {
            self.renew(sent_ms, now);
        }
    }

    fn renew(&mut self, heard_ms: u64, now: Now) {
        let until_ms = heard_ms.saturating_add(self.lease.lease_ms);
        if until_ms <= self.lease.until_ms.max(now.mono_ms) {
            return;
        }
        if !self.lease.is_held(now.mono_ms) {
            // Ordered before the gap: given up since, maybe. The leader orders again what it still wants.
            self.waiting.clear();
        }
        (self.lease.until_ms, self.lease.lapsed) = (until_ms, false);
        let leased = self.tasks.values().filter(|task| task.plan.at_most_one && task.phase() == Phase::Live);
        self.effects.extend(leased.map(|task| Effect::Renew { task: task.id, until_ms }));
    }

    /// Before anything else of a step: what must not live without a lease is stopped, and stays so if the lease comes
    /// back in this very step.
    pub(super) fn hold_to_lease(&mut self, now: Now) {
        if self.lease.lapsed || now.mono_ms < self.lease.until_ms.max(self.lease.grace_until_ms) {
            return;
        }
        self.lease.lapsed = true;
        let leased = self.tasks.values().filter(|task| task.plan.at_most_one && task.is_living());
        for id in leased.map(|task| task.id).collect::<Vec<TaskId>>() {
            warn!(task = %id, "no scheduler reached for the length of the lease: stopping what must not live twice");
            self.stop_task(id, Reason::AgentLost, None, now);
        }
    }

    /// Begins a kill, or makes the one under way shorter.
    pub(super) fn stop_task(&mut self, id: TaskId, reason: Reason, grace_period_ms: Option<u64>, now: Now) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let (phase, kill) = (task.phase(), stop::order(task, reason, grace_period_ms, now.mono_ms));
        let is_told = kill.is_some() && phase == Phase::Live;
        task.kill = kill.or(task.kill.take());
        self.killing.insert(id);
        if phase == Phase::Fetching {
            self.effects.push(Effect::StopFetch { task: id });
        }
        // In an earlier phase the step under way notices the kill when it is done.
        if is_told {
            self.effects.push(Effect::TellKill { task: id, reason, grace_period_ms });
        }
    }
}
