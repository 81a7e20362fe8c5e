//! What the tasks of a job come to in numbers, and which of its lives failed: kept as tasks come, move and go, so that a
//! list of jobs looks at no task.
//!
//! Every living task counts, and an ended one that is the last of its instance: of a batch job of the present version, so
//! that a job that is run again shows its own run alone; of a cron job of its latest run; of other jobs while the job still
//! has such an instance. So no instance is in no count, and each is in one: what lives beside is counted apart (`beside`).

use std::collections::BTreeSet;

use dawn_proto::v1::{JobKind, Reason};
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::beside::Beside;
use super::{Index, Job, JobId, JobSpec, State, Task, Transition, Truth};

/// What a task counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Pending,
    Starting,
    Running,
    Stopping,
    Partitioned,
    Finished,
    Failed,
    Killed,
    Lost,
}

impl Standing {
    pub(super) const COUNT: usize = 9;
    pub(super) const FIRST_ENDED: usize = Standing::Finished as usize;

    pub fn of(state: TaskState) -> Option<Standing> {
        Some(match state {
            TaskState::Unspecified => return None,
            TaskState::Throttled | TaskState::Pending => Standing::Pending,
            TaskState::Assigned | TaskState::Starting => Standing::Starting,
            TaskState::Running => Standing::Running,
            TaskState::Preempting | TaskState::Restarting | TaskState::Draining | TaskState::Killing => {
                Standing::Stopping
            }
            TaskState::Partitioned => Standing::Partitioned,
            TaskState::Finished => Standing::Finished,
            TaskState::Failed => Standing::Failed,
            TaskState::Killed => Standing::Killed,
            TaskState::Lost => Standing::Lost,
        })
    }
}

/// Of a life that follows a failed one, with none between that was healthy for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// It does not run yet.
    Waits,
    RunsSince(Timestamp),
}

/// One job's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cron: the latest run that is kept; of earlier ones nothing that has ended counts.
    run_at: Timestamp,
    counts: [u32; Standing::COUNT],
    /// Those of `counts` that are not the one of their instance that counts.
    pub(super) beside: Beside,
    waits_after_failure: u32,
    runs_after_failure: BTreeSet<(Timestamp, TaskId)>,
    /// Of the newest task of every instance of the run that counts.
    pub restarts: u64,
}

impl Tally {
    /// How many instances count as that.
    pub fn count(&self, standing: Standing) -> u32 {
        self.counts[standing as usize] - self.beside.of(standing)
    }

    /// How many tasks live beside the one of their instance that counts.
    pub fn beside(&self) -> u32 {
        self.beside.living()
    }

    pub(super) fn run_at(&self) -> Timestamp {
        self.run_at
    }

    /// Instances that wait or run again after a failed life since which none ran for `stable_ms`.
    pub fn failing(&self, now: Timestamp, stable_ms: u64) -> u32 {
        let since = Timestamp(now.0.saturating_sub_unsigned(stable_ms));
        let runs = self.runs_after_failure.range((since, TaskId(0))..).count();
        self.waits_after_failure.saturating_add(u32::try_from(runs).unwrap_or(u32::MAX))
    }

    pub(super) fn add(&mut self, standing: Option<Standing>, after: Option<AfterFailure>, task: TaskId) {
        if let Some(standing) = standing {
            self.counts[standing as usize] += 1;
        }
        match after {
            Some(AfterFailure::Waits) => self.waits_after_failure += 1,
            Some(AfterFailure::RunsSince(at)) => _ = self.runs_after_failure.insert((at, task)),
            None => {}
        }
    }

    pub(super) fn remove(&mut self, standing: Option<Standing>, after: Option<AfterFailure>, task: TaskId) {
        if let Some(standing) = standing {
            self.counts[standing as usize] -= 1;
        }
        match after {
            Some(AfterFailure::Waits) => self.waits_after_failure -= 1,
            Some(AfterFailure::RunsSince(at)) => _ = self.runs_after_failure.remove(&(at, task)),
            None => {}
        }
    }
}

impl Task {
    pub(super) fn standing_alive(&self) -> Option<Standing> {
        Standing::of(self.state()).filter(|_| !self.state().is_terminal())
    }

