//! The rules of one task, parsed and valid: what runs, in which order, how it is checked and stopped.
//! Not here: where and as whom it runs (setting.rs).

use std::collections::BTreeMap;

/// Everything the decisions need to know about a task; never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub processes: Vec<Process>,
    /// From SIGTERM to SIGKILL.
    pub grace_period_ms: u64,
    /// Time the final processes have together.
    pub finalization_wait_ms: u64,
    /// Processes that may fail for good before the task fails; at least 1.
    pub max_failed_processes: u32,
    /// Most processes alive at once; at least 1.
    pub max_concurrency: usize,
    pub health: Option<Health>,
    pub lifecycle: Option<Lifecycle>,
    /// For messages only: the limit itself is the cgroup's. 0: none.
    pub memory_limit_bytes: u64,
    /// What its directory may take on disk; 0: anything.
    pub disk_limit_bytes: u64,
    /// Most files, directories and links of its directory.
    pub max_files: u64,
    /// For messages only: what a process may make of one file, which its rlimit says; 0: anything.
    pub max_file_bytes: u64,
    /// For messages only: processor time of a process, which its rlimit says; 0: any.
    pub max_cpu_s: u64,
    /// The task may live until then on the steady clock, unless it is renewed; None: no matter who is out of reach.
    pub lease_until_ms: Option<i64>,
}

/// One command of the task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub name: String,
    pub command: Command,
    /// The process's own variables, on top of the task's.
    pub env: BTreeMap<String, String>,
    /// Indices of processes that must have succeeded first; no cycles.
    pub after: Vec<usize>,
    /// Started again when it ends; does not count as the task's end.
    pub daemon: bool,
    /// Neither its end nor its failure counts.
    pub ephemeral: bool,
    /// Runs after all others have ended.
    pub is_final: bool,
    /// Failures before it is given up; at least 1.
    pub max_failures: u32,
    /// Least time between two starts.
    pub min_duration_ms: u64,
}

impl Process {
    /// The task ends by success when all of these have ended.
    pub fn is_required(&self) -> bool {
        !self.daemon && !self.ephemeral && !self.is_final
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run by `/bin/sh -c`.
    Shell(String),
    /// At least one element.
    Argv(Vec<String>),
}

impl Default for Command {
    fn default() -> Self {
        Command::Shell(String::new())
    }
}

/// How the task is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub probe: Probe,
    pub initial_delay_ms: u64,
    /// Between the end of one probe and the next; at least 1.
    pub interval_ms: u64,
    /// For one whole probe; at least 1.
    pub timeout_ms: u64,
    /// In a row, before the task is killed; at least 1.
    pub max_failures: u32,
    /// In a row, before the task is RUNNING; at least 1.
    pub min_successes: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    Http {
        port: u16,
        path: String,
        /// None: any 2xx or 3xx.
        expected_status: Option<u16>,
        /// Empty: any.
        expected_body: String,
    },
    Tcp {
        port: u16,
    },
    /// grpc.health.v1: SERVING is healthy.
    Grpc {
        port: u16,
        /// Empty: the server as a whole.
        service: String,
    },
    /// Exit code 0 is healthy.
    Shell(String),
}

/// Endpoints asked before SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    pub port: u16,
    /// Empty: skipped.
    pub graceful_path: String,
    pub graceful_wait_ms: u64,
    /// Empty: skipped.
    pub shutdown_path: String,
    pub shutdown_wait_ms: u64,
}
