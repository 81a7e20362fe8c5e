//! Tasks that preemption disturbs, by job: what disruption budgets are counted against. Not here: the budgets.

use std::collections::BTreeMap;

use dawn_proto::TaskId;

use crate::model::JobId;

/// Tasks disturbed by preemption: being stopped for it, or replacing one that was and not yet running.
#[derive(Clone, Debug, Default)]
pub struct Disrupted {
    pub tasks: BTreeMap<TaskId, JobId>,
    by_job: BTreeMap<JobId, u32>,
}

impl Disrupted {
    pub fn insert(&mut self, task: TaskId, job: JobId) {
        if self.tasks.insert(task, job).is_none() {
            *self.by_job.entry(job).or_default() += 1;
        }
    }

    pub fn remove(&mut self, task: TaskId) {
        if let Some(job) = self.tasks.remove(&task)
            && let Some(count) = self.by_job.get_mut(&job)
        {
            *count -= 1;
            if *count == 0 {
                self.by_job.remove(&job);
            }
        }
    }

    pub fn of(&self, job: JobId) -> u32 {
        self.by_job.get(&job).copied().unwrap_or(0)
    }
}
