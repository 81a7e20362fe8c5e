//! The pulse: receive, decide, apply, append, and once durable act. Owns the whole state; no I/O of its own.

mod journal;

pub use journal::{AppendError, Journal};
