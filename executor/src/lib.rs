//! Dawn's executor: one small process beside each task that starts, checks, stops and reports it, and outlives the
//! agent. Not here: anything about other tasks.

pub mod decide;
pub mod drive;
mod edges;
pub mod model;
mod run;
pub mod wire;

pub use run::{enter, run};
