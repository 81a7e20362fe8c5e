//! What an agent may ask of its edges, and what it says to the leader.

use dawn_proto::v1::Reason;
use dawn_proto::{SpecId, TaskId, Timestamp};

use super::{
    Artifact, Identity, Inspection, LaunchRecord, Limits, LogRequest, Memory, Note, Observed, Offer, Port,
    ProcessIdentity, Reachable, RegisterMessage, Report,
};

/// What is said to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Register(Box<RegisterMessage>),
    Heartbeat {
        sequence: u64,
        wall: Timestamp,
        /// The number of the last welcome, which is durable here.
        welcome: u64,
    },
    Report(Report),
    Offer(Offer),
    NeedSpec {
        spec: SpecId,
        task: TaskId,
    },
    Inspection(Box<Inspection>),
    /// What a task is: its plan as it lies on disk.
    Description {
        report: Report,
        plan: Vec<u8>,
    },
    HeldTasks(Vec<Report>),
}

/// Asked of the edges, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// To be durable before any later effect of the same step is begun.
    Remember(Memory),
    /// Dropped when the session is over or its queue full; whatever matters is said again.
    Send {
        session: u64,
        message: Message,
    },
    /// Drop the connection; try `next` first, or dial again with growing pauses.
    Hangup {
        session: u64,
        next: Option<String>,
        slowly: bool,
    },
    Vet {
        task: TaskId,
        user: String,
        ports: Vec<Port>,
    },
    Checkpoint(Box<LaunchRecord>),
    Prepare {
        task: TaskId,
        limits: Limits,
        identity: Identity,
    },
    /// Fetch its artifacts into its sandbox, which may take `disk_bytes`.
    Fetch {
        task: TaskId,
        identity: Identity,
        artifacts: Vec<Artifact>,
        disk_bytes: u64,
    },
    /// Give the fetching up: the task is to be stopped.
    StopFetch {
        task: TaskId,
    },
    /// Start its executor, unless one was ever started; then watch it.
    Spawn {
        task: TaskId,
    },
    /// Watch an executor that an earlier life of the agent started; events above `heard` are news.
    Attach {
        task: TaskId,
        heard: u64,
    },
    TellKill {
        task: TaskId,
        reason: Reason,
        grace_period_ms: Option<u64>,
    },
    /// Tell its executor that it may live until then.
    Renew {
        task: TaskId,
        until_ms: u64,
    },
    /// Kill every process of it now; the executor lives.
    ForceKill {
        task: TaskId,
        processes: Vec<ProcessIdentity>,
    },
    KillExecutor {
        task: TaskId,
    },
    /// Asks the task's executor to measure what the task takes on disk. `tasks` is the number of living tasks, by which the
    /// executors share the time that measuring may take.
    LookAtDisk {
        task: TaskId,
        tasks: u32,
    },
    /// Make the agent's verdict durable.
    Record(Report),
    /// Kill what is left, remove the cgroup, measure the directory.
    CleanUp {
        task: TaskId,
        processes: Vec<ProcessIdentity>,
    },
    /// Note that the terminal report is acknowledged.
    Release {
        task: TaskId,
    },
    /// Remove its directory.
    Delete {
        task: TaskId,
    },
    /// Look at the kernel and tell what is there of these tasks, and of none.
    Inspect {
        session: u64,
        inspection: Box<Inspection>,
    },
    /// Tell of these tasks what is on disk of them.
    Describe {
        session: u64,
        reports: Vec<Report>,
    },
    /// Serve a log; `known` says whether the task is held, and of one that is not, for people, why not.
    OpenTunnel {
        tunnel: u64,
        log: LogRequest,
        known: Result<(), String>,
    },
    /// Serve a client's session.
    Reach {
        tunnel: u64,
        about: Reachable,
    },
    /// What the agent's metrics and health pages show.
    Observe(Box<Observed>),
    /// For those who read its log.
    Note(Note),
}
