//! What can change in an agent's state. `State::apply` is the only code that carries it out.

use std::sync::Arc;

use dawn_proto::TaskId;

use super::{
    Free, HeldTask, Identity, KillProgress, Launch, Memory, Observed, OfferState, ProcessIdentity, Report, Spec, Stage,
};

/// One change. Times are monotonic milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    LinkUp {
        session: u64,
        at_ms: u64,
    },
    LinkHeard {
        at_ms: u64,
    },
    /// Launches that wait for their specs are dropped with it: the leader orders them again.
    LinkDropped,
    LinkRegistered {
        session: u64,
        interval_ms: u64,
        lease_ms: u64,
        at_ms: u64,
    },
    HeartbeatSent {
        sequence: u64,
        at_ms: u64,
    },
    HeartbeatAnswered {
        sequence: u64,
    },
    /// How long the leader waits for a silent agent.
    LeaseTold {
        lease_ms: u64,
    },
    LeaseRenewed {
        until_ms: u64,
    },
    LeaseLapsed,
    MemoryChanged(Box<Memory>),
    OfferChanged(Box<OfferState>),
    Draining,
    SpecKept(Arc<Spec>),
    /// For its spec.
    LaunchWaits(Box<Launch>),
    LaunchTaken {
        task: TaskId,
    },
    LaunchesDropped,
    /// A task begins to be held.
    TaskHeld(Box<HeldTask>),
    TaskIdentified {
        task: TaskId,
        identity: Identity,
    },
    /// By the table of `decide::phase`.
    TaskMoved {
        task: TaskId,
        stage: Stage,
    },
    TaskHeard {
        task: TaskId,
        sequence: u64,
    },
    ProcessStarted {
        task: TaskId,
        name: String,
        identity: ProcessIdentity,
    },
    ProcessExited {
        task: TaskId,
        name: String,
    },
    KillChanged {
        task: TaskId,
        kill: KillProgress,
    },
    TaskReported {
        report: Box<Report>,
        resend_at_ms: u64,
    },
    ReportsSentAgain {
        task: TaskId,
        resend_at_ms: u64,
    },
    ReportsAcknowledged {
        task: TaskId,
        sequence: u64,
    },
    /// Its end is acknowledged.
    TaskReleased {
        task: TaskId,
    },
    /// Nothing but its directory is left, and its verdict is withheld no longer.
    TaskMeasured {
        task: TaskId,
        bytes: u64,
    },
    /// Its directory is being removed, and it is held no more.
    TaskRemoved {
        task: TaskId,
        bytes: u64,
        /// Where it was not for its age, nor for what all ended tasks take.
        why: Option<&'static str>,
    },
    TaskForgotten {
        task: TaskId,
    },
    /// Its directory is gone.
    DirectoryGone {
        task: TaskId,
    },
    /// It was found ended: what it has left is to be offered once it is measured.
    LeftBefore {
        task: TaskId,
    },
    /// A reboot ended it, which is not durable yet.
    RebootEnds {
        task: TaskId,
    },
    RoomAwaited {
        task: TaskId,
        until_ms: u64,
    },
    /// It waits for room no longer.
    RoomDecided {
        task: TaskId,
    },
    HighestFree(Free),
    /// Whose executors are still to look at what their tasks take.
    Suspects(Vec<TaskId>),
    RoomMade {
        next_at_ms: u64,
    },
    Swept {
        next_at_ms: u64,
    },
    Looked {
        next_at_ms: u64,
    },
    Observed(Box<Observed>),
}
