//! What can happen to a task and what may be asked of the edges.

use std::collections::BTreeSet;

use dawn_proto::v1::Reason;

use super::record::Exit;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This executor took the task over; `living` are the processes of an earlier executor that still live.
    Began { pid: i32, start_ticks: u64, living: BTreeSet<usize> },
    /// Answers [`Effect::Start`].
    Started { process: usize, run: u32, pid: i32, start_ticks: u64 },
    /// Answers [`Effect::Start`] when it failed, or tells the end of a started process.
    Exited { process: usize, run: u32, exit: Exit },
    /// A process of an earlier executor ended.
    Vanished { process: usize },
    /// Answers [`Effect::Sweep`]: nothing of the task lives.
    Emptied,
    /// Answers [`Effect::Probe`].
    Probed { healthy: bool, snoozed: bool, detail: String },
    /// Answers [`Effect::Post`] where the endpoint refused or could not be reached.
    PostFailed { why: String },
    /// No grace: the task's own.
    Kill { reason: Reason, grace_period_ms: Option<u64> },
    /// The task's directories take so much on disk, in so many files.
    Measured { bytes: u64, files: u64 },
    /// So many processes of the task were killed by the kernel for want of memory, and not all of it ended.
    KilledForMemory { processes: u64 },
    /// The kernel refused the task another process so many times, because it had as many as it may.
    ForksRefused { times: u64, max_pids: u64 },
    /// The agent's lease is good until then.
    Renewed { until_ms: i64 },
    /// A deadline may have passed.
    Tick,
}

/// Something to do; done only after the records decided with it are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Start {
        process: usize,
        run: u32,
    },
    Probe,
    Post(LifecycleStep),
    /// SIGTERM to every process of the task.
    Terminate,
    /// SIGKILL to every process of the task until none is left.
    Sweep,
    /// The terminal record is durable: leave.
    Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleStep {
    Graceful,
    Shutdown,
}
