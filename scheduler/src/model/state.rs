//! The whole state of a cluster: what replaying the journal gives, and what follows from it. Only `apply` changes it.

use std::ops::Deref;

use dawn_proto::v1::TickOutcome;
use dawn_proto::{AgentId, JobKey, Timestamp};

use super::{Agent, Index, Job, JobId, JobTasks, Task, Tick, Truth};

/// The truth of a cluster with its indexes. It is read as the truth is: `state.tasks`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(in crate::model) truth: Truth,
    pub(in crate::model) indexes: Index,
}

impl Deref for State {
    type Target = Truth;

    fn deref(&self) -> &Truth {
        &self.truth
    }
}

impl State {
    /// The state of that truth.
    ///
    /// # Panics
    /// When a task names a job or spec that is not there.
    pub fn of(truth: Truth) -> State {
        let indexes = Index::of(&truth);
        State { truth, indexes }
    }

    /// All that is durable.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// All that follows from it.
    pub fn indexes(&self) -> &Index {
        &self.indexes
    }

    /// The kept tasks of a job.
    pub fn tasks_of(&self, job: JobId) -> &JobTasks {
        self.indexes.tasks_of(job)
    }

    pub fn job(&self, key: &JobKey) -> Option<&Job> {
        self.jobs.get(self.indexes.job_by_key.get(key)?)
    }

    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(self.indexes.agent_by_id.get(id)?)
    }

    /// The jobs of a role, ended ones too, in the order of their keys.
    pub fn jobs_of_role<'a>(&'a self, role: &str) -> impl Iterator<Item = &'a Job> {
        // No part of a key sorts before "0".
        let least = JobKey::new(role, "0", "0").ok();
        let from = least.into_iter().flat_map(|least| self.indexes.job_by_key.range(least..));
        let role = role.to_string();
        from.take_while(move |(key, _)| key.role() == role).filter_map(|(_, id)| self.jobs.get(id))
    }

    /// Living tasks of a job, oldest first.
    pub fn living<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Task> {
        self.tasks_of(job.id).ids.iter().filter_map(|id| self.tasks.get(id)).filter(|task| !task.state().is_terminal())
    }

    /// Whether that instant's run of a cron job was begun, as far as is kept.
    pub fn has_run(&self, job: &Job, scheduled: Timestamp) -> bool {
        let launched = |tick: &Tick| tick.scheduled == scheduled && tick.outcome == TickOutcome::Launched;
        job.ticks.iter().any(launched) || self.tasks_of(job.id).slot(scheduled, 0).next().is_some()
    }

    /// Takes what an update of the job waits for out of its policy: of a copy, on which a plan plays it.
    pub fn skip_update_waits(&mut self, job: JobId) {
        let Some(job) = self.truth.jobs.get_mut(&job) else { return };
        if let Some(update) = job.changes.updates.back_mut() {
            let policy = &mut update.policy;
            (policy.watch_ms, policy.progress_deadline_ms, policy.pulse_interval_ms) = (0, u64::MAX, None);
            (policy.manual_promotion, policy.pause_between, policy.sla_aware) = (false, false, false);
        }
    }

    /// For tests that need a state which is wrong, or a number far ahead.
    #[cfg(test)]
    pub fn truth_mut(&mut self) -> &mut Truth {
        &mut self.truth
    }

    #[cfg(test)]
    pub fn indexes_mut(&mut self) -> &mut Index {
        &mut self.indexes
    }
}
