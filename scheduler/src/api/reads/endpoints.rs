//! Where a job's healthy tasks listen: what service discovery asks for.

use std::collections::BTreeMap;

use dawn_proto::v1::{self, TaskState, UpdateStrategy};
use dawn_proto::{JobKey, SpecId};
use prost::Message;

use super::ReadError;
use crate::decide::{is_surplus, is_switched};
use crate::model::{Job, State, Task, Update};
use crate::wire;

/// Tasks of the job that are RUNNING, in the order of their instances; several of one instance while an update surges. The new
/// set of a blue/green update is not among them before it takes the place of the old one.
///
/// # Errors
/// When there is no such job.
pub fn list_endpoints(state: &State, key: &JobKey) -> Result<v1::ListEndpointsResponse, ReadError> {
    let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
    // Versions may announce differently; what differs in nothing else holds for tasks of earlier ones too.
    let current = state.current_spec(job);
    let mut announced: BTreeMap<SpecId, v1::Announce> = BTreeMap::new();
    let mut endpoints = Vec::new();
    let hidden = not_yet_promoted(state, job);
    let is_left_over = |task: &Task| {
        let wanted = state.wanted_spec(job, task.instance).map(|spec| &**spec);
        job.changes.active().is_none() && is_surplus(state, job, task, wanted)
    };
    let is_listed = |task: &&Task| task.state() == TaskState::Running && !hidden(task) && !is_left_over(task);
    for task in state.living(job).filter(is_listed) {
        let own = state.spec_of(task);
        let spec = current.filter(|current| current.job.same_task(&own.job)).unwrap_or(own);
        let announce = announced.entry(spec.id).or_insert_with(|| {
            // invariant: it was made by encoding this message.
            v1::JobSpec::decode(&*spec.job.wire).ok().and_then(|spec| spec.announce).unwrap_or_default()
        });
        endpoints.push(endpoint(wire::task_view(state, task), announce));
    }
    endpoints.sort_by_key(|endpoint| (endpoint.instance, endpoint.task_id));
    Ok(v1::ListEndpointsResponse { endpoints, index: state.index })
}

/// Whether a task is of a new set that nobody is sent to yet: it waits to be promoted or, where nobody is asked, for the whole
/// of it to be healthy, when the old set begins to go.
fn not_yet_promoted<'a>(state: &'a State, job: &'a Job) -> impl Fn(&Task) -> bool + 'a {
    let update = job.changes.active().filter(|update| update.policy.strategy == UpdateStrategy::BlueGreen);
    let is_new = |update: &Update, task: &Task| task.spec == update.to && task.id >= update.first_task;
    let update = update.filter(|update| !is_switched(state, job, update));
    // Where nothing else is, nothing is hidden behind it.
    let update = update.filter(|update| state.living(job).any(|task| !is_new(update, task)));
    move |task| update.is_some_and(|update| is_new(update, task))
}

fn endpoint(task: v1::Task, announce: &v1::Announce) -> v1::Endpoint {
    let mut ports: BTreeMap<String, u32> = task.ports.iter().map(|port| (port.name.clone(), port.port)).collect();
    let primary = match (announce.primary_port.as_str(), task.ports.as_slice()) {
        ("", [only]) => only.port,
        ("", _) => 0,
        (name, _) => ports.get(name).copied().unwrap_or(0),
    };
    for (alias, name) in &announce.aliases {
        if let Some(number) = ports.get(name).copied() {
            ports.insert(alias.clone(), number);
        }
    }
    v1::Endpoint {
        task_id: task.id,
        instance: task.instance,
        version: task.version,
        hostname: task.hostname,
        port: primary,
        ports,
        agent_id: task.agent_id,
    }
}
