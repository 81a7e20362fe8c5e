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
    /// Why the directories of forgotten tasks were removed; None: for their age, or what all of them took.
    pub removed: BTreeMap<TaskId, Option<&'static str>>,
    /// Found ended at the start: what they have left was not free then, and is not offered yet.
    pub found: BTreeSet<TaskId>,
}

impl Space {
    /// Why the agent holds nothing of a task, for people.
    pub fn why_gone(&self, task: TaskId) -> String {
        match self.removed.get(&task) {
            Some(Some(why)) => format!("the directory of {task} was removed with its log, because {why}"),
            Some(None) => format!(
                "the directory of {task} was removed with its log: it had ended long ago, or the node kept too much"
            ),
            None => format!("the agent has no task {task}"),
        }
    }
}
