//! What the services of clients share: answers from durable state, logs, and what a scheduler says of itself.

use std::pin::Pin;
use std::sync::Arc;

use dawn_proto::TaskId;
use dawn_proto::v1;
use futures_util::Stream;
use tonic::{Response, Status};

use super::loss::words_of_brake;
use super::reads::ReadError;
use super::{ClientService, logs, status, streams};
use crate::drive::Role;
use crate::model::{Alarm, State};
use crate::shares::{Caller, Holder};

pub(super) type Answer<T> = Result<Response<T>, Status>;
pub(super) type LogStream = Pin<Box<dyn Stream<Item = Result<v1::LogChunk, Status>> + Send>>;

/// Why nothing is placed after a restore; empty: it is.
fn waiting(state: &State) -> String {
    let words =
        "the journal was restored or cut: agents are given time to say what they run, until then nothing is placed";
    if state.restores.waiting { words.into() } else { String::new() }
}

impl ClientService {
    /// Answers with what a few entries say, found by their keys.
    pub(super) async fn find<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State) -> Result<T, ReadError> + Send + 'static,
    ) -> Answer<T> {
        self.reader.find(look).await?.map(Response::new).map_err(|error| status::of_read_error(&error))
    }

    /// Answers with what a read of as many entries as `entries` says found, in a turn of the client's.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        client: &tonic::Extensions,
        entries: impl FnOnce(&State) -> usize + Send + 'static,
        look: impl FnOnce(&State) -> Result<T, ReadError> + Send + 'static,
    ) -> Answer<T> {
        let read = self.reader.read(Some(Caller::of(client)), entries, look).await?;
        read.map(Response::new).map_err(|error| status::of_read_error(&error))
    }

    pub(super) async fn log(&self, holder: Holder, request: v1::ReadLogRequest) -> Answer<LogStream> {
        // Only the leader has the agents' links.
        self.only_leader()?;
        let task = TaskId(request.task_id);
        let (agent, host) = self.reader.find(move |state: &State| logs::find(state, task)).await??;
        let place = self.streams.log(agent, holder).map_err(|refused| status::taken(&refused))?;
        let chunks = self.logs.read_log(agent, request).await;
        let chunks = chunks.map_err(|error| status::on_node(&format!("log of {task}"), &host, &error))?;
        let places = place.watch();
        let mut response = Response::new(streams::until_taken_away(chunks, place, host));
        response.extensions_mut().insert(places);
        Ok(response)
    }

    /// Who answers, whether it leads, and what is wrong.
    pub(super) async fn server_info(&self) -> Answer<v1::ServerInfo> {
        let facts = Arc::clone(&self.facts);
        let (leader, leader_address) = match &*self.role.borrow() {
            Role::Leading => (true, facts.address.clone()),
            Role::Following { leader } => (false, leader.clone().unwrap_or_default()),
        };
        let trouble = self.trouble.borrow().clone();
        let live = self.live.borrow().clone();
        let look = move |state: &State| {
            // Nothing is given up, brake or not, until agents were asked what the journal has lost.
            let is_behind = state.restores.behind || live.alarms.contains_key(&Alarm::JournalBehind);
            let brake = if is_behind { String::new() } else { words_of_brake(state, &facts.settings) };
            let own = [trouble, waiting(state), brake].into_iter().filter(|words| !words.is_empty());
            let troubles = own.chain(live.alarms.values().cloned()).collect();
            Ok(v1::ServerInfo {
                version: env!("CARGO_PKG_VERSION").into(),
                cluster_id: state.cluster_id.clone(),
                epoch: state.epoch.0,
                index: state.index,
                leader,
                leader_address,
                journal: facts.journal.into(),
                troubles,
                nodes: u32::try_from(state.agents.len()).unwrap_or(u32::MAX),
                tasks: u32::try_from(state.tasks.len()).unwrap_or(u32::MAX),
            })
        };
        self.find(look).await
    }
}
