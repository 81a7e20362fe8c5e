//! How well jobs did, from what is kept of their tasks: after Apache Aurora's SLA metrics.

use dawn_proto::v1::{self, Reason};
use dawn_proto::{JobKey, TaskState, Timestamp};

use super::ReadError;
use crate::decide::standing;
use crate::model::{Job, State, Task};

/// How far back, unless it is said.
const WINDOW_MS: u64 = 24 * 3_600_000;
const PERCENTILES: [u32; 5] = [50, 75, 90, 95, 99];

/// Of one job, or of a role's, or of all. Takes time for every task of them.
///
/// # Errors
/// When there is no such job.
pub fn sla_report(
    state: &State,
    key: Option<&JobKey>,
    role: &str,
    window_ms: u64,
    now: Timestamp,
) -> Result<v1::SlaReport, ReadError> {
    let now = now.max(state.at);
    let from = Timestamp(now.0.saturating_sub_unsigned(if window_ms == 0 { WINDOW_MS } else { window_ms }));
    let jobs: Vec<&Job> = match key {
        Some(key) => vec![state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?],
        None => {
            let jobs = state.indexes().job_by_key.iter().filter(|(key, _)| role.is_empty() || key.role() == role);
            jobs.filter_map(|(_, id)| state.jobs.get(id)).filter(|job| job.ended.is_none()).collect()
        }
    };
    let jobs = jobs.into_iter().map(|job| of_job(state, job, from, now)).collect();
    Ok(v1::SlaReport { jobs, index: state.index })
}

/// Of one job over the usual window; None: there is no such job.
pub fn job_sla(state: &State, key: &JobKey, now: Timestamp) -> Option<v1::JobSla> {
    sla_report(state, Some(key), "", 0, now).ok()?.jobs.pop()
}

fn of_job(state: &State, job: &Job, from: Timestamp, now: Timestamp) -> v1::JobSla {
    let tasks: Vec<&Task> = state.tasks_of(job.id).ids.iter().filter_map(|id| state.tasks.get(id)).collect();
    let made = |task: &&&Task| task.history.first().is_some_and(|first| first.at >= from);
    let to = |states: &'static [TaskState]| {
        let waits = tasks.iter().filter(made).filter_map(|task| wait_ms(task, states));
        median(waits.collect())
    };
    let running: Vec<u64> =
        tasks.iter().filter(|task| task.state() == TaskState::Running).map(|task| now.since_ms(task.since())).collect();
    let standing = standing(state, job, now);
    v1::JobSla {
        key: Some((&job.key).into()),
        instances: state.current_spec(job).map_or(0, |spec| spec.job.instances),
        running: running.len() as u32,
        median_to_assigned_ms: to(&[TaskState::Assigned]),
        median_to_running_ms: to(&[TaskState::Running]),
        uptime: percentiles(running),
        platform_uptime: platform_uptime(&tasks, from, now),
        from_ms: from.0.max(job.created.0),
        policy: standing.map(|(up, needed)| format!("{up} up, {needed} must be")).unwrap_or_default(),
        violated: standing.is_some_and(|(up, needed)| up < needed),
    }
}

/// From when the task was PENDING until it first was in one of the states.
fn wait_ms(task: &Task, states: &[TaskState]) -> Option<u64> {
    let pending = task.history.iter().find(|one| one.to == TaskState::Pending)?;
    let there = task.history.iter().find(|one| states.contains(&one.to))?;
    Some(there.at.since_ms(pending.at))
}

fn median(mut waits: Vec<u64>) -> Option<u64> {
    waits.sort_unstable();
    waits.get(waits.len() / 2).copied()
}

/// For how long at least so many in a hundred of the running tasks have been up.
fn percentiles(mut running: Vec<u64>) -> Vec<v1::UptimePercentile> {
    running.sort_unstable();
    let at = |percentile: u32| {
        let below = running.len() * (100 - percentile as usize) / 100;
        v1::UptimePercentile { percentile, uptime_ms: running.get(below).copied().unwrap_or(0) }
    };
    PERCENTILES.map(at).to_vec()
}

/// Ends that are the platform's doing.
fn is_platforms(reason: Reason) -> bool {
    use Reason::*;
    matches!(
        reason,
        AgentLost
            | AgentRebooted
            | ExecutorLost
            | NotOnAgent
            | NodeDrain
            | Preempted
            | LaunchRefused
            | NoRoom
            | CgroupFailed
            | CheckpointFailed
            | NodeDiskFull
            | NodeDiskFailed
    )
}

/// In hundredths of a percent: the share of the tasks' time in which the platform kept them from running. A task waits for
/// the platform from its making until it runs if its instance lost its life before to the platform.
fn platform_uptime(tasks: &[&Task], from: Timestamp, now: Timestamp) -> u32 {
    let (mut all_ms, mut lost_ms) = (0u64, 0u64);
    for task in tasks {
        let Some(first) = task.history.first() else { continue };
        let end = if task.state().is_terminal() { task.since() } else { now };
        let begin = first.at.max(from);
        all_ms = all_ms.saturating_add(end.since_ms(begin));
        if is_platforms(first.reason) {
            let up = task.history.iter().find(|one| one.to == TaskState::Running).map_or(end, |one| one.at);
            lost_ms = lost_ms.saturating_add(up.since_ms(begin));
        }
    }
    if all_ms == 0 { 10_000 } else { 10_000 - (u128::from(lost_ms) * 10_000 / u128::from(all_ms)) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_shortest_lives() {
        let all = percentiles((1..=100).collect());
        assert_eq!(all.iter().map(|one| one.uptime_ms).collect::<Vec<_>>(), [51, 26, 11, 6, 2]);
        assert!(percentiles(Vec::new()).iter().all(|one| one.uptime_ms == 0));
        assert_eq!((median(vec![3, 1, 2]), median(vec![])), (Some(2), None));
    }
}
