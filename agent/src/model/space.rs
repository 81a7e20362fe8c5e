//! What the agent knows of the disk that its tasks share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dawn_proto::TaskId;

use super::Free;

/// What ended tasks' directories may take, and how long they stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    pub age_ms: u64,
    pub total_bytes: u64,
}

/// The disk, and who waits for room on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// The most that was free since executors were told to look.
    pub highest: Option<Free>,
    /// Tasks whose executors are still to be told.
    pub suspects: VecDeque<TaskId>,
    /// Monotonic: no room is made for a full disk before.
    pub room_at_ms: u64,
    /// Launches that wait for room, in order, and until when.
    pub waiting: VecDeque<(TaskId, u64)>,
    /// Directories being removed, and what they took.
    pub going: BTreeMap<TaskId, u64>,
    /// Found ended at the start: what they have left was not free then, and is not offered yet.
    pub found: BTreeSet<TaskId>,
}
