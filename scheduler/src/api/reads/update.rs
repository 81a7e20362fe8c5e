//! Updates: under way, ended, and what one would do.

use dawn_proto::v1;
use dawn_proto::{JobKey, TaskState, Timestamp};
use prost::Message;

use super::ReadError;
use crate::decide::place::{self, Explained, PlaceSettings};
use crate::decide::{brake, cause_of, diff, has_instance, held_by_sla, never_healthy, target, waits};
use crate::drive::LiveView;
use crate::model::{Job, JobSpec, Settings, Spec, State, Task, Update};
use crate::wire;

fn view(state: &State, job: &Job, update: &Update, now: Timestamp) -> v1::UpdateInfo {
    wire::update_view(job, update, waits(state, job, update, now), state.index)
}

/// How many tasks a look at a job's update goes through: what it waits for is told by placement.
pub fn tasks_of_update(key: &JobKey) -> impl FnOnce(&State) -> usize + Send + 'static {
    let key = key.clone();
    move |state| if active_update(state, &key) > 0 { state.tasks.len() } else { 1 }
}

/// Why an instance that the update waits for is not healthy: it is pending, was left as it is, or failed.
fn cause(state: &State, live: &LiveView, settings: &PlaceSettings, job: &Job, update: &Update) -> Option<String> {
    if !update.is_rolling() || held_by_sla(state, job, live.now.wall).is_some() {
        return None;
    }
    let connected = |agent| live.is_connected(agent);
    let newest = |at: u32| state.tasks_of(job.id).newest(Default::default(), at).and_then(|id| state.tasks.get(&id));
    let is_pending = |at: &u32| newest(*at).is_some_and(|task| task.state() == TaskState::Pending);
    if update.in_progress().any(|at| is_pending(&at)) {
        let classes = place::explain(state, settings, &connected, job.id, live.now);
        let pending = classes.into_iter().filter(|class| class.state == TaskState::Pending);
        let of_update = |class: &Explained| class.instances.iter().find(|at| update.is_in_progress(**at)).copied();
        let found = pending.filter_map(|class| Some((of_update(&class)?, class))).next();
        return found.map(|(instance, class)| format!("instance {instance} is pending: {class}"));
    }
    let kept = place::stays_up(state, settings, &connected, job.id, live.now).map(|class| class.to_string());
    let is_down = |at: &u32| newest(*at).is_some_and(|task| task.state() != TaskState::Running);
    kept.or_else(|| update.in_progress().filter(is_down).find_map(|at| cause_of(state, job, at)))
}

/// The brake, where an instance that the update waits for is on a node that is out of reach.
fn held_by_brake(state: &State, cluster: &Settings, job: &Job, update: &Update) -> Option<String> {
    let is_away = |task: &Task| task.state() == TaskState::Partitioned && update.is_in_progress(task.instance);
    let is_held = update.is_rolling() && state.living(job).any(is_away);
    brake(state, cluster).filter(|_| is_held).map(|brake| brake.to_string())
}

/// An update of a job; number 0: the latest.
///
/// # Errors
/// When there is no such job or update.
pub fn update_status(
    state: &State,
    live: &LiveView,
    settings: &PlaceSettings,
    cluster: &Settings,
    key: &JobKey,
    number: u32,
) -> Result<v1::UpdateInfo, ReadError> {
    let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
    let mut kept = job.changes.updates.iter().rev();
    let update = kept.find(|update| number == 0 || update.number == number);
    let update = update.ok_or_else(|| ReadError::NoSuchUpdate { key: key.clone(), number })?;
    let mut info = view(state, job, update, live.now.wall);
    let cause = cause(state, live, settings, job, update);
    for cause in cause.into_iter().chain(held_by_brake(state, cluster, job, update)) {
        info.waits += &format!("; {cause}");
    }
    Ok(info)
}

/// The number of the job's update under way; 0: none.
pub fn active_update(state: &State, key: &JobKey) -> u32 {
    state.job(key).and_then(|job| job.changes.active()).map_or(0, |update| update.number)
}

/// Why a version of a job took the place of the one before without an update; None: it did not.
pub fn why_replaced(state: &State, key: &JobKey, version: u32) -> Option<String> {
    let job = state.job(key)?;
    let replaces = job.version(version).is_some_and(|own| own.replaces);
    let before = job.versions.iter().map(|kept| kept.version).rfind(|kept| *kept < version).filter(|_| replaces)?;
    Some(format!("{}; version {version} replaces it everywhere at once", never_healthy(before)))
}

/// Updates under way, or every kept one of a job.
///
/// # Errors
/// When there is no such job.
pub fn list_updates(state: &State, role: &str, key: Option<&JobKey>) -> Result<v1::ListUpdatesResponse, ReadError> {
    let updates = match key {
        Some(key) => {
            let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
            job.changes.updates.iter().map(|update| view(state, job, update, state.at)).collect()
        }
        None => {
            let jobs = state.indexes().updating.iter().filter_map(|id| state.jobs.get(id));
            let jobs = jobs.filter(|job| role.is_empty() || job.key.role() == role);
            jobs.filter_map(|job| Some(view(state, job, job.changes.active()?, state.at))).collect()
        }
    };
    Ok(v1::ListUpdatesResponse { updates, index: state.index })
}

/// What going to `spec` would do. A job that is not there, or has ended, is made anew.
pub fn update_diff(state: &State, spec: &JobSpec, instances: &[(u32, u32)], now: Timestamp) -> v1::UpdateDiff {
    // invariant: it was made by encoding this message.
    let wanted = v1::JobSpec::decode(&*spec.wire).ok();
    let Some(job) = state.job(&spec.key).filter(|job| job.ended.is_none()) else {
        let first = Spec::new(state.next_spec, 1, spec.clone());
        let added = (0..state.numbered(&first)).filter(|instance| has_instance(state, &first, *instance)).collect();
        let added = wire::instances_to_wire(&added);
        return v1::UpdateDiff { added, wanted, ..Default::default() };
    };
    let diff = diff(state, job, &target(state, job, spec, instances, now), instances);
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
