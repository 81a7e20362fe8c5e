//! A job: its key, the versions of its spec, and what it asks for now.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use dawn_proto::v1::TickOutcome;
use dawn_proto::{JobKey, SpecId, TaskId, Timestamp};

/// A short number for a job inside one cluster's state; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}", self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub version: u32,
    pub spec: SpecId,
    pub at: Timestamp,
    pub author: String,
    pub message: String,
}

/// The job asks for nothing more: killed, descheduled, or a batch job complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    /// Empty: it ended by itself.
    pub by: String,
    pub message: String,
}

/// What was decided about one instant of a cron job's schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    pub scheduled: Timestamp,
    pub decided: Timestamp,
    pub outcome: TickOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub key: JobKey,
    pub created: Timestamp,
    /// Oldest first, at most [`Job::KEPT_VERSIONS`]; never empty once the job's first batch is applied.
    pub versions: VecDeque<Version>,
    pub ended: Option<Ended>,
    /// Every task not yet forgotten, living and ended, oldest first.
    pub tasks: BTreeSet<TaskId>,
    /// Cron: latest last, at most [`Job::KEPT_TICKS`].
    pub ticks: VecDeque<Tick>,
}

impl Job {
    pub const KEPT_VERSIONS: usize = 20;
    pub const KEPT_TICKS: usize = 20;

    /// The version new tasks are made from. None only before its first version is applied.
    pub fn current(&self) -> Option<&Version> {
        self.versions.back()
    }
}
