//! Changes of a task's state: the durable ones are the event log, the soft ones are lost with the executor.

use dawn_proto::v1::{Reason, TaskState};

/// The only thing that changes a [`State`](super::State).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    Durable(Record),
    Soft(Soft),
}

/// What the event log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    ExecutorStarted {
        pid: i32,
        start_ticks: u64,
        generation: u32,
    },
    ProcessStarted {
        process: usize,
        pid: i32,
        start_ticks: u64,
        run: u32,
    },
    ProcessExited {
        process: usize,
        run: u32,
        exit: Exit,
    },
    TaskChanged {
        state: TaskState,
        reason: Reason,
        message: String,
        exit: Ended,
    },
    /// With a message the task has failed, in these words; without, it was killed.
    KillBegun {
        reason: Reason,
        grace_period_ms: u64,
        message: String,
    },
    /// Any stage but the first and the last.
    StageEntered {
        stage: super::Stage,
    },
}

impl Record {
    /// Must survive a power cut before anybody is told.
    pub fn needs_sync(&self) -> bool {
        matches!(self, Record::ProcessExited { .. } | Record::TaskChanged { .. } | Record::KillBegun { .. })
    }
}

/// How the process that decided a task's end ended, where one did: at most one of code and signal is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// The process whose last words go with a failed end. The event log has those words, not whose they are.
    pub speaker: Option<usize>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub kind: ExitKind,
    /// Set when the kernel ended it for want of memory.
    pub oom: Option<OutOfMemory>,
    /// The task's limit of processes, where the kernel refused it another one while this one ran.
    pub max_pids: Option<u64>,
    /// The last line that it wrote to standard error. Of final processes that failed alone: the words of others go with the
    /// task's end.
    pub last_line: String,
}

/// The end of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// The kernel ended the whole task, not only this process.
    pub whole_task: bool,
    /// The most the task ever had; 0: not known.
    pub peak_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitKind {
    Code(i32),
    Signal(i32),
    /// It never ran; why.
    NotStarted(String),
}

impl ExitKind {
    /// As it is reported.
    pub(super) fn ended(&self) -> Ended {
        match self {
            ExitKind::Code(code) => Ended { exit_code: Some(*code), ..Ended::default() },
            ExitKind::Signal(signal) => Ended { signal: Some(*signal), ..Ended::default() },
            ExitKind::NotStarted(_) => Ended::default(),
        }
    }
}

impl Exit {
    /// An end of which nothing more is known.
    pub fn new(kind: ExitKind) -> Self {
        Exit { kind, oom: None, max_pids: None, last_line: String::new() }
    }

    pub fn is_success(&self) -> bool {
        self.kind == ExitKind::Code(0)
    }
}

/// A record with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// From 1, without gaps.
    pub sequence: u64,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: i64,
    pub record: Record,
}

/// What a restarted executor begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Soft {
    Launching {
        process: usize,
    },
    /// A process of an earlier executor ended; nobody knows how.
    Vanished {
        process: usize,
    },
    /// The processes of an earlier executor can't be accounted for.
    LostTrack {
        message: String,
    },
    Entered {
        stage: super::Stage,
    },
    /// On this rung until then.
    Climbed {
        rung: super::Rung,
        until_ms: i64,
    },
    FinalizeUntil {
        until_ms: i64,
    },
    /// A lifecycle endpoint refused, or could not be reached.
    PostFailed {
        why: String,
    },
    /// SIGKILL was needed for a process that had its grace.
    Forced,
    Renewed {
        until_ms: i64,
    },
    /// It was said that half of the files that it may have are there.
    WarnedOfFiles,
    /// It was said that so many processes were killed for want of memory.
    ToldOfMemoryKills {
        processes: u64,
    },
    /// It was said that the kernel refused it so many processes.
    ToldOfRefusedForks {
        times: u64,
    },
    HealthArmed {
        first_at_ms: i64,
    },
    ProbeBegun,
    Probed {
        healthy: bool,
        snoozed: bool,
        detail: String,
        next_at_ms: i64,
    },
}
