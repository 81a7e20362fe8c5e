//! Agents, as users see them: nodes.

use std::ops::Bound;

use dawn_proto::AgentId;
use dawn_proto::v1;
use dawn_proto::v1::MaintenanceMode;

use super::{ReadError, page};
use crate::decide::{Heed, heed};
use crate::drive::LiveView;
use crate::model::{Agent, State};
use crate::wire;

/// A page of nodes in the order of their ids.
///
/// # Errors
/// When the page token is none.
pub fn list_nodes(
    state: &State,
    live: &LiveView,
    request: &v1::ListNodesRequest,
) -> Result<v1::ListNodesResponse, ReadError> {
    let after = match request.page_token.as_str() {
        "" => Bound::Unbounded,
        token => Bound::Excluded(AgentId::new(token).ok_or_else(|| page::bad_token(token))?),
    };
    let ids = state.indexes().agent_by_id.range((after, Bound::Unbounded));
    let keep = |(_, no)| state.agents.get(no).map(|agent| wire::node_view(state, agent, live.heard(agent.no)));
    let (nodes, next_page_token) = page::take(ids, request.page_size, keep, |(id, _)| id.to_string());
    Ok(v1::ListNodesResponse { nodes, next_page_token, index: state.index })
}

/// A node with the tasks that hold its resources.
///
/// # Errors
/// When there is none of that id.
pub fn node_status(state: &State, live: &LiveView, id: &str) -> Result<v1::NodeStatus, ReadError> {
    let agent = AgentId::new(id).and_then(|id| state.agent(&id));
    let agent = agent.ok_or_else(|| ReadError::NoSuchAgent(id.chars().take(80).collect()))?;
    let held = state.indexes().tasks_on.get(&agent.no).into_iter().flatten().filter_map(|id| state.tasks.get(id));
    Ok(v1::NodeStatus {
        node: Some(with_waits(state, agent, wire::node_view(state, agent, live.heard(agent.no)), live)),
        tasks: held.map(|task| wire::task_view(state, task)).collect(),
        index: state.index,
    })
}

/// Most tasks whose wait is said.
const WAITS: usize = 20;

/// While the node drains: why tasks are still there.
fn with_waits(state: &State, agent: &Agent, mut node: v1::Node, live: &LiveView) -> v1::Node {
    let draining = agent.upkeep.as_ref().is_some_and(|upkeep| upkeep.mode == MaintenanceMode::Draining);
    let Some(maintenance) = node.maintenance.as_mut().filter(|_| draining) else { return node };
    let held = state.indexes().tasks_on.get(&agent.no).into_iter().flatten().filter_map(|id| state.tasks.get(id));
    for task in held.take(WAITS) {
        let Some(job) = state.jobs.get(&task.job) else { continue };
        let instance = format!("{}/{}", job.key, task.instance);
        maintenance.waits.push(match heed(state, job, task, live.now.wall) {
            _ if task.state().is_stopping() => format!("{instance} is being stopped"),
            Heed::Permits => format!("{instance} is next"),
            Heed::Forbids(why) => format!("{instance} may not be stopped: {why}"),
            Heed::Asks { url, .. } => format!("{instance} waits for its coordinator {url}"),
        });
    }
    node
}
