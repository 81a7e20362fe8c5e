//! Whether the first run of a service or a daemon job goes well: every instance must be healthy for a while. Pure: states
//! of the job and instants in, verdict out. Not here: updates, which the scheduler judges itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dawn_proto::v1::{self, JobKind, JobSpec, Reason, TaskState};
use tokio::time::Instant;

use super::unchecked;
use super::wait::{SUCCEEDED, why_ended};
use crate::render::{count, failure};

/// Of a job whose update policy does not say it.
const WATCH: Duration = Duration::from_secs(10);
const PROGRESS_DEADLINE: Duration = Duration::from_secs(600);
/// So many failures of every instance, all for one reason, are enough: the next one would be the same.
const FAILURES: usize = 2;

/// What is known of a first run.
pub struct Rollout {
    watch: Duration,
    progress_deadline: Duration,
    /// When it began, or an instance became healthy for the first time.
    progress: Instant,
    /// Since when each task has been seen RUNNING without a break.
    running_since: BTreeMap<u64, Instant>,
    /// Instances that were healthy for `watch` once.
    were_healthy: BTreeSet<u32>,
    failed: BTreeMap<u32, Failures>,
    /// The job asks for a certain port: on a node where it is taken the job can't run.
    has_fixed_port: bool,
    looked: bool,
}

/// The failures of an instance that were seen.
#[derive(Default)]
struct Failures {
    task_ids: BTreeSet<u64>,
    reasons: BTreeSet<(i32, Option<i32>, Option<i32>)>,
    /// Attempts that failed for what the scheduler could not know of a node. The next attempt avoids it.
    by_chance: BTreeSet<u64>,
}

impl Failures {
    /// How often the instance of a task failed: in a row as its status says it, or as was seen. Where some of them came by chance
    /// nobody knows how many of the row did.
    fn times(&self, task: &v1::Task) -> usize {
        let in_a_row = usize::try_from(task.failures).unwrap_or(usize::MAX);
        if self.by_chance.is_empty() { self.task_ids.len().max(in_a_row) } else { self.task_ids.len() }
    }
}

/// How a first run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Not every instance is healthy yet; so many are.
    Waits {
        healthy: u32,
    },
    Good,
    /// For people: why it is given up waiting for.
    Failed(String),
}

impl Rollout {
    /// Of a job that runs for ever.
    pub fn of(spec: &JobSpec, now: Instant) -> Option<Rollout> {
        let for_ever = matches!(spec.kind(), JobKind::Service | JobKind::Daemon);
        let policy = spec.update.clone().unwrap_or_default();
        let progress_deadline = match policy.progress_deadline_ms {
            0 => PROGRESS_DEADLINE,
            deadline_ms => Duration::from_millis(deadline_ms),
        };
        for_ever.then(|| Rollout {
            watch: policy.watch_ms.map_or(WATCH, Duration::from_millis),
            progress_deadline,
            progress: now,
            running_since: BTreeMap::new(),
            were_healthy: BTreeSet::new(),
            failed: BTreeMap::new(),
            has_fixed_port: spec.task.iter().flat_map(|task| &task.ports).any(|port| port.fixed != 0),
            looked: false,
        })
    }

    pub fn watch(&self) -> Duration {
        self.watch
    }