    /// Whether it waits or runs again after a failed life, and has not run for `stable_ms` since.
    pub fn is_failing(&self, now: Timestamp, stable_ms: u64) -> bool {
        match self.after_failure() {
            Some(AfterFailure::RunsSince(since)) => now.since_ms(since) < stable_ms,
            Some(AfterFailure::Waits) => true,
            None => false,
        }
    }

    pub(super) fn after_failure(&self) -> Option<AfterFailure> {
        let first = self.history.first()?;
        if self.failures == 0 && first.reason != Reason::Backoff {
            return None;
        }
        match self.standing_alive()? {
            Standing::Pending | Standing::Starting => Some(AfterFailure::Waits),
            Standing::Running => {
                let running = self.history.iter().rev().take_while(|one| one.to == TaskState::Running);
                Some(AfterFailure::RunsSince(running.last().map_or(first.at, |one| one.at)))
            }
            _ => None,
        }
    }

    /// How it failed; None: it goes on, or ended as it should or was told to.
    pub fn failure(&self, spec: &JobSpec) -> Option<&Transition> {
        let end = self.history.last()?;
        let was_told = self.history.iter().rev().nth(1).is_some_and(|before| before.to.is_stopping());
        let failed = match end.to {
            TaskState::Failed => true,
            TaskState::Finished => spec.goes_on() && !was_told,
            TaskState::Lost => did_not_start(end.reason),
            _ => false,
        };
        failed.then_some(end)
    }
}

/// Whether the reason of a lost task is something that its user can look into: not that a node went away.
fn did_not_start(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ExecFailed
            | Reason::UnknownUser
            | Reason::SandboxFailed
            | Reason::CgroupFailed
            | Reason::PortClash
            | Reason::LaunchRefused
            | Reason::ExecutorLost
            | Reason::ArtifactFailed
            | Reason::ChecksumMismatch
            | Reason::NoRoom
            | Reason::CheckpointFailed
            | Reason::NodeDiskFull
            | Reason::NodeDiskFailed
            | Reason::RootFsFailed
            | Reason::LimitNotPossible
    )
}

impl Truth {
    /// Whether a task was made since its job was last submitted. Of a cron job each run is its own: always.
    pub fn is_of_present(&self, job: &Job, task: &Task) -> bool {
        let Some(current) = self.current_spec(job) else { return false };
        match current.job.kind {
            JobKind::Cron => true,
            JobKind::Batch => task.spec == current.id,
            _ => {
                let submitted = job.versions.back().map(|version| version.at);
                task.history.first().map(|first| first.at) >= submitted
            }
        }
    }

    /// Whether an ended task that is the last of its slot counts.
    pub(super) fn counts_ended(&self, job: &Job, run_at: Timestamp, task: &Task) -> bool {
        let Some(current) = self.current_spec(job) else { return false };
        match current.job.kind {
            JobKind::Cron => task.run_at == run_at,
            JobKind::Batch => task.spec == current.id,
            // Nothing of it is wanted there any more.
            JobKind::Daemon => task.history.last().is_none_or(|end| end.reason != Reason::NotMatching),
            _ => current.has(task.instance),
        }
    }
}

impl State {
    /// The numbers of a job.
    pub fn tally(&self, job: JobId) -> Option<&Tally> {
        self.indexes.tallies.get(&job)
    }

