//! The service's methods, each in a line or two.

use std::pin::Pin;
use std::sync::Arc;

use dawn_proto::TaskId;
use dawn_proto::v1;
use dawn_proto::v1::scheduler_server::Scheduler;
use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::loss::words_of_brake;
use super::reads::{self, ReadError};
use super::{ClientService, command, logs, status, streams};
use crate::drive::Role;
use crate::model::{Alarm, State};
use crate::shares::{Caller, Holder};

type Answer<T> = Result<Response<T>, Status>;
type LogStream = Pin<Box<dyn Stream<Item = Result<v1::LogChunk, Status>> + Send>>;

/// Tasks in one look at the state: well under a millisecond.
const TASKS_A_LOOK: usize = 250;

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

    async fn log(&self, holder: Holder, request: v1::ReadLogRequest) -> Answer<LogStream> {
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
}

#[tonic::async_trait]
impl Scheduler for ClientService {
    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<v1::JobStatus, Status>> + Send>>;
    type ReadLogStream = LogStream;

    async fn submit_job(&self, request: Request<v1::SubmitJobRequest>) -> Answer<v1::SubmitJobResponse> {
        self.submit(request.into_inner()).await.map(Response::new)
    }

    async fn submit_jobs(&self, request: Request<v1::SubmitJobsRequest>) -> Answer<v1::SubmitJobsResponse> {
        self.submit_all(request.into_inner()).await.map(Response::new)
    }

    async fn get_last_words(&self, request: Request<v1::GetLastWordsRequest>) -> Answer<v1::GetLastWordsResponse> {
        let holder = Caller::of(request.extensions());
        self.last_words(holder, &request.into_inner().task_ids).await.map(Response::new)
    }

    async fn kill_job(&self, request: Request<v1::KillJobRequest>) -> Answer<v1::KillJobResponse> {
        self.kill(request.into_inner()).await.map(Response::new)
    }

    async fn start_cron(&self, request: Request<v1::StartCronRequest>) -> Answer<v1::StartCronResponse> {
        self.start(request.into_inner()).await.map(Response::new)
    }

    async fn deschedule_cron(&self, request: Request<v1::DescheduleCronRequest>) -> Answer<v1::DescheduleCronResponse> {
        self.deschedule(request.into_inner()).await.map(Response::new)
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        let (_, client, request) = request.into_parts();
        let now = self.live.borrow().now.wall;
        let look = move |state: &State| reads::list_jobs(state, &request, now.max(state.at));
        self.read(&client, |state| state.jobs.len(), look).await
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Answer<v1::JobStatus> {
        let (_, client, request) = request.into_parts();
        let key = command::key(request.key.as_ref())?;
        let entries = reads::tasks_of(&key);
        let now = self.live.borrow().now.wall;
        let look = move |state: &State| reads::job_status_at(state, &key, request.version, now.max(state.at));
        self.read(&client, entries, look).await
    }

    async fn watch_job(&self, request: Request<v1::GetJobRequest>) -> Answer<Self::WatchJobStream> {
        let holder = Caller::of(request.extensions());
        let request = request.into_inner();
        let key = command::key(request.key.as_ref())?;
        let (places, shown) = self.watches.watch(holder, key, request.version).await?;
        let shown = shown.map(|shown| shown.map(|shown| shown.status.clone()));
        let mut response = Response::new(Box::pin(shown) as Self::WatchJobStream);
        response.extensions_mut().insert(places);
        Ok(response)
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksResponse> {
        let (_, client, mut request) = request.into_parts();
        let key = request.job.as_ref().map(|key| command::key(Some(key))).transpose()?;
        // In short looks: the state is applied to between them, and nobody's command waits for a page of thousands.
        let wanted = reads::page_size(request.page_size);
        let mut page = v1::ListTasksResponse::default();
        loop {
            let asked = (wanted - page.tasks.len()).min(TASKS_A_LOOK);
            request.page_size = u32::try_from(asked).unwrap_or(u32::MAX);
            let (key, part) = (key.clone(), request.clone());
            let look = move |state: &State| reads::list_tasks(state, key.as_ref(), &part);
            let part = self.read(&client, move |_| asked, look).await?.into_inner();
            let is_short = part.tasks.len() < asked;
            if page.tasks.is_empty() {
                page.index = part.index;
            }
            page.tasks.extend(part.tasks);
            page.next_page_token.clone_from(&part.next_page_token);
            if is_short || part.next_page_token.is_empty() || page.tasks.len() >= wanted {
                return Ok(Response::new(page));
            }
            request.page_token = part.next_page_token;
        }
    }

    async fn list_endpoints(&self, request: Request<v1::ListEndpointsRequest>) -> Answer<v1::ListEndpointsResponse> {
        let key = command::key(request.get_ref().key.as_ref())?;
        let entries = reads::tasks_of(&key);
        self.read(request.extensions(), entries, move |state| reads::list_endpoints(state, &key)).await
    }

    async fn why(&self, request: Request<v1::WhyRequest>) -> Answer<v1::WhyResponse> {
        let key = command::key(request.get_ref().key.as_ref())?;
        let live = self.live.borrow().clone();
        let facts = Arc::clone(&self.facts);
        let look = move |state: &State| reads::why(state, &live, &facts.place, &facts.settings, &key);
        self.read(request.extensions(), reads::tasks_of_all, look).await
    }

    async fn list_nodes(&self, request: Request<v1::ListNodesRequest>) -> Answer<v1::ListNodesResponse> {
        let live = self.live.borrow().clone();
        let (_, client, request) = request.into_parts();
        self.read(&client, |state| state.agents.len(), move |state| reads::list_nodes(state, &live, &request)).await
    }

    async fn get_node(&self, request: Request<v1::GetNodeRequest>) -> Answer<v1::NodeStatus> {
        let live = self.live.borrow().clone();
        self.find(move |state| reads::node_status(state, &live, &request.get_ref().agent_id)).await
    }

    async fn list_cron(&self, request: Request<v1::ListCronRequest>) -> Answer<v1::ListCronResponse> {
        let (_, client, request) = request.into_parts();
        self.read(&client, |state| state.jobs.len(), move |state| Ok(reads::list_cron(state, &request.role))).await
    }

    async fn read_log(&self, request: Request<v1::ReadLogRequest>) -> Answer<Self::ReadLogStream> {
        let holder = Caller::of(request.extensions());
        self.log(holder, request.into_inner()).await
    }

    async fn set_quota(&self, request: Request<v1::SetQuotaRequest>) -> Answer<v1::QuotaStatus> {
        let holder = Caller::of(request.extensions());
        self.set_quota(holder, request.into_inner()).await.map(Response::new)
    }

    async fn get_quota(&self, request: Request<v1::GetQuotaRequest>) -> Answer<v1::QuotaStatus> {
        let (_, client, v1::GetQuotaRequest { role }) = request.into_parts();
        command::check_role(&role)?;
        self.read(&client, reads::tasks_of_all, move |state| Ok(reads::quota_status(state, &role))).await
    }

    async fn list_quota(&self, request: Request<v1::ListQuotaRequest>) -> Answer<v1::ListQuotaResponse> {
        let look = |state: &State| Ok(reads::list_quotas(state));
        self.read(request.extensions(), reads::tasks_of_all, look).await
    }

    async fn get_server_info(&self, _: Request<v1::GetServerInfoRequest>) -> Answer<v1::ServerInfo> {
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
