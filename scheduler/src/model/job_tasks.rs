//! The tasks of one job in their order. Not here: what they come to in numbers (`tally`).

use std::collections::BTreeSet;

use dawn_proto::{TaskId, Timestamp};

/// Every task of a job that is not yet forgotten, living and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobTasks {
    /// Oldest first.
    pub ids: BTreeSet<TaskId>,
    /// (run, instance, task) of every task: a slot's tasks together, oldest first.
    pub slots: BTreeSet<(Timestamp, u32, TaskId)>,
    /// How many are not terminal.
    pub living: u32,
    /// Most that may live at once, by the job's current version; [`u32::MAX`]: any number.
    pub window: u32,
}

impl JobTasks {
    /// Of a job that has none.
    pub const NONE: JobTasks = JobTasks { ids: BTreeSet::new(), slots: BTreeSet::new(), living: 0, window: u32::MAX };

    /// Ids of a slot's kept tasks, oldest first. `run_at` is zero unless cron.
    pub fn slot(&self, run_at: Timestamp, instance: u32) -> impl DoubleEndedIterator<Item = TaskId> {
        let (first, last) = ((run_at, instance, TaskId(0)), (run_at, instance, TaskId(u64::MAX)));
        self.slots.range(first..=last).map(|(_, _, task)| *task)
    }

    /// The slot's newest task.
    pub fn newest(&self, run_at: Timestamp, instance: u32) -> Option<TaskId> {
        self.slot(run_at, instance).next_back()
    }
}

impl Default for JobTasks {
    fn default() -> Self {
        JobTasks::NONE
    }
}
