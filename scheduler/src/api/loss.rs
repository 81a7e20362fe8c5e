//! Nodes that are lost for good, and the brake: what operators ask for, and how it is answered.

use dawn_proto::v1;
use tonic::Response;

use super::command::text;
use super::nodes::agent_ids;
use super::service::Answer;
use super::status;
use super::{ClientService, reads};
use crate::decide::brake;
use crate::model::{BrakeRelease, Command, LossCommand, Replaced, Settings, State, answers};

/// What people must know of the brake: it is on, or released; empty: neither.
pub(super) fn words_of_brake(state: &State, settings: &Settings) -> String {
    match &state.brake_release {
        None => brake(state, settings).map(|brake| brake.to_string()).unwrap_or_default(),
        Some(BrakeRelease { until, by, .. }) => {
            let until = reads::instant(*until);
            format!(
                "the brake is released by {by} until {until}: tasks of silent nodes are replaced, however many are silent"
            )
        }
    }
}

fn replaced(replaced: Replaced) -> v1::ReplacedTasks {
    let Replaced { tasks, waiting, wait_ms } = replaced;
    v1::ReplacedTasks { tasks, waiting, wait_ms }
}

impl ClientService {
    pub(super) async fn declare_down(&self, request: v1::DeclareDownRequest) -> Answer<v1::DeclareDownResponse> {
        let (agents, author) = (agent_ids(&request.agent_ids)?, text(request.author));
        let command = LossCommand::DeclareDown { agents, author, is_preview: request.preview };
        let (answers::Declared(tasks), index) = self.ask(Command::Loss(command)).await?;
        Ok(Response::new(v1::DeclareDownResponse { replaced: Some(replaced(tasks)), index }))
    }

    pub(super) async fn forget_nodes(&self, request: v1::ForgetNodesRequest) -> Answer<v1::ForgetNodesResponse> {
        let agents = agent_ids(&request.agent_ids)?;
        let (answers::Forgotten, index) = self.ask(Command::Loss(LossCommand::Forget { agents })).await?;
        Ok(Response::new(v1::ForgetNodesResponse { index }))
    }

    pub(super) async fn release_brake(&self, request: v1::ReleaseBrakeRequest) -> Answer<v1::ReleaseBrakeResponse> {
        let (for_ms, author) = (request.for_ms, text(request.author));
        let (least, most) = (BrakeRelease::MIN_MS, BrakeRelease::MAX_MS);
        if !(least..=most).contains(&for_ms) {
            let [given, least, most] = [for_ms, least, most].map(dawn_proto::amounts::duration);
            let message = format!("the brake is released for between {least} and {most}, not for {given}");
            return Err(status::wrong("for_ms", message));
        }
        let command = LossCommand::ReleaseBrake { for_ms, author, is_preview: request.preview };
        let (answers::Released { replaced: tasks, until }, index) = self.ask(Command::Loss(command)).await?;
        let (replaced, until_ms) = (Some(replaced(tasks)), until.0);
        Ok(Response::new(v1::ReleaseBrakeResponse { replaced, until_ms, index }))
    }
}
