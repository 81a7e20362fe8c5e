//! The pulse: receive, decide, apply, append, and once durable act. Owns the whole state; no I/O of its own.

mod clock;
mod decider;
mod inbox;
mod journal;
mod pulse;
mod runner;

pub use clock::{Clock, SystemClock};
pub use decider::PulseSettings;
pub use inbox::{Inbox, InboxFull, Inboxes};
pub use journal::{AppendError, Journal};
pub use pulse::Pulse;
pub use runner::{DriveError, Hands, LiveView, Runner};
