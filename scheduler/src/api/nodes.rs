//! The service of nodes: lists, maintenance, and what is lost.

use dawn_proto::AgentId;
use dawn_proto::v1::nodes_server::Nodes;
use dawn_proto::v1::{self, MaintenanceMode};
use tonic::{Request, Response, Status};

use super::command::text;
use super::service::Answer;
use super::{ClientService, reads, status};
use crate::model::{Command, ForgiveCommand, Upkeep, UpkeepCommand, answers};

/// Most agents in one request.
const MAX_AGENTS: usize = 10_000;
/// Longest wait for a start or a deadline: a month.
const MAX_WAIT_MS: u64 = 31 * 86_400_000;

#[tonic::async_trait]
impl Nodes for ClientService {
    async fn list_nodes(&self, request: Request<v1::ListNodesRequest>) -> Answer<v1::ListNodesResponse> {
        let live = self.live.borrow().clone();
        let (_, client, request) = request.into_parts();
        self.read(&client, |state| state.agents.len(), move |state| reads::list_nodes(state, &live, &request)).await
    }

    async fn get_node(&self, request: Request<v1::GetNodeRequest>) -> Answer<v1::NodeStatus> {
        let live = self.live.borrow().clone();
        self.find(move |state| reads::node_status(state, &live, &request.get_ref().agent_id)).await
    }

    async fn set_maintenance(&self, request: Request<v1::SetMaintenanceRequest>) -> Answer<v1::SetMaintenanceResponse> {
        let request = request.into_inner();
        let mode = MaintenanceMode::try_from(request.mode).ok().filter(|mode| *mode != MaintenanceMode::Drained);
        let mode = mode.ok_or_else(|| status::wrong("mode", "none, cordoned, scheduled or draining"))?;
        let agents = agent_ids(&request.agent_ids)?;
        let heed_ms = request.deadline_ms.unwrap_or(Upkeep::HEED_MS);
        if heed_ms.max(request.start_in_ms) > MAX_WAIT_MS {
            return Err(status::wrong("deadline_ms", "deadline and start: at most 31 days"));
        }
        let (author, message) = (text(request.author), text(request.message));
        let command = UpkeepCommand { agents, mode, heed_ms, start_in_ms: request.start_in_ms, author, message };
        let (answers::UpkeepSet, index) = self.ask(Command::Upkeep(command)).await?;
        Ok(Response::new(v1::SetMaintenanceResponse { index }))
    }

    async fn forgive_nodes(&self, request: Request<v1::ForgiveNodesRequest>) -> Answer<v1::ForgiveNodesResponse> {
        let request = request.into_inner();
        let agents = agent_ids(&request.agent_ids)?;
        let command = ForgiveCommand { agents, author: text(request.author), message: text(request.message) };
        let (answers::Forgiven, index) = self.ask(Command::Forgive(command)).await?;
        Ok(Response::new(v1::ForgiveNodesResponse { index }))
    }

    async fn declare_down(&self, request: Request<v1::DeclareDownRequest>) -> Answer<v1::DeclareDownResponse> {
        self.declare_down(request.into_inner()).await
    }

    async fn forget_nodes(&self, request: Request<v1::ForgetNodesRequest>) -> Answer<v1::ForgetNodesResponse> {
        self.forget_nodes(request.into_inner()).await
    }
}

pub(super) fn agent_ids(ids: &[String]) -> Result<Vec<AgentId>, Status> {
    if ids.is_empty() || ids.len() > MAX_AGENTS {
        return Err(status::wrong("agent_ids", format!("give 1 to {MAX_AGENTS}")));
    }
    let id = |id: &String| {
        let shown = || status::wrong("agent_ids", format!("{:?} is no agent id", short(id)));
        AgentId::new(id).ok_or_else(shown)
    };
    ids.iter().map(id).collect()
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
