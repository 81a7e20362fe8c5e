//! Updates: under way, ended, and what one would do.

use dawn_proto::JobKey;
use dawn_proto::v1;
use prost::Message;

use super::ReadError;
use crate::decide::{diff, has_instance, waits};
use crate::model::{Job, JobSpec, State, Update};
use crate::wire;

fn view(state: &State, job: &Job, update: &Update) -> v1::UpdateInfo {
    wire::update_view(job, update, waits(update), state.index)
}

/// An update of a job; number 0: the latest.
///
/// # Errors
/// When there is no such job or update.
pub fn update_status(state: &State, key: &JobKey, number: u32) -> Result<v1::UpdateInfo, ReadError> {
    let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
    let mut kept = job.changes.updates.iter().rev();
    let update = kept.find(|update| number == 0 || update.number == number);
    let update = update.ok_or_else(|| ReadError::NoSuchUpdate { key: key.clone(), number })?;
    Ok(view(state, job, update))
}

/// The number of the job's update under way; 0: none.
pub fn active_update(state: &State, key: &JobKey) -> u32 {
    state.job(key).and_then(|job| job.changes.active()).map_or(0, |update| update.number)
}

/// Updates under way, or every kept one of a job.
///
/// # Errors
/// When there is no such job.
pub fn list_updates(state: &State, role: &str, key: Option<&JobKey>) -> Result<v1::ListUpdatesResponse, ReadError> {
    let updates = match key {
        Some(key) => {
            let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
            job.changes.updates.iter().map(|update| view(state, job, update)).collect()
        }
        None => {
            let jobs = state.updating.iter().filter_map(|id| state.jobs.get(id));
            let jobs = jobs.filter(|job| role.is_empty() || job.key.role() == role);
            jobs.filter_map(|job| Some(view(state, job, job.changes.active()?))).collect()
        }
    };
    Ok(v1::ListUpdatesResponse { updates, index: state.index })
}

/// What going to `spec` would do. A job that is not there, or has ended, is made anew.
pub fn update_diff(state: &State, spec: &JobSpec, instances: &[(u32, u32)]) -> v1::UpdateDiff {
    // invariant: it was made by encoding this message.
    let wanted = v1::JobSpec::decode(&*spec.wire).ok();
    let Some(job) = state.job(&spec.key).filter(|job| job.ended.is_none()) else {
        let added = (0..state.numbered(spec)).filter(|instance| has_instance(state, spec, *instance)).collect();
        let added = wire::instances_to_wire(&added);
        return v1::UpdateDiff { added, wanted, ..Default::default() };
    };
    let diff = diff(state, job, spec, instances);
    v1::UpdateDiff {
        changed: wire::instances_to_wire(&diff.changed),
        added: wire::instances_to_wire(&diff.added),
        removed: wire::instances_to_wire(&diff.removed),
        unchanged: wire::instances_to_wire(&diff.unchanged),
        from_version: job.current().map_or(0, |current| current.version),
        current: state.current_spec(job).and_then(|current| v1::JobSpec::decode(&*current.job.wire).ok()),
        wanted,
    }
}
