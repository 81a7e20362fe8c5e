//! Defaults that depend on other fields, and parts that every job has. Not here: defaults of a field by itself, which its options
//! say (`bounds`).

use crate::fields::{affinity, cron_policy, http_lifecycle, partition_policy, restart_policy};
use crate::v1::{
    Affinity, CronPolicy, JobKind, JobSpec, Misfire, PartitionPolicy, RestartOn, RestartPolicy, TaskSpec, Tier,
    affinity::Target,
};

/// Fills in what is not given.
pub(super) fn fill(spec: &mut JobSpec, kind: Option<JobKind>, role: &str) {
    let runs_for_ever = kind.is_some_and(JobKind::runs_for_ever);
    if spec.tier == 0 {
        spec.tier = if runs_for_ever { Tier::Production.into() } else { Tier::Batch.into() };
    }
    if let Some(task) = &mut spec.task {
        of_task(task, role);
    }
    spec.affinities.iter_mut().for_each(topology);
    restart(spec.restart.get_or_insert_default(), runs_for_ever);
    if let Some(cron) = &mut spec.cron {
        misfire_limit(cron);
    }
    let delay_ms = partition_policy::DELAY_MS.default_number().unsigned_abs();
    spec.partition.get_or_insert(PartitionPolicy { wait: false, delay_ms });
}

fn of_task(task: &mut TaskSpec, role: &str) {
    if task.user.is_empty() {
        task.user = role.to_string();
    }
    let resources = task.resources.get_or_insert_default();
    resources.custom_milli.retain(|_, amount| *amount > 0);
    task.logs.get_or_insert_default();
    if let Some(lifecycle) = &mut task.http_lifecycle {
        let default_ms = http_lifecycle::GRACEFUL_WAIT_MS.default_number().unsigned_abs();
        if !lifecycle.graceful_path.is_empty() && lifecycle.graceful_wait_ms == 0 {
            lifecycle.graceful_wait_ms = default_ms;
        }
        let default_ms = http_lifecycle::SHUTDOWN_WAIT_MS.default_number().unsigned_abs();
        if !lifecycle.shutdown_path.is_empty() && lifecycle.shutdown_wait_ms == 0 {
            lifecycle.shutdown_wait_ms = default_ms;
        }
    }
}

fn topology(affinity: &mut Affinity) {
    if affinity.topology.is_empty() && matches!(affinity.target, Some(Target::Job(_))) {
        affinity.topology = affinity::TOPOLOGY.default_text().to_string();
    }
}

fn restart(restart: &mut RestartPolicy, runs_for_ever: bool) {
    if restart.on == 0 {
        restart.on = if runs_for_ever { RestartOn::AnyExit.into() } else { RestartOn::Failure.into() };
    }
    if !runs_for_ever && restart.max_failures == 0 {
        restart.max_failures = u32::try_from(restart_policy::MAX_FAILURES.default_number()).unwrap_or(1);
    }
    let default_ms = restart_policy::MAX_BACKOFF_MS.default_number().unsigned_abs();
    if restart.max_backoff_ms == 0 {
        restart.max_backoff_ms = default_ms.max(restart.initial_backoff_ms);
    }
}

fn misfire_limit(cron: &mut CronPolicy) {
    if cron.misfire() == Misfire::All && cron.misfire_limit == 0 {
        cron.misfire_limit = u32::try_from(cron_policy::MISFIRE_LIMIT.default_number()).unwrap_or(1);
    }
}
