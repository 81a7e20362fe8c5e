//! What was decided, for those who read the agent's log. Whoever carries effects out writes it there.

use dawn_proto::{Epoch, SpecId, TaskId};

use super::Phase;

/// What a line of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    Found {
        task: TaskId,
        verdict: String,
    },
    Lost {
        task: TaskId,
        message: String,
    },
    Moved {
        task: TaskId,
        from: Phase,
        to: Phase,
    },
    /// A fault of Dawn: the table of phases has no such move.
    IllegalMove {
        task: TaskId,
        from: Phase,
        to: Phase,
    },
    SpecUnreadable {
        spec: SpecId,
        why: String,
    },
    LaunchDropped {
        task: TaskId,
        held: usize,
    },
    LaunchRefused {
        task: TaskId,
        why: String,
    },
    LaunchFailed {
        task: TaskId,
        message: String,
    },
    ExecutorDied {
        task: TaskId,
    },
    ProcessesForced {
        task: TaskId,
    },
    ExecutorForced {
        task: TaskId,
    },
    LeaseIsOver {
        task: TaskId,
    },
    LinkDown {
        why: String,
    },
    SchedulerSilent,
    StaleOrder {
        what: &'static str,
        epoch: Epoch,
        seen: Epoch,
    },
    AbsurdOrder {
        what: &'static str,
        epoch: Epoch,
        seen: Epoch,
    },
    OtherCluster {
        known: String,
        told: String,
    },
    Registered {
        epoch: Epoch,
        lease_ms: u64,
        without_lease: bool,
    },
    Refused {
        reason: String,
        leader_address: String,
        slowly: bool,
    },
    Draining {
        tasks: usize,
    },
    /// To make room, for a reason, or for its age and size.
    DirectoryRemoved {
        task: TaskId,
        why: Option<&'static str>,
    },
}
