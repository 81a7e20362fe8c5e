//! What is durable of a cluster: all that a snapshot holds, and nothing else. Not here: what follows from it (`index`).

use std::collections::BTreeMap;
use std::sync::Arc;

use dawn_proto::v1::{JobKind, UpdateKind};
use dawn_proto::{Epoch, SpecId, TaskId, Timestamp};

use super::Update;
use super::{Agent, AgentNo, Batch, BrakeRelease, Job, JobId, Numbered, Quota, Restores, Spec, Task};

/// A copy takes no time, since it shares what it holds with this one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    pub cluster_id: String,
    /// Of the leader that wrote the last batch.
    pub epoch: Epoch,
    /// Of the last batch applied; 0 before any.
    pub index: u64,
    /// Time of the last batch applied.
    pub at: Timestamp,
    pub next_task: TaskId,
    pub next_spec: SpecId,
    pub next_job: JobId,
    pub next_agent: AgentNo,
    /// Those that a kept version or task points to.
    pub specs: Numbered<SpecId, Arc<Spec>>,
    pub jobs: Numbered<JobId, Job>,
    pub tasks: Numbered<TaskId, Task>,
    pub agents: Numbered<AgentNo, Agent>,
    /// By role; [`Quota::EVERYBODY`] for those without one.
    pub quotas: BTreeMap<String, Quota>,
    pub restores: Restores,
    /// None: the brake works as it should.
    pub brake_release: Option<BrakeRelease>,
    /// Of a step whose last part is still to come: they have no effect without it.
    pub parts: Vec<Batch>,
}

impl Truth {
    /// The quota that counts for a role.
    pub fn quota_of(&self, role: &str) -> Quota {
        self.quotas.get(role).or_else(|| self.quotas.get(Quota::EVERYBODY)).copied().unwrap_or_default()
    }

    /// The current spec of a job.
    pub fn current_spec(&self, job: &Job) -> Option<&Arc<Spec>> {
        self.specs.get(&job.current()?.spec)
    }

    /// The spec that an active job wants an instance to run, other than by runs of cron; None: it wants none there. Of a
    /// daemon job, where its agent is wanted.
    pub fn wanted_spec(&self, job: &Job, instance: u32) -> Option<&Arc<Spec>> {
        self.intended_spec(job, instance).filter(|_| !job.stopped.contains(&instance))
    }

    /// The same, whether a user stopped the instance or not: what it has again once the job is submitted again.
    pub fn intended_spec(&self, job: &Job, instance: u32) -> Option<&Arc<Spec>> {
        if job.ended.is_some() {
            return None;
        }
        match job.changes.pins.get(&instance) {
            Some(pinned) => self.specs.get(&(*pinned)?),
            None => self.current_spec(job).filter(|current| self.may_have(current, instance)),
        }
    }

    /// Instances of a spec are numbered below this: a daemon job's as agents are.
    pub fn numbered(&self, spec: &Spec) -> u32 {
        if spec.job.kind == JobKind::Daemon { self.next_agent.0 } else { spec.bound() }
    }

    /// Whether a spec has an instance of that number; of a daemon job, whether there was ever such an agent.
    pub fn may_have(&self, spec: &Spec, instance: u32) -> bool {
        if spec.job.kind == JobKind::Daemon { instance < self.next_agent.0 } else { spec.has(instance) }
    }

    /// What an instance is to run in the direction an update of its job has now.
    pub fn goal(&self, job: &Job, update: &Update, instance: u32) -> Option<&Arc<Spec>> {
        let usual = || self.current_spec(job).filter(|current| self.may_have(current, instance));
        let is_own = update.is_back() || update.kind == UpdateKind::Restart;
        match update.before(instance).filter(|_| is_own) {
            Some(before) => self.specs.get(&before?),
            None => usual(),
        }
    }

    /// No instance from here on is wanted.
    pub fn wanted_bound(&self, job: &Job) -> u32 {
        let pinned = job.changes.pins.last_key_value().map_or(0, |(last, _)| last + 1);
        self.current_spec(job).map_or(0, |current| self.numbered(current)).max(pinned)
    }

    /// The spec a task was made from; kept as long as the task is.
    pub fn spec_of(&self, task: &Task) -> &Arc<Spec> {
        // invariant: apply keeps a spec while a task points to it.
        self.specs.get(&task.spec).unwrap_or_else(|| panic!("{} of {} is gone", task.spec, task.id))
    }
}
