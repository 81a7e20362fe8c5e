//! Whether a version of a service or daemon job worked once: an instance of it was RUNNING for as long as the version's update
//! policy watches. Lives that are over have left their mark at the version; living ones are asked.

use dawn_proto::{TaskId, TaskState, Timestamp};

use super::{Job, Spec, State, Task};

impl State {
    /// Whether a spec of the job, or one that makes the same tasks, was healthy once. Of a version that is kept no more nothing
    /// is known; it counts as one that was.
    pub fn was_healthy(&self, job: &Job, spec: &Spec, now: Timestamp) -> bool {
        let is_same = |kept: &Spec| kept.id == spec.id || kept.job.same_task(&spec.job);
        let was = |version: &super::Version| {
            version.was_healthy && self.specs.get(&version.spec).is_some_and(|kept| is_same(kept))
        };
        let is_kept = job.versions.iter().any(|version| version.spec == spec.id);
        !is_kept
            || job.versions.iter().any(was)
            || self.living(job).any(|task| self.is_healthy(task, now) && is_same(self.spec_of(task)))
    }

    /// Whether a task has been RUNNING for as long as its version's update policy watches.
    pub fn is_healthy(&self, task: &Task, now: Timestamp) -> bool {
        task.state() == TaskState::Running && now.since_ms(task.since()) >= self.spec_of(task).job.update.watch_ms
    }

    /// A task is RUNNING no more: if it was for long enough, its version worked.
    pub(super) fn note_health(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        let [.., running, left] = task.history.as_slice() else { return };
        let spec = self.spec_of(task);
        let is_long = left.at.since_ms(running.at) >= spec.job.update.watch_ms;
        if running.to != TaskState::Running || !is_long || !spec.job.kind.runs_for_ever() {
            return;
        }
        let (job, spec) = (task.job, spec.id);
        let versions = self.truth.jobs.get_mut(&job).map(|job| job.versions.iter_mut());
        versions.into_iter().flatten().filter(|version| version.spec == spec).for_each(|own| own.was_healthy = true);
    }
}
