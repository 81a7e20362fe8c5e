//! A job: its key, the versions of its spec, and what it asks for now.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use dawn_proto::v1::TickOutcome;
use dawn_proto::{JobKey, SpecId, Timestamp};

use super::{Changes, Flow, KeptOff};

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
    /// A life of it that is over was healthy for as long as its update policy watches ([`State::was_healthy`](super::State)).
    pub was_healthy: bool,
    /// What the job ran before never was healthy: this version takes its place everywhere at once.
    pub replaces: bool,
}

/// The job asks for nothing more: killed, descheduled, or a batch job complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    /// Empty: it ended by itself.
    pub by: String,
    pub message: String,
    /// It was to follow a failure, and there was none: nothing failed.
    pub not_needed: bool,
}

/// What was decided about one instant of a cron job's schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    pub scheduled: Timestamp,
    pub decided: Timestamp,
    pub outcome: TickOutcome,
}

impl Tick {
    /// It launched under a clock that was wrong, and its instant is still to come: it counts as run when it does.
    pub fn is_ahead(&self) -> bool {
        self.decided < self.scheduled && !is_manual(self.scheduled)
    }

    /// Whether its instant lies ahead of that time, and with it what was decided of it.
    pub fn is_struck(&self, now: Timestamp) -> bool {
        self.scheduled > now && !is_manual(self.scheduled)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub key: JobKey,
    pub created: Timestamp,
    /// Oldest first, at most [`Job::KEPT_VERSIONS`]; never empty once the job's first batch is applied.
    pub versions: VecDeque<Version>,
    pub ended: Option<Ended>,
    /// Cron: latest last, at most [`Job::KEPT_TICKS`].
    pub ticks: VecDeque<Tick>,
    /// Instances a user stopped: none is made for them until the job is submitted again.
    pub stopped: BTreeSet<u32>,
    /// Instances below it are as the current version (or the end of the job) wants them; [`Job::SETTLED`] when all are
    /// and nothing is left to stop.
    pub settled: u32,
    pub flow: Flow,
    pub changes: Changes,
    /// Where its tasks did not start, at most [`KeptOff::MOST`].
    pub kept_off: Vec<KeptOff>,
}

impl Job {
    pub const KEPT_VERSIONS: usize = 20;
    pub const KEPT_TICKS: usize = 20;
    pub const SETTLED: u32 = u32::MAX;

    /// The version new tasks are made from. None only before its first version is applied.
    pub fn current(&self) -> Option<&Version> {
        let restored = self.changes.restored.and_then(|version| self.version(version));
        restored.or(self.versions.back())
    }

    /// A kept version by its number.
    pub fn version(&self, version: u32) -> Option<&Version> {
        self.versions.iter().find(|kept| kept.version == version)
    }

    /// The latest instant of the schedule that something was decided about in its time. Manual runs are not of the schedule.
    pub fn last_scheduled(&self) -> Option<Timestamp> {
        let of_schedule = |tick: &&Tick| !is_manual(tick.scheduled) && !tick.is_ahead();
        self.ticks.iter().filter(of_schedule).map(|tick| tick.scheduled).max()
    }

    /// A tick whose run waits for the one before it to end.
    pub fn queued(&self) -> Option<&Tick> {
        self.all_queued().next()
    }

    /// Every one of them: of runs that were missed and follow one another there are several.
    pub fn all_queued(&self) -> impl Iterator<Item = &Tick> {
        self.ticks.iter().filter(|tick| tick.outcome == TickOutcome::Queued)
    }

    /// Notes what was decided about a tick; a later word about the same instant replaces the earlier. The oldest is
    /// dropped when full, but never the latest of the schedule, which says where it goes on, nor one whose run waits, nor
    /// one whose instant is still to come; those are not counted.
    pub(super) fn note_tick(&mut self, tick: Tick) {
        if let Some(noted) = self.ticks.iter_mut().find(|noted| noted.scheduled == tick.scheduled) {
            *noted = tick;
            return;
        }
        self.ticks.push_back(tick);
        if self.ticks.iter().filter(|tick| !tick.is_ahead()).count() > Job::KEPT_TICKS {
            let last = self.last_scheduled();
            let droppable =
                |tick: &Tick| Some(tick.scheduled) != last && tick.outcome != TickOutcome::Queued && !tick.is_ahead();
            let oldest = self.ticks.iter().position(droppable).unwrap_or(0);
            self.ticks.remove(oldest);
        }
    }
}

/// Whether a run's instant is that of a manual start. Schedules fire on whole seconds, manual starts never do: so the two
/// can't be taken for each other, nor share a slot.
pub fn is_manual(run_at: Timestamp) -> bool {
    run_at.0 % 1000 != 0
}
