//! Verbs: verdicts on orders, found tasks, deadlines and space. Pure: no I/O, clock, randomness or async.

pub mod admit;
pub mod attach;
pub mod fence;
pub mod phase;
pub mod space;
pub mod stop;
pub mod sweep;
