//! Cron jobs: their schedule, the next tick and the latest ones.

use std::collections::BTreeMap;

use dawn_proto::v1;
use dawn_proto::v1::{JobKind, TaskState};
use dawn_proto::{TaskId, Timestamp};
use prost::Message;

use crate::model::{Job, State, Task};

/// How many of the next instants are told.
const UPCOMING: usize = 5;

/// Every cron job that is scheduled, of one role or of all.
pub fn list_cron(state: &State, role: &str) -> v1::ListCronResponse {
    let jobs = state.indexes().job_by_key.iter().filter(|(key, _)| role.is_empty() || key.role() == role);
    let jobs = jobs.filter_map(|(_, id)| state.jobs.get(id)).filter(|job| job.ended.is_none());
    v1::ListCronResponse { jobs: jobs.filter_map(|job| status(state, job)).collect(), index: state.index }
}

/// None unless the job is a cron job.
pub(super) fn status(state: &State, job: &Job) -> Option<v1::CronStatus> {
    let spec = &state.current_spec(job)?.job;
    let policy = spec.cron.as_ref().filter(|_| spec.kind == JobKind::Cron)?;
    // What was scheduled shortly before now may be yet to come: it fires later by the job's part of the jitter.
    let jitter_ms = policy.jitter_of(&job.key);
    let undecided = state.schedule_from(job).unwrap_or_default();
    let from = undecided.max(Timestamp(state.at.0.saturating_sub_unsigned(jitter_ms)));
    let next = (job.ended.is_none() && job.flow.paused.is_none()).then(|| policy.schedule.next_after(from)).flatten();
    let ticks = job.ticks.iter().map(|tick| v1::Tick {
        scheduled_ms: tick.scheduled.0,
        decided_ms: tick.decided.0,
        outcome: tick.outcome.into(),
    });
    let mut upcoming = Vec::new();
    let mut from = from;
    while let Some(next) = policy.schedule.next_after(from).filter(|_| next.is_some() && upcoming.len() < UPCOMING) {
        upcoming.push(next.0);
        from = next;
    }
    let paused = job.flow.paused.as_ref();
    Some(v1::CronStatus {
        key: Some((&job.key).into()),
        policy: v1::JobSpec::decode(&*spec.wire).ok().and_then(|wire| wire.cron),
        next_ms: next.map_or(0, |next| next.0),
        ticks: ticks.collect(),
        running: u32::try_from(state.living(job).count()).unwrap_or(u32::MAX),
        upcoming_ms: upcoming,
        paused_ms: paused.map_or(0, |paused| paused.at.0),
        paused_by: paused.map(|paused| paused.by.clone()).unwrap_or_default(),
        jitter_ms,
        runs: runs(state, job),
    })
}

/// What became of each run that is kept, by the newest life of each of its instances.
fn runs(state: &State, job: &Job) -> Vec<v1::CronRun> {
    let mut newest: BTreeMap<(Timestamp, u32), TaskId> = BTreeMap::new();
    let mut runs: BTreeMap<Timestamp, v1::CronRun> = BTreeMap::new();
    for (run_at, instance, id) in &state.tasks_of(job.id).slots {
        newest.insert((*run_at, *instance), *id);
        let run = runs.entry(*run_at).or_insert(v1::CronRun { run_at_ms: run_at.0, ..Default::default() });
        let started = state.tasks.get(id).and_then(Task::started_at).map_or(0, |at| at.0);
        if run.started_ms == 0 || started != 0 && started < run.started_ms {
            run.started_ms = started;
        }
    }
    for ((run_at, _), id) in newest {
        let (Some(run), Some(task)) = (runs.get_mut(&run_at), state.tasks.get(&id)) else { continue };
        match task.state() {
            TaskState::Finished => run.finished += 1,
            TaskState::Failed => run.failed += 1,
            state if state.is_terminal() => run.other += 1,
            _ => run.living += 1,
        }
        run.ended_ms = run.ended_ms.max(task.since().0);
    }
    let ended = |run: v1::CronRun| v1::CronRun { ended_ms: if run.living > 0 { 0 } else { run.ended_ms }, ..run };
    runs.into_values().map(ended).collect()
}
