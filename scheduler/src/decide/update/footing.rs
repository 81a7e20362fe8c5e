//! Whether a job that is to go to another version has a version that worked, to which it could go back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dawn_proto::v1::{UpdateKind, UpdateState};
use dawn_proto::{SpecId, Timestamp};

use crate::model::{Job, Spec, State, Update};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footing {
    /// Something that the job runs, or goes back to, was healthy once.
    Good,
    /// Nothing of that came through its own update, and not all of it is healthy now.
    Failed,
    /// Nothing of that ever was healthy.
    Never,
}

pub(super) fn footing(state: &State, job: &Job, now: Timestamp) -> Footing {
    let specs = specs(job).into_iter().filter_map(|id| state.specs.get(&id));
    let worked: Vec<&Spec> = specs.map(|spec| &**spec).filter(|spec| state.was_healthy(job, spec, now)).collect();
    if job.ended.is_some() || job.current().is_none() {
        Footing::Good
    } else if worked.is_empty() {
        Footing::Never
    } else if worked.iter().all(|spec| has_failed(job, spec)) && !is_whole(state, job, now) {
        Footing::Failed
    } else {
        Footing::Good
    }
}

/// All that instances want, and what an update under way may bring back.
fn specs(job: &Job) -> BTreeSet<SpecId> {
    let current = job.current().map(|current| current.spec);
    let pinned = job.changes.pins.values().flatten().copied();
    let active = job.changes.active();
    let before = active.into_iter().flat_map(|update| update.before.iter().filter_map(|(_, _, spec)| *spec));
    current.into_iter().chain(pinned).chain(before).chain(active.map(|update| update.to)).collect()
}

/// Whether the update that brought a version failed, and left it.
fn has_failed(job: &Job, spec: &Spec) -> bool {
    let is_own = |update: &&crate::model::Update| {
        update.kind == UpdateKind::Change && update.to_version == spec.version && update.to == spec.id
    };
    job.changes.updates.iter().rfind(is_own).is_some_and(|own| own.state == UpdateState::Failed)
}

/// Whether every instance that is wanted is healthy.
fn is_whole(state: &State, job: &Job, now: Timestamp) -> bool {
    let healthy: BTreeSet<u32> =
        state.living(job).filter(|task| state.is_healthy(task, now)).map(|task| task.instance).collect();
    (0..state.wanted_bound(job)).all(|at| state.wanted_spec(job, at).is_none() || healthy.contains(&at))
}

/// Why there is nothing to go back to, for people; None: there is.
pub(super) fn why_not_back(state: &State, job: &Job, from_version: u32, now: Timestamp) -> Option<String> {
    let spec = job.version(from_version).and_then(|version| state.specs.get(&version.spec))?;
    if !state.was_healthy(job, spec, now) {
        return Some(never_healthy(from_version));
    }
    has_failed(job, spec)
        .then(|| format!("the update to version {from_version} failed too, so there is nothing to go back to"))
}

/// To what an operator has an update go back, and what is known against that.
pub(super) fn back_to(state: &State, job: &Job, update: &Update, now: Timestamp) -> String {
    let before = update.before.iter().filter_map(|(_, _, spec)| state.specs.get(spec.as_ref()?));
    let before: BTreeMap<u32, &Arc<Spec>> = before.map(|spec| (spec.version, spec)).collect();
    let against = |spec: &Spec| match spec {
        spec if !state.was_healthy(job, spec, now) => Some("never was healthy"),
        spec if has_failed(job, spec) => Some("has failed before"),
        _ => None,
    };
    let known = before.iter().filter_map(|(version, spec)| Some((version, against(spec)?)));
    let known: Vec<_> = known.map(|(version, what)| format!("version {version} {what}")).collect();
    let versions: Vec<_> = before.keys().map(u32::to_string).collect();
    let versions = match versions.len() {
        0 => format!("version {}", update.from_version),
        1 => format!("version {}", versions[0]),
        _ => format!("versions {}", versions.join(", ")),
    };
    [vec![format!("goes back to {versions}")], known].concat().join("; ")
}

/// For people.
pub fn never_healthy(version: u32) -> String {
    format!("version {version} never was healthy, so there is nothing to go back to")
}
