//! Tasks: by job, by instance, by agent.

use std::ops::Bound;

use dawn_proto::v1;
use dawn_proto::{AgentId, JobKey, TaskId};

use super::{ReadError, page};
use crate::model::{State, Task};
use crate::wire;

/// A page of tasks, oldest first. `job` is the request's key, read.
///
/// # Errors
/// When the job or agent is not there, or the page token is none.
pub fn list_tasks(
    state: &State,
    job: Option<&JobKey>,
    request: &v1::ListTasksRequest,
) -> Result<v1::ListTasksResponse, ReadError> {
    let after = match request.page_token.as_str() {
        "" => Bound::Unbounded,
        token => Bound::Excluded(token.parse::<TaskId>().map_err(|_| page::bad_token(token))?),
    };
    let range = (after, Bound::Unbounded);
    let agent = match request.agent_id.as_str() {
        "" => None,
        id => {
            let agent = AgentId::new(id).and_then(|id| state.agent(&id));
            Some(agent.ok_or_else(|| ReadError::NoSuchAgent(id.into()))?.no)
        }
    };
    let in_ranges = |instance: u32| {
        request.instances.is_empty()
            || request.instances.iter().any(|range| (range.first..=range.last).contains(&instance))
    };
    let keep = |id: &TaskId| {
        let task: &Task = state.tasks.get(id)?;
        let place = task.status.place().map(|place| place.agent);
        let wanted = in_ranges(task.instance)
            && (request.all || !task.state().is_terminal())
            && (agent.is_none() || place == agent);
        wanted.then(|| wire::task_view(state, task))
    };
    let token = |id: &TaskId| id.to_string();
    let (tasks, next_page_token) = match (job, agent) {
        (Some(key), _) => {
            let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
            page::take(state.tasks_of(job.id).ids.range(range), request.page_size, keep, token)
        }
        (None, Some(agent)) if !request.all => {
            let held = state.indexes().tasks_on.get(&agent).into_iter().flat_map(|tasks| tasks.range(range));
            page::take(held, request.page_size, keep, token)
        }
        _ => page::take(state.tasks.range(range).map(|(id, _)| id), request.page_size, keep, token),
    };
    Ok(v1::ListTasksResponse { tasks, next_page_token, index: state.index })
}
