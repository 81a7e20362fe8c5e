//! Jobs: lists, and one with its tasks.

use std::ops::Bound;

use dawn_proto::v1::{self, JobKind};
use dawn_proto::{JobKey, Timestamp};
use prost::Message;

use super::{ReadError, cron, flow, page};
use crate::model::{Ended, Job, Spec, Standing, State, Task};
use crate::wire;

/// A page of jobs in key order.
///
/// # Errors
/// When the page token is none.
pub fn list_jobs(
    state: &State,
    request: &v1::ListJobsRequest,
    now: Timestamp,
) -> Result<v1::ListJobsResponse, ReadError> {
    let after = match request.page_token.as_str() {
        "" => Bound::Unbounded,
        token => Bound::Excluded(token.parse::<JobKey>().map_err(|_| page::bad_token(token))?),
    };
    let wanted = |key: &JobKey| {
        (request.role.is_empty() || key.role() == request.role) && (request.env.is_empty() || key.env() == request.env)
    };
    let keys = state.indexes().job_by_key.range((after, Bound::Unbounded));
    let keep = |(key, id): (&JobKey, _)| {
        let job = state.jobs.get(id)?;
        (wanted(key) && (request.all || job.ended.is_none())).then(|| summary(state, job, now)).flatten()
    };
    let (jobs, next_page_token) = page::take(keys, request.page_size, keep, |(key, _)| key.to_string());
    Ok(v1::ListJobsResponse { jobs, next_page_token, index: state.index })
}

/// What of a job fits into a line of a list. Looks at no task.
pub(super) fn summary(state: &State, job: &Job, now: Timestamp) -> Option<v1::JobSummary> {
    let spec = &state.current_spec(job)?.job;
    let mut summary = v1::JobSummary {
        key: Some((&job.key).into()),
        kind: spec.kind.into(),
        tier: spec.tier.into(),
        priority: u32::from(spec.priority),
        version: job.current()?.version,
        instances: spec.instances,
        created_ms: job.created.0,
        ended: job.ended.is_some(),
        result: flow::result(state, job).into(),
        waits_for: flow::waits_for_of(state, job),
        template: spec.flow.is_template,
        paused: job.flow.paused.is_some(),
        ..Default::default()
    };
    if let Some(tally) = state.tally(job.id) {
        let count = |standing| tally.count(standing);
        (summary.pending, summary.starting) = (count(Standing::Pending), count(Standing::Starting));
        (summary.running, summary.stopping) = (count(Standing::Running), count(Standing::Stopping));
        (summary.partitioned, summary.beside) = (count(Standing::Partitioned), tally.beside());
        if spec.kind == JobKind::Daemon {
            // It has one on each node that it is on.
            summary.instances = state.tasks_of(job.id).living.saturating_sub(summary.beside);
        }
        if spec.kind == JobKind::Cron {
            // Between two runs no instance waits.
            let placed = summary.starting + summary.running + summary.stopping + summary.partitioned;
            summary.pending = summary.pending.min(state.tasks_of(job.id).living.saturating_sub(placed));
        }
        (summary.finished, summary.failed) = (count(Standing::Finished), count(Standing::Failed));
        (summary.killed, summary.lost) = (count(Standing::Killed), count(Standing::Lost));
        summary.restarts = u32::try_from(tally.restarts).unwrap_or(u32::MAX);
        summary.failing = tally.failing(now, spec.restart.stable_after_ms);
    }
    Some(summary)
}

/// A job with its spec, tasks and versions. `version` 0 is the current one.
///
/// # Errors
/// When there is no such job or version.
pub fn job_status(state: &State, key: &JobKey, version: u32) -> Result<v1::JobStatus, ReadError> {
    job_status_at(state, key, version, state.at)
}

/// The same as of a time after the last commit.
///
/// # Errors
/// As `job_status`.
pub fn job_status_at(state: &State, key: &JobKey, version: u32, now: Timestamp) -> Result<v1::JobStatus, ReadError> {
    let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
    let spec = spec(state, job, version)?;
    let versions = job.versions.iter().map(|version| v1::JobVersion {
        version: version.version,
        at_ms: version.at.0,
        author: version.author.clone(),
        message: version.message.clone(),
        current: job.current().is_some_and(|current| current.version == version.version),
    });
    let ended = job.ended.as_ref();
    let tasks: Vec<v1::Task> = state.shown_tasks(job).map(|task| wire::task_view(state, task)).collect();
    Ok(v1::JobStatus {
        summary: summary(state, job, now),
        // invariant: it was made by encoding this message.
        spec: v1::JobSpec::decode(&*spec.job.wire).ok(),
        tasks,
        versions: versions.collect(),
        index: state.index,
        cron: cron::status(state, job),
        update: job.changes.active().map_or(0, |update| update.number),
        ended_ms: ended.map_or(0, |ended| ended_at(state, job, ended).0),
        ended_by: ended.map(|ended| ended.by.clone()).unwrap_or_default(),
        ended_message: ended
            .map(|ended| ended.message.clone())
            .filter(|message| !flow::tells_nothing(message))
            .unwrap_or_default(),
    })
}

/// When a job ended: one that ended by itself with the last of its tasks, which may be before a leader learned of it.
fn ended_at(state: &State, job: &Job, ended: &Ended) -> Timestamp {
    let last = state.shown_tasks(job).map(Task::since).max();
    let is_by_itself = ended.by.is_empty() && flow::tells_nothing(&ended.message) && state.tasks_of(job.id).living == 0;
    last.filter(|last| is_by_itself && *last < ended.at).unwrap_or(ended.at)
}

fn spec<'a>(state: &'a State, job: &'a Job, version: u32) -> Result<&'a Spec, ReadError> {
    let kept = match version {
        // After a way back that is not the latest one.
        0 => job.current(),
        version => job.version(version),
    };
    kept.and_then(|kept| state.specs.get(&kept.spec)).map(|spec| &**spec).ok_or_else(|| ReadError::NoSuchVersion {
        key: job.key.clone(),
        version,
        first: job.versions.front().map_or(0, |version| version.version),
        last: job.versions.back().map_or(0, |version| version.version),
    })
}
