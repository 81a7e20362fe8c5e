//! What is known of a job's life until now that matters when it goes to a spec: what happened to the same tasks before, and which
//! killed instances it starts again.

use dawn_proto::Timestamp;
use dawn_proto::v1::{UpdateKind, UpdateState};

use crate::decide::{has_instance, target};
use crate::model::{Instances, Job, JobSpec, State, Version};

/// What to tell whoever submits the spec now of a job that goes on.
pub(super) fn notes(state: &State, spec: &JobSpec, now: Timestamp) -> Vec<String> {
    let job = state.job(&spec.key).filter(|job| job.ended.is_none() && spec.kind.runs_for_ever());
    let Some((job, current)) = job.and_then(|job| Some((job, state.current_spec(job)?))) else { return Vec::new() };
    let mut notes = Vec::new();
    if !current.job.same_task(spec) {
        notes.extend(against(state, job, spec, now));
    }
    // Of the same spec the outcome says it.
    if !current.job.same_as(spec) {
        notes.extend(started_again(state, job, spec, now));
    }
    notes
}

/// What speaks against the tasks of the spec: no earlier version with the same ones did well, and what became of the latest.
fn against(state: &State, job: &Job, spec: &JobSpec, now: Timestamp) -> Option<String> {
    let same = |version: &&Version| state.specs.get(&version.spec).is_some_and(|kept| kept.job.same_task(spec));
    let same: Vec<&Version> = job.versions.iter().filter(same).collect();
    let of = |version: &&Version| what_became_of(state, job, version, now);
    let became = same.iter().map(of).collect::<Option<Vec<_>>>()?;
    Some(format!("version {} had the same tasks, and {}", same.last()?.version, became.last()?))
}

/// Why a version is not known to be good; None: it was healthy, and no update to it failed.
fn what_became_of(state: &State, job: &Job, version: &Version, now: Timestamp) -> Option<&'static str> {
    let is_own = |update: &&crate::model::Update| {
        update.kind == UpdateKind::Change && update.to_version == version.version && update.to == version.spec
    };
    let spec = state.specs.get(&version.spec)?;
    match job.changes.updates.iter().rfind(is_own).map(|own| own.state) {
        _ if !state.was_healthy(job, spec, now) => Some("it never was healthy"),
        Some(UpdateState::RolledBack) => Some("the update to it was rolled back"),
        Some(UpdateState::Failed | UpdateState::Error) => Some("the update to it failed"),
        Some(UpdateState::Aborted) => Some("the update to it was aborted"),
        _ => None,
    }
}

/// Killed instances stay stopped until the job gets another version.
fn started_again(state: &State, job: &Job, spec: &JobSpec, now: Timestamp) -> Option<String> {
    if job.stopped.is_empty() {
        return None;
    }
    let to = target(state, job, spec, &[], now);
    let again: Instances = job.stopped.iter().copied().filter(|at| has_instance(state, &to, *at)).collect();
    match again.len() {
        0 => None,
        1 => Some(format!("instance {again}, which was killed, is started again")),
        _ => Some(format!("instances {again}, which were killed, are started again")),
    }
}
