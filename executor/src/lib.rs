//! Dawn's executor: one small process beside each task that starts, checks, stops and reports it, and outlives the
//! agent. Not here: anything about other tasks.

#![warn(clippy::expect_used, clippy::unwrap_used)]

/// A line for `executor.log`. Unlike `eprintln!` it survives a full disk.
macro_rules! note {
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($text)*)));
    }};
}

pub mod decide;
pub mod drive;
mod edges;
pub mod model;
mod run;
pub mod wire;

pub use run::{enter, run, zygote};