    /// How it stands by the job's state; `now_ms` is the wall clock's time.
    pub fn judge(&mut self, status: &v1::JobStatus, now: Instant, now_ms: i64) -> Outlook {
        self.take_in(status, now, now_ms);
        let summary = status.summary.clone().unwrap_or_default();
        let healthy = self.healthy(status, now);
        let settled = u32::try_from(healthy.len()).unwrap_or(u32::MAX) + summary.finished;
        if healthy.iter().any(|instance| !self.were_healthy.contains(instance)) {
            self.were_healthy.extend(&healthy);
            self.progress = now;
        }
        let all = summary.instances;
        let nothing_to_do = summary.kind() == JobKind::Daemon && all == 0 && summary.pending + summary.starting == 0;
        if summary.ended && summary.result == SUCCEEDED {
            return Outlook::Good;
        }
        if summary.ended {
            let why = why_ended(status);
            return Outlook::Failed(if why.is_empty() { "the job has ended".to_string() } else { why });
        }
        if !summary.waits_for.is_empty() {
            // Its time begins with it.
            self.progress = now;
            return Outlook::Waits { healthy: 0 };
        }
        if settled >= all && (all > 0 || nothing_to_do) {
            return Outlook::Good;
        }
        // A failed task that is the newest of its instance has no next life: the job's restart policy says so.
        if summary.failed > 0 && settled + summary.failed >= all {
            return Outlook::Failed(format!("{} of {} failed for good", summary.failed, count(all, "instance")));
        }
        if let Some(why) = self.fails_alike(status, all) {
            return Outlook::Failed(why);
        }
        if now.saturating_duration_since(self.progress) >= self.progress_deadline {
            let deadline_ms = u64::try_from(self.progress_deadline.as_millis()).unwrap_or(u64::MAX);
            let waited = dawn_proto::amounts::duration(deadline_ms);
            let late = match (healthy.len(), all) {
                (0, 1) => format!("its instance did not become healthy within {waited}"),
                (0, _) => format!("none of {} became healthy within {waited}", count(all, "instance")),
                (some, _) => format!("no further instance became healthy within {waited}; {some} of {all} are healthy"),
            };
            let unchecked = unchecked::describe_late(status, deadline_ms, now_ms);
            return Outlook::Failed([late].into_iter().chain(unchecked).collect::<Vec<_>>().join(": "));
        }
        Outlook::Waits { healthy: u32::try_from(healthy.len()).unwrap_or(u32::MAX) }
    }

