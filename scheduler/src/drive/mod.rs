//! The pulse: receive, decide, apply, append, and once durable act. Owns the whole state; no I/O of its own.

mod beats;
mod changes;
mod clock;
mod decider;
mod follower;
mod gauges;
mod inbox;
mod journal;
mod live_view;
mod plan;
mod pulse;
mod role;
mod runner;
mod vitals;

pub use clock::{Clock, SystemClock};
pub use decider::PulseSettings;
pub use follower::Follower;
pub use gauges::{APPEND_CLASSES_USEC, Gauges};
pub use inbox::{Inbox, InboxFull, Inboxes};
pub use journal::{AppendError, Gathered, Journal};
pub use live_view::LiveView;
pub use plan::{Planned, Refused, Trial};
pub use pulse::Pulse;
pub use role::Role;
pub use runner::{DriveError, Hands, Runner};
pub use vitals::{Health, Vitals};
