//! The agent: what Dawn runs on every machine. It offers what is free, launches tasks with a checkpoint, relays their
//! executors' reports and survives its own restarts. Not here: what happens inside a task (the executor's).

#![warn(clippy::expect_used, clippy::unwrap_used)]

pub mod decide;
pub mod drive;
pub mod model;

mod config;
mod edges;
mod packed;
mod regular;
mod run;
mod tree;
pub mod wire;

#[cfg(test)]
#[path = "../../tests/src/skip.rs"]
mod skip;

pub use config::Config;
pub use run::{AgentError, run};
