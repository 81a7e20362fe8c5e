//! Where the link to the leader stands. Times are monotonic milliseconds.

/// Silence of a scheduler before it has registered us for the first time.
const REGISTER_TIMEOUT_MS: u64 = 10_000;
/// Later it gets a third of the lease, but at least this.
const MIN_REGISTER_TIMEOUT_MS: u64 = 1_000;

/// From a connection to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
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
    pub fn session(&self) -> Option<u64> {
        match self {
            Link::Down => None,
            Link::Up { session, .. } | Link::Registered { session, .. } => Some(*session),
        }
    }

    pub fn registered_session(&self) -> Option<u64> {
        if let Link::Registered { session, .. } = self { Some(*session) } else { None }
    }

    /// Whether the scheduler has been silent for so long that another must be tried, to register there within the lease.
    /// `known_lease_ms` is the last leader's; 0: there was none.
    pub fn is_silent(&self, now_ms: u64, known_lease_ms: u64) -> bool {
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
    pub fn due_heartbeat(&self, now_ms: u64) -> Option<u64> {
        match self {
            Link::Registered { beat_at_ms, beats, .. } if now_ms >= *beat_at_ms => Some(beats + 1),
            _ => None,
        }
    }

    pub(super) fn hear(&mut self, at_ms: u64) {
        if let Link::Up { heard_ms, .. } | Link::Registered { heard_ms, .. } = self {
            *heard_ms = at_ms;
        }
    }

    pub(super) fn send_heartbeat(&mut self, sequence: u64, at_ms: u64) {
        if let Link::Registered { interval_ms, beat_at_ms, beats, .. } = self {
            *beat_at_ms = at_ms.saturating_add(*interval_ms);
            *beats = sequence;
        }
    }
}