    fn take_in(&mut self, status: &v1::JobStatus, now: Instant, now_ms: i64) {
        let running = |task: &&v1::Task| task.state() == TaskState::Running;
        let ids: BTreeSet<u64> = status.tasks.iter().filter(running).map(|task| task.id).collect();
        self.running_since.retain(|id, _| ids.contains(id));
        for task in status.tasks.iter().filter(running) {
            // What ran before anybody looked is judged by the wall clock, all later by what was seen.
            let age_ms = now_ms - task.history.last().map_or(now_ms, |last| last.at_ms);
            let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)).min(self.watch);
            let before = if self.looked { Duration::ZERO } else { age };
            self.running_since.entry(task.id).or_insert_with(|| now.checked_sub(before).unwrap_or(now));
        }
        self.looked = true;
        for (task, failed) in status.tasks.iter().filter_map(|task| Some((task, failure::of(task)?))) {
            let seen = self.failed.entry(task.instance).or_default();
            let by_chance = match failed.reason() {
                Reason::NoRoom => true,
                // The scheduler chose the port, and chooses another one.
                Reason::PortClash => !self.has_fixed_port,
                _ => false,
            };
            if by_chance {
                seen.by_chance.insert(failed.task_id);
                continue;
            }
            seen.task_ids.insert(failed.task_id);
            seen.reasons.insert((failed.reason, failed.exit_code, failed.signal));
        }
    }

    /// Instances that have been RUNNING for `watch`.
    fn healthy(&self, status: &v1::JobStatus, now: Instant) -> BTreeSet<u32> {
        let long = |task: &&v1::Task| {
            let since = self.running_since.get(&task.id);
            since.is_some_and(|since| now.saturating_duration_since(*since) >= self.watch)
        };
        status.tasks.iter().filter(long).map(|task| task.instance).collect()
    }

    /// Whether every instance has failed often enough, all of them for one and the same reason.
    fn fails_alike(&self, status: &v1::JobStatus, all: u32) -> Option<String> {
        let mut reasons: BTreeSet<(i32, Option<i32>, Option<i32>)> = BTreeSet::new();
        let (mut instances, mut fewest) = (BTreeSet::new(), usize::MAX);
        let living = status.tasks.iter().filter(|task| !task.state().is_terminal());
        for task in living {
            let failed = self.failed.get(&task.instance)?;
            let times = failed.times(task);
            if times < FAILURES || self.were_healthy.contains(&task.instance) {
                return None;
            }
            fewest = fewest.min(times);
            reasons.extend(&failed.reasons);
            instances.insert(task.instance);
        }
        if reasons.len() != 1 || instances.len() < usize::try_from(all).unwrap_or(usize::MAX) || all == 0 {
            return None;
        }
        let times = if fewest == 2 { "twice".to_string() } else { format!("{fewest} times") };
        Some(match all {
            1 => format!("its instance failed {times} for the same reason"),
            all => format!("all {all} instances failed at least {times} for the same reason"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A job of two instances, each in a state and with so many failures behind it.
    fn status(instances: &[(TaskState, u32)]) -> v1::JobStatus {
        let exited = |id, failures| v1::TaskFailure {
            task_id: id * 100 + u64::from(failures),
            reason: v1::Reason::Exited.into(),
            exit_code: Some(1),
            ..Default::default()
        };
        let task = |(i, (state, failures)): (usize, &(TaskState, u32))| v1::Task {
            id: i as u64 + 1,
            instance: i as u32,
            state: (*state).into(),
            failures: *failures,
            last_failure: (*failures > 0).then(|| exited(i as u64, *failures)),
            history: vec![v1::Transition { state: (*state).into(), at_ms: 500_000, ..Default::default() }],
            ..Default::default()
        };
        let kind = JobKind::Service.into();
        let summary = v1::JobSummary { kind, instances: instances.len() as u32, ..Default::default() };
        let tasks = instances.iter().enumerate().map(task).collect();
        v1::JobStatus { summary: Some(summary), tasks, ..Default::default() }
    }

    fn rollout(now: Instant) -> Rollout {
        let update = v1::UpdatePolicy { watch_ms: Some(5_000), progress_deadline_ms: 20_000, ..Default::default() };
        let spec = JobSpec { kind: JobKind::Service.into(), update: Some(update), ..Default::default() };
        Rollout::of(&spec, now).unwrap()
    }

    use TaskState::{Pending, Running, Throttled};

    #[test]
    fn every_instance_must_be_healthy_for_the_whole_watch() {
        let began = Instant::now();
        let mut rollout = rollout(began);
        let at = |seconds| began + SECOND * seconds;
        let wall_ms = 500_000;
        assert_eq!(
            rollout.judge(&status(&[(Running, 0), (Pending, 0)]), at(1), wall_ms),
            Outlook::Waits { healthy: 0 }
        );
        assert_eq!(
            rollout.judge(&status(&[(Running, 0), (Running, 0)]), at(4), wall_ms),
            Outlook::Waits { healthy: 0 }
        );
        assert_eq!(
            rollout.judge(&status(&[(Running, 0), (Running, 0)]), at(6), wall_ms),
            Outlook::Waits { healthy: 1 }
        );
        // A break begins the watch of that instance anew.
        assert_eq!(
            rollout.judge(&status(&[(Running, 0), (Throttled, 1)]), at(8), wall_ms),
            Outlook::Waits { healthy: 1 }
        );
        assert_eq!(
            rollout.judge(&status(&[(Running, 0), (Running, 1)]), at(9), wall_ms),
            Outlook::Waits { healthy: 1 }
        );
        assert_eq!(
            rollout.judge(&status(&[(Running, 0), (Running, 1)]), at(13), wall_ms),
            Outlook::Waits { healthy: 1 }
        );
        assert_eq!(rollout.judge(&status(&[(Running, 0), (Running, 1)]), at(14), wall_ms), Outlook::Good);
    }

    #[test]
    fn what_ran_for_long_before_anybody_looked_is_healthy_at_once() {
        let began = Instant::now();
        let all_run = status(&[(Running, 0), (Running, 0)]);
        assert_eq!(rollout(began).judge(&all_run, began, 505_000), Outlook::Good);
        assert_eq!(rollout(began).judge(&all_run, began, 504_000), Outlook::Waits { healthy: 0 });
        // A wall clock that is behind the scheduler's changes nothing of that.
        assert_eq!(rollout(began).judge(&all_run, began, 0), Outlook::Waits { healthy: 0 });
    }

    #[test]
    fn all_instances_failing_twice_for_one_reason_are_enough() {
        let began = Instant::now();
        let mut rollout = rollout(began);
        assert_eq!(rollout.judge(&status(&[(Throttled, 1), (Throttled, 2)]), began, 0), Outlook::Waits { healthy: 0 });
        let failed = rollout.judge(&status(&[(Throttled, 2), (Throttled, 2)]), began, 0);
        assert_eq!(failed, Outlook::Failed("all 2 instances failed at least twice for the same reason".into()));
        let failed = rollout.judge(&status(&[(Throttled, 4), (Throttled, 3)]), began, 0);
        assert_eq!(failed, Outlook::Failed("all 2 instances failed at least 3 times for the same reason".into()));
    }

    #[test]
    fn failures_of_different_reasons_may_still_heal() {
        let began = Instant::now();
        let mut rollout = rollout(began);
        let mut differ = status(&[(Throttled, 2), (Throttled, 2)]);
        differ.tasks[1].last_failure.as_mut().unwrap().exit_code = Some(2);
        assert_eq!(rollout.judge(&differ, began, 0), Outlook::Waits { healthy: 0 });
    }

    #[test]
    fn ports_that_the_scheduler_chose_may_be_taken_and_others_are_tried() {
        let began = Instant::now();
        let clash = |failures| {
            let mut clash = status(&[(Throttled, failures)]);
            clash.tasks[0].last_failure.as_mut().unwrap().reason = Reason::PortClash.into();
            clash
        };
        let mut chosen = rollout(began);
        for failures in 1..4 {
            assert_eq!(chosen.judge(&clash(failures), began, 0), Outlook::Waits { healthy: 0 });
        }
        // Three clashes and one failure of its own are not two failures for one reason.
        assert_eq!(chosen.judge(&status(&[(Throttled, 4)]), began, 0), Outlook::Waits { healthy: 0 });
        let failed = Outlook::Failed("its instance failed twice for the same reason".into());
        assert_eq!(chosen.judge(&status(&[(Throttled, 5)]), began, 0), failed);

        let mut fixed = Rollout { has_fixed_port: true, ..rollout(began) };
        assert_eq!(fixed.judge(&clash(2), began, 0), failed);
    }

    #[test]
    fn without_progress_the_deadline_ends_the_wait() {
        let began = Instant::now();
        let mut rollout = rollout(began);
        let stuck = status(&[(Pending, 0), (Pending, 0)]);
        assert_eq!(rollout.judge(&stuck, began + SECOND * 19, 0), Outlook::Waits { healthy: 0 });
        let late = rollout.judge(&stuck, began + SECOND * 20, 0);
        assert_eq!(late, Outlook::Failed("none of 2 instances became healthy within 20s".into()));
        // Each instance that becomes healthy gives the others the whole time again.
        let half = status(&[(Running, 0), (Pending, 0)]);
        assert_eq!(rollout.judge(&half, began + SECOND * 18, 0), Outlook::Waits { healthy: 0 });
        assert_eq!(rollout.judge(&half, began + SECOND * 23, 0), Outlook::Waits { healthy: 1 });
        assert_eq!(rollout.judge(&half, began + SECOND * 42, 0), Outlook::Waits { healthy: 1 });
        let late = rollout.judge(&half, began + SECOND * 43, 0);
        assert_eq!(late, Outlook::Failed("no further instance became healthy within 20s; 1 of 2 are healthy".into()));
    }

    #[test]
    fn batch_and_cron_jobs_have_no_such_run() {
        for kind in [JobKind::Batch, JobKind::Cron] {
            assert!(Rollout::of(&JobSpec { kind: kind.into(), ..Default::default() }, Instant::now()).is_none());
        }
    }
}
