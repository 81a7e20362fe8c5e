//! What can happen to an agent.

use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, SpecId, TaskId, TaskState, Timestamp};

use super::{Ended, Identity, Kill, Launch, Port, ProcessIdentity, Refusal, Spec, Welcomed};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    Link(LinkEvent),
    Machine(MachineEvent),
    /// Time passed; sent a few times a second.
    Tick,
    /// The agent is to stop, and to end its tasks before it does.
    Drain,
}

/// From the link to the leader.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// A connection is there; `session` names it.
    Up {
        session: u64,
    },
    Down {
        session: u64,
        why: String,
    },
    Registered(Welcomed),
    Refused {
        reason: String,
        leader_address: String,
        /// Nothing changes soon: the pauses between dials grow.
        slowly: bool,
    },
    Spec(Arc<Spec>),
    /// A spec this agent can't read.
    BadSpec {
        spec: SpecId,
        why: String,
    },
    Launch(Launch),
    Kill(Kill),
    Ack {
        task: TaskId,
        sequence: u64,
    },
    Reconcile {
        epoch: Epoch,
        tasks: Vec<TaskId>,
    },
    /// Every task this agent holds is asked for.
    TellTasks {
        epoch: Epoch,
    },
    /// Say what is here, by the agent's own account and by the kernel's.
    Inspect {
        request: u64,
    },
    /// Say what these tasks are, and which of the ranges (first, end) have finished.
    Describe {
        epoch: Epoch,
        tasks: Vec<TaskId>,
        finished: Vec<(TaskId, TaskId)>,
    },
    OpenTunnel {
        tunnel: u64,
        log: LogRequest,
    },
    /// A client's session about a task; None: about the agent itself.
    Reach {
        tunnel: u64,
        task: Option<TaskId>,
    },
    HeartbeatAck {
        sequence: u64,
        epoch: Epoch,
        /// It renews nobody's lease.
        without_lease: bool,
    },
}

/// A task's log is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    pub task: TaskId,
    /// Empty: the first process.
    pub process: String,
    pub streams: LogStreams,
    pub follow: bool,
    pub from: LogStart,
}

/// Which of a process's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStreams {
    Stdout,
    Stderr,
    /// In the order in which they were written, as far as it is known.
    Both,
}

/// Where the reading of a log starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// At the oldest byte kept.
    Oldest,
    /// So many bytes before the end.
    Tail(u64),
    /// At bytes since the process's first start, later where these were rotated away: of what is asked for, and of standard
    /// error where that is standard output and both are.
    Offset { first: u64, stderr: u64 },
    /// At most this number of lines, counted over both streams, of what was written at `since` or later (milliseconds since 1970).
    Recent { lines: u64, since_ms: i64 },
}

/// What a session may be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachable {
    Agent,
    /// The agent never had it, or has forgotten it.
    Unknown(TaskId),
    /// It has a directory.
    Task(ReachableTask),
}

/// A task that can be reached into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachableTask {
    pub task: TaskId,
    /// It has not ended.
    pub living: bool,
    /// Its processes that live, in the order of their names.
    pub processes: Vec<ProcessIdentity>,
    pub ports: Vec<Port>,
    pub identity: Identity,
}

/// From the machine: what became of an effect, and what executors say.
#[derive(Clone, Debug)]
pub enum MachineEvent {
    Vetted {
        task: TaskId,
        result: Result<Identity, Refusal>,
    },
    Checkpointed {
        task: TaskId,
        result: Result<(), Refusal>,
    },
    Prepared {
        task: TaskId,
        result: Result<(), Refusal>,
    },
    Spawned {
        task: TaskId,
        result: Result<(), Refusal>,
    },
    /// How far the fetching is, for people.
    Progress {
        task: TaskId,
        sequence: u64,
        message: String,
    },
    Fetched {
        task: TaskId,
        result: Result<(), Refusal>,
    },
    /// An event of the task's log, in order, each once.
    Heard {
        task: TaskId,
        event: ExecutorEvent,
    },
    /// The executor is dead and its log read to the end.
    Gone {
        task: TaskId,
    },
    /// The agent's verdict is durable (or can't be made so, which was logged).
    Recorded {
        task: TaskId,
    },
    /// No process and no cgroup of it is left; its directory has this size.
    Cleaned {
        task: TaskId,
        bytes: u64,
    },
    /// Nothing of its directory takes room any more.
    Deleted {
        task: TaskId,
    },
    /// Told some times a second.
    Free(Free),
}

/// What is free on the disk that holds the sandboxes, and what there is in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    pub total_bytes: u64,
    pub files: u64,
    /// 0: the file system has no number.
    pub total_files: u64,
}

/// An event of a task's log as far as the agent cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutorEvent {
    /// The executor itself.
    Started {
        sequence: u64,
        identity: ProcessIdentity,
    },
    ProcessStarted {
        sequence: u64,
        name: String,
        identity: ProcessIdentity,
    },
    ProcessExited {
        sequence: u64,
        name: String,
    },
    KillBegun {
        sequence: u64,
        reason: Reason,
    },
    Changed {
        sequence: u64,
        at: Timestamp,
        state: TaskState,
        reason: Reason,
        message: String,
        ended: Option<Box<Ended>>,
    },
    /// Nothing the agent acts on.
    Other {
        sequence: u64,
    },
}

impl ExecutorEvent {
    pub fn sequence(&self) -> u64 {
        match self {
            ExecutorEvent::Started { sequence, .. }
            | ExecutorEvent::ProcessStarted { sequence, .. }
            | ExecutorEvent::ProcessExited { sequence, .. }
            | ExecutorEvent::KillBegun { sequence, .. }
            | ExecutorEvent::Changed { sequence, .. }
            | ExecutorEvent::Other { sequence } => *sequence,
        }
    }

    /// The last event of a log.
    pub fn is_terminal(&self) -> bool {
        matches!(self, ExecutorEvent::Changed { state, .. } if state.is_terminal())
    }
}
