//! The agent's own lease: how long the scheduler surely waits before it starts elsewhere what must not live twice here.
//!
//! It counts from when the last answered heartbeat (or registration) was sent. The scheduler heard that one no earlier, so
//! its own count of the agent's silence began no earlier, and ends no sooner than this lease plus the time a kill takes.
//! The executor of each such task holds the same deadline and kills without the agent; the agent makes sure of it.

use std::collections::VecDeque;

/// Heartbeats whose answers may still come; older ones renew nothing.
const MAX_UNANSWERED: usize = 64;

/// Times are monotonic milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub until_ms: u64,
    /// The number of the last heartbeat, over all sessions: an answer names one heartbeat only.
    pub beats: u64,
    pub lease_ms: u64,
    /// When the registration under way was sent.
    pub registering_ms: u64,
    /// Heartbeats not answered yet, and when they were sent.
    sent: VecDeque<(u64, u64)>,
    /// What an earlier life of the agent was told is not known: its executors hold their own deadlines, all of which are
    /// over by then.
    grace_until_ms: u64,
    pub(super) lapsed: bool,
}

impl Lease {
    /// Nothing is known yet. `lease_ms` as told to an earlier life.
    pub fn new(lease_ms: u64, now_ms: u64) -> Lease {
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

    pub fn is_held(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }

    /// Whether it has run out, and nothing was done about it yet.
    pub fn is_to_lapse(&self, now_ms: u64) -> bool {
        !self.lapsed && now_ms >= self.until_ms.max(self.grace_until_ms)
    }

    /// When a heartbeat was sent that is answered now; None: it is not known any more.
    pub fn sent_ms(&self, sequence: u64) -> Option<u64> {
        self.sent.iter().find(|(sent, _)| *sent == sequence).map(|(_, at_ms)| *at_ms)
    }

    pub(super) fn send_heartbeat(&mut self, sequence: u64, at_ms: u64) {
        self.beats = sequence;
        self.sent.push_back((sequence, at_ms));
        if self.sent.len() > MAX_UNANSWERED {
            self.sent.pop_front();
        }
    }

    /// An answer counts once, and answers to earlier heartbeats count no more.
    pub(super) fn answer(&mut self, sequence: u64) {
        while self.sent.front().is_some_and(|(sent, _)| *sent <= sequence) {
            self.sent.pop_front();
        }
    }
}
