//! The bounds of an evaluation. Not here: keeping them (`language`, `child`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an evaluation may use. Reaching a bound is an error that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Function calls and turns of loops.
    pub max_steps: u64,
    /// Values the evaluation keeps, in bytes; checked now and then.
    pub max_heap_bytes: u64,
    /// Address space of the evaluating process, in bytes.
    pub max_address_space_bytes: u64,
    /// Calls inside each other.
    pub max_call_depth: usize,
    /// From the start of the evaluating process to its answer.
    pub deadline: Duration,
    /// The file and everything it includes.
    pub max_files: usize,
    pub max_include_depth: usize,
    pub max_source_bytes: u64,
    /// Jobs in one file.
    pub max_jobs: usize,
    /// Lines that `print` may write.
    pub max_printed_lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_steps: 2_000_000,
            max_heap_bytes: 256 << 20,
            max_address_space_bytes: 2 << 30,
            max_call_depth: 200,
            deadline: Duration::from_secs(20),
            max_files: 200,
            max_include_depth: 20,
            max_source_bytes: 4 << 20,
            max_jobs: 5_000,
            max_printed_lines: 1_000,
        }
    }
}
