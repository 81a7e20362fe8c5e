//! Where a job's healthy tasks listen: what service discovery asks for.

use std::collections::BTreeMap;

use dawn_proto::v1::{self, TaskState};
use dawn_proto::{JobKey, SpecId};
use prost::Message;

use super::ReadError;
use crate::model::State;
use crate::wire;

/// Tasks of the job that are RUNNING, in the order of their instances; several of one instance while an update surges.
///
/// # Errors
/// When there is no such job.
pub fn list_endpoints(state: &State, key: &JobKey) -> Result<v1::ListEndpointsResponse, ReadError> {
    let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
    // Versions may announce differently; what differs in nothing else holds for tasks of earlier ones too.
    let current = state.current_spec(job);
    let mut announced: BTreeMap<SpecId, v1::Announce> = BTreeMap::new();
    let mut endpoints = Vec::new();
    for task in state.living(job).filter(|task| task.state() == TaskState::Running) {
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
