//! Cron jobs: their schedule, the next tick and the latest ones.

use dawn_proto::v1;
use dawn_proto::v1::JobKind;
use prost::Message;

use crate::model::{Job, State};

/// Every cron job that is scheduled, of one role or of all.
pub fn list_cron(state: &State, role: &str) -> v1::ListCronResponse {
    let jobs = state.job_by_key.iter().filter(|(key, _)| role.is_empty() || key.role() == role);
    let jobs = jobs.filter_map(|(_, id)| state.jobs.get(id)).filter(|job| job.ended.is_none());
    v1::ListCronResponse { jobs: jobs.filter_map(|job| status(state, job)).collect(), index: state.index }
}

/// None unless the job is a cron job.
pub(super) fn status(state: &State, job: &Job) -> Option<v1::CronStatus> {
    let spec = &state.current_spec(job)?.job;
    let policy = spec.cron.as_ref().filter(|_| spec.kind == JobKind::Cron)?;
    let next = job.ended.is_none().then(|| policy.schedule.next_after(state.at)).flatten();
    let ticks = job.ticks.iter().map(|tick| v1::Tick {
        scheduled_ms: tick.scheduled.0,
        decided_ms: tick.decided.0,
        outcome: tick.outcome.into(),
    });
    Some(v1::CronStatus {
        key: Some((&job.key).into()),
        policy: v1::JobSpec::decode(&*spec.wire).ok().and_then(|wire| wire.cron),
        next_ms: next.map_or(0, |next| next.0),
        ticks: ticks.collect(),
        running: u32::try_from(state.living(job).count()).unwrap_or(u32::MAX),
    })
}
