//! When tasks ended of which no leader heard at that time: as their agents say, within what can be.

use dawn_proto::{TaskId, Timestamp};

use crate::model::index::Entries;
use crate::model::{EndDated, State};

impl State {
    /// An end that is told: never before the task's last step, nor later than now.
    pub(super) fn date_of_end(&self, task: TaskId, told: Timestamp, now: Timestamp) -> Timestamp {
        let since = self.tasks.get(&task).map_or(Timestamp(0), |task| task.since());
        told.max(since).min(now)
    }

    /// Changes when an ended task ended.
    pub(super) fn date_end(&mut self, dated: &EndDated, now: Timestamp) {
        let Some(task) = self.truth.tasks.get_mut(&dated.task).filter(|task| task.state().is_terminal()) else {
            return;
        };
        let spec = self.truth.specs.get(&task.spec).unwrap_or_else(|| panic!("{} of {} is gone", task.spec, task.id));
        let (before, job) = (Entries::of(task, spec), task.job);
        let [.., last, end] = &mut task.history[..] else { return };
        end.at = dated.at.max(last.at).min(now);
        let after = Entries::of(task, spec);
        self.indexes.change_task(&self.truth, dated.task, job, before, after);
    }
}