    /// The latest failed life of the task's instance up to this one.
    pub fn last_failure<'a>(&'a self, task: &'a Task) -> Option<(&'a Task, &'a Transition)> {
        let job = self.jobs.get(&task.job)?;
        let spec = &self.current_spec(job)?.job;
        let lives = self
            .tasks_of(job.id)
            .slots
            .range((task.run_at, task.instance, TaskId(0))..=(task.run_at, task.instance, task.id));
        let lives = lives.rev().filter_map(|(_, _, id)| self.tasks.get(id));
        let lives = lives.take_while(|life| self.is_of_present(job, life));
        lives.filter_map(|life| Some((life, life.failure(spec)?))).next()
    }

    /// The failures of the task's instance in a row, with this life's own: all that `last_failure` would tell of, those too
    /// that did not start on their nodes, which the restart policy does not count.
    pub fn failures_with_this(&self, task: &Task) -> u32 {
        self.counted_failures(task).saturating_add(self.lost_in_a_row(task))
    }

    /// Lives of the instance up to this one that did not start, since the newest that ended in another way than by failing or
    /// being lost.
    fn lost_in_a_row(&self, task: &Task) -> u32 {
        let Some(job) = self.jobs.get(&task.job) else { return 0 };
        let lives = self.tasks_of(job.id).slot(task.run_at, task.instance).rev().filter(|id| *id <= task.id);
        let lives = lives.filter_map(|id| self.tasks.get(&id)).take_while(|life| self.is_of_present(job, life));
        let mut lost = 0;
        for life in lives {
            let spec = &self.spec_of(life).job;
            match life.failure(spec) {
                Some(end) if end.to == TaskState::Lost => lost += 1,
                Some(end) if self.is_stable(life, end) => break,
                None if life.state().is_terminal() && life.state() != TaskState::Lost => break,
                _ => {}
            }
        }
        lost
    }

    /// Whether a life of a service was long enough to begin the count of its failures anew.
    fn is_stable(&self, life: &Task, end: &Transition) -> bool {
        let spec = &self.spec_of(life).job;
        let life_ms = life.started_at().map_or(0, |started| end.at.since_ms(started));
        spec.kind.runs_for_ever() && life_ms >= spec.restart.stable_after_ms
    }

    /// Those that the restart policy counts.
    fn counted_failures(&self, task: &Task) -> u32 {
        let spec = &self.spec_of(task).job;
        let Some(end) = task.failure(spec).filter(|end| end.to != TaskState::Lost) else { return task.failures };
        // As `retry` counts for the next life.
        if self.is_stable(task, end) { 1 } else { task.failures.saturating_add(1) }
    }

    /// The job's tasks as people see it: every living one, and ended ones that count.
    pub fn shown_tasks<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Task> {
        let run_at = self.tasks_of(job.id).slots.last().map_or(Timestamp(0), |(run_at, ..)| *run_at);
        let shown = self.tasks_of(job.id).slots.iter().filter_map(move |(at, instance, id)| {
            let task = self.tasks.get(id)?;
            let is_shown = !task.state().is_terminal()
                || self.tasks_of(job.id).newest(*at, *instance) == Some(*id) && self.counts_ended(job, run_at, task);
            is_shown.then_some(task)
        });
        let mut shown: Vec<&Task> = shown.collect();
        shown.sort_unstable_by_key(|task| task.id);
        shown.into_iter()
    }

    /// What an ended task adds to its job's numbers: nothing unless it is the last of its slot.
    fn standing_ended(&self, id: TaskId) -> Option<Standing> {
        let task = self.tasks.get(&id).filter(|task| task.state().is_terminal())?;
        let job = self.jobs.get(&task.job)?;
        let is_last = self.tasks_of(job.id).newest(task.run_at, task.instance) == Some(id);
        (is_last && self.counts_ended(job, self.indexes.tallies.get(&job.id)?.run_at, task))
            .then(|| Standing::of(task.state()))?
    }

    /// A task has ended.
    pub(super) fn tally_end(&mut self, id: TaskId, job: JobId) {
        let standing = self.standing_ended(id);
        let run = self.indexes.tallies.get(&job).map(|tally| tally.run_at);
        let is_last = |task: &&Task| {
            let newest = self.jobs.get(&job).and_then(|job| self.tasks_of(job.id).newest(task.run_at, task.instance));
            newest == Some(id) && run == Some(task.run_at)
        };
        let counts_no_more = self.tasks.get(&id).filter(|_| standing.is_none()).filter(is_last);
        let restarts = counts_no_more.map_or(0, |task| task.restarts);
        let tally = self.indexes.tallies.or_default(job);
        tally.add(standing, None, id);
        tally.restarts -= u64::from(restarts);
    }

    /// A task of a slot has moved; what counts of others in its slot may be another.
    pub(super) fn tally_moved(&mut self, job: JobId, slot: (Timestamp, u32)) {
        if self.indexes.tallies.get(&job).is_some_and(|tally| tally.beside.has(slot)) {
            self.indexes.count_slot(&self.truth, job, slot);
        }
    }

    /// A task was made: the one before it in its slot counts no more, if it has ended.
    pub(super) fn tally_made(&mut self, id: TaskId, id_of_job: JobId, run_at: Timestamp, instance: u32) {
        if self.indexes.tallies.or_default(id_of_job).run_at < run_at {
            return self.indexes.recount(&self.truth, id_of_job);
        }
        let Some(job) = self.jobs.get(&id_of_job) else { return };
        let run = self.indexes.tallies.get(&id_of_job).map_or(run_at, |tally| tally.run_at);
        let before =
            self.tasks_of(job.id).slots.range((run_at, instance, TaskId(0))..(run_at, instance, id)).next_back();
        let before = before.and_then(|(_, _, id)| self.tasks.get(id));
        let before = before.filter(|task| !task.state().is_terminal() || self.counts_ended(job, run, task));
        let standing = before.filter(|task| task.state().is_terminal()).and_then(|task| Standing::of(task.state()));
        let of_run = |task: Option<&Task>| task.filter(|_| run == run_at).map_or(0, |task| u64::from(task.restarts));
        let (less, more) = (of_run(before), of_run(self.tasks.get(&id)));
        let tally = self.indexes.tallies.or_default(id_of_job);
        tally.remove(standing, None, id);
        tally.restarts = tally.restarts + more - less;
        if self.tasks_of(id_of_job).slot(run_at, instance).nth(1).is_some() {
            self.indexes.count_slot(&self.truth, id_of_job, (run_at, instance));
        }
    }

    /// Whether a task and what it adds are to be taken out of the numbers when it is forgotten.
    pub(super) fn tallied(&self, id: TaskId) -> Tallied {
        let standing = self.standing_ended(id);
        let task = self.tasks.get(&id);
        let of = task.and_then(|task| Some((task, self.jobs.get(&task.job)?)));
        let slot = of.map(|(task, job)| self.tasks_of(job.id).slot(task.run_at, task.instance));
        let is_first = slot.and_then(|mut slot| slot.next()) == Some(id);
        Tallied { standing, is_first }
    }

    /// A task was forgotten.
    pub(super) fn tally_forgotten(&mut self, task: &Task, tallied: Tallied) {
        let Some(job) = self.jobs.get(&task.job) else { return };
        let runs_on = self.tasks_of(job.id).slots.last().map_or(Timestamp(0), |(run_at, ..)| *run_at);
        let newest = self.tasks_of(job.id).newest(task.run_at, task.instance);
        let tally = self.indexes.tallies.or_default(task.job);
        if !tallied.is_first || runs_on != tally.run_at || newest.is_some_and(|newest| newest < task.id) {
            return self.indexes.recount(&self.truth, task.job);
        }
        tally.remove(tallied.standing, None, task.id);
        let counts = tallied.standing.is_some() && tally.run_at == task.run_at;
        tally.restarts -= u64::from(if counts { task.restarts } else { 0 });
    }
}

