//! Verbs: verdicts on orders, found tasks, deadlines and space. Pure: no I/O, clock, randomness or async.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod admit;
pub mod attach;
pub mod fence;
pub mod phase;
pub mod space;
pub mod stop;
pub mod sweep;
