//! The service of maintenance: machines out of use and back, and what is left of jobs.

use dawn_proto::AgentId;
use dawn_proto::v1::maintenance_server::Maintenance;
use dawn_proto::v1::{self, MaintenanceMode};
use tonic::{Request, Response, Status};

use super::command::{key, text};
use super::status;
use super::{ClientService, reads};
use crate::model::{Command, ForgiveCommand, State, Upkeep, UpkeepCommand, answers};

pub(super) type Answered<T> = Result<Response<T>, Status>;

/// Most agents in one request.
const MAX_AGENTS: usize = 10_000;
/// Longest wait for a start or a deadline: a month.
const MAX_WAIT_MS: u64 = 31 * 86_400_000;

#[tonic::async_trait]
impl Maintenance for ClientService {
    async fn set_maintenance(
        &self,
        request: Request<v1::SetMaintenanceRequest>,
    ) -> Answered<v1::SetMaintenanceResponse> {
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

    async fn forgive_nodes(&self, request: Request<v1::ForgiveNodesRequest>) -> Answered<v1::ForgiveNodesResponse> {
        let request = request.into_inner();
        let agents = agent_ids(&request.agent_ids)?;
        let command = ForgiveCommand { agents, author: text(request.author), message: text(request.message) };
        let (answers::Forgiven, index) = self.ask(Command::Forgive(command)).await?;
        Ok(Response::new(v1::ForgiveNodesResponse { index }))
    }

    async fn declare_down(&self, request: Request<v1::DeclareDownRequest>) -> Answered<v1::DeclareDownResponse> {
        self.declare_down(request.into_inner()).await
    }

    async fn forget_nodes(&self, request: Request<v1::ForgetNodesRequest>) -> Answered<v1::ForgetNodesResponse> {
        self.forget_nodes(request.into_inner()).await
    }

    async fn raise_epoch(&self, _: Request<v1::RaiseEpochRequest>) -> Answered<v1::RaiseEpochResponse> {
        let (answers::EpochRaised { epoch, agents }, index) = self.ask(Command::RaiseEpoch).await?;
        Ok(Response::new(v1::RaiseEpochResponse { index, epoch: epoch.0, agents }))
    }

    async fn get_sla(&self, request: Request<v1::GetSlaRequest>) -> Answered<v1::SlaReport> {
        let (_, client, request) = request.into_parts();
        let key = request.key.as_ref().map(|wire_key| key(Some(wire_key))).transpose()?;
        let now = self.live.borrow().now.wall;
        let look = move |state: &State| reads::sla_report(state, key.as_ref(), &request.role, request.window_ms, now);
        self.read(&client, reads::tasks_of_all, look).await
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