impl Index {
    /// Counts anew what has ended: another version counts, or the clock moved.
    pub(super) fn recount(&mut self, truth: &Truth, id: JobId) {
        let Some(job) = truth.jobs.get(&id) else { return };
        let tasks = self.tasks_of(id);
        let run_at = tasks.slots.last().map_or(Timestamp(0), |(run_at, ..)| *run_at);
        let mut ended = [0; Standing::COUNT];
        let (mut restarts, mut beside) = (0, BTreeSet::new());
        for (at, instance, task) in &tasks.slots {
            let Some(task) = truth.tasks.get(task) else { continue };
            let has_ended = task.state().is_terminal();
            if tasks.newest(*at, *instance) != Some(task.id) {
                beside.extend((!has_ended).then_some((*at, *instance)));
                continue;
            }
            if has_ended && !truth.counts_ended(job, run_at, task) {
                continue;
            }
            if has_ended {
                Standing::of(task.state()).into_iter().for_each(|standing| ended[standing as usize] += 1);
            }
            restarts += u64::from(if *at == run_at { task.restarts } else { 0 });
        }
        let tally = self.tallies.or_default(id);
        tally.counts[Standing::FIRST_ENDED..].copy_from_slice(&ended[Standing::FIRST_ENDED..]);
        (tally.run_at, tally.restarts) = (run_at, restarts);
        tally.beside.clear();
        beside.into_iter().for_each(|slot| self.count_slot(truth, id, slot));
    }
}

/// What a task that is to be forgotten had added.
pub(super) struct Tallied {
    standing: Option<Standing>,
    is_first: bool,
}
