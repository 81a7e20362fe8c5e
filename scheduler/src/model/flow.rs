//! How jobs follow each other, are made of templates, and are paused: what a spec says of it, and what of it is kept.
//!
//! - A job whose spec names others is *released* once each of them has ended as it says. What ended before counts as it
//!   ended last. One that can't be released any more ends. Where what it was to follow failed, those that wait for it take that
//!   for a failure; where it was to follow a failure that did not come, it was not needed, and so is what follows its success or
//!   its failure.
//! - Of a job with `max_running` at most so many instances live; the next is made when one ends for good.
//! - A template makes nothing itself. Each dispatch of it makes a job, named after the dispatch's id: so an id is one job.

use std::collections::VecDeque;

use dawn_proto::v1::{DependsOn, JobKind};
use dawn_proto::{JobKey, SpecId, TaskState, Timestamp};

use super::{Job, JobId, JobSpec, State, Task, Truth};

/// Another job that must have ended before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub job: JobKey,
    pub on: DependsOn,
}

/// What a spec says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowSpec {
    pub after: Vec<Dependency>,
    /// Most instances that live at once; None: all.
    pub max_running: Option<u32>,
    /// All instances are placed in one step, or none.
    pub gang: bool,
    pub deadline_ms: Option<u64>,
    pub is_template: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    pub at: Timestamp,
    pub by: String,
}

/// A job that was made of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Of the job; role and env are the template's.
    pub name: String,
    pub content_hash: u64,
}

/// What is kept with a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Its dependencies were met since it was last made or made again.
    pub released: bool,
    /// Cron: no ticks.
    pub paused: Option<Paused>,
    /// Cron: instants up to then are settled by a pause.
    pub resumed_at: Timestamp,
    /// Latest last, at most [`Flow::KEPT_DISPATCHES`].
    pub dispatches: VecDeque<Dispatch>,
}

impl Flow {
    pub const KEPT_DISPATCHES: usize = 1_000;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowMutation {
    Released { job: JobId },
    CronPaused { job: JobId, author: String },
    CronResumed { job: JobId },
    Dispatched { job: JobId, name: String, content_hash: u64 },
}

#[derive(Clone, Debug)]
pub enum FlowCommand {
    PauseCron {
        key: JobKey,
        author: String,
    },
    ResumeCron {
        key: JobKey,
    },
    /// `spec` is the job to make, `template_spec` what it was made of.
    Dispatch {
        template: JobKey,
        template_spec: SpecId,
        content_hash: u64,
        spec: Box<JobSpec>,
        author: String,
        message: String,
    },
}

/// Why one is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowRefusal {
    #[error("{key} and what it is to follow wait for each other: {}", circle.join(" after "))]
    Circle { key: JobKey, circle: Vec<String> },
    #[error("{key} would never start: {why}; run that one again first, or leave it out")]
    Never { key: JobKey, why: String },
    #[error("{key} is no template: its spec has no `parameters`")]
    NoTemplate { key: JobKey },
    #[error("{key} was changed just now; try again")]
    Changed { key: JobKey },
    #[error("the same id was dispatched before with other arguments, as {made}; give another id")]
    OtherContent { made: JobKey },
}

impl Job {
    /// Whether nothing is made for it until other jobs end.
    pub fn waits_for_others(&self, spec: &JobSpec) -> bool {
        self.ended.is_none() && !self.flow.released && !spec.flow.after.is_empty()
    }
}

impl Truth {
    /// By when an active job must be done.
    pub fn job_deadline(&self, job: &Job) -> Option<Timestamp> {
        let version = job.current().filter(|_| job.ended.is_none())?;
        Some(version.at.plus_ms(self.specs.get(&version.spec)?.job.flow.deadline_ms?))
    }
}

impl State {
    /// Whether every instance of a job that has ended finished as it should, by what `state_of` says of its tasks.
    pub fn succeeded(&self, job: &Job, state_of: impl Fn(&Task) -> TaskState) -> bool {
        let Some(spec) = self.current_spec(job) else { return false };
        let finished = |instance| {
            let newest = self.tasks_of(job.id).newest(Timestamp(0), instance).and_then(|id| self.tasks.get(&id));
            // A service that was scaled has tasks of the version before.
            let is_of_it = |task: &Task| task.spec == spec.id || spec.job.kind == JobKind::Service;
            newest.is_some_and(|task| is_of_it(task) && state_of(task) == TaskState::Finished)
        };
        spec.job.may_succeed() && (0..spec.bound()).filter(|instance| spec.has(*instance)).all(finished)
    }
}
