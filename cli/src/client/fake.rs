//! A scheduler that answers as a test tells it to, on a port of loopback, and remembers what it was asked.

mod updates;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dawn_proto::errors::RefusedRequest;
use dawn_proto::v1::admin_server::{Admin, AdminServer};
use dawn_proto::v1::cron_server::{Cron, CronServer};
use dawn_proto::v1::jobs_server::{Jobs, JobsServer};
use dawn_proto::v1::nodes_server::{Nodes, NodesServer};
use dawn_proto::v1::quotas_server::{Quotas, QuotasServer};
use dawn_proto::v1::tasks_server::{Tasks, TasksServer};
use dawn_proto::v1::updates_server::UpdatesServer;
use dawn_proto::v1::*;
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status};

use crate::args::Context;
use crate::client::Scheduler;
use crate::render::Out;

type Answers<T> = Mutex<VecDeque<Result<T, Status>>>;

/// What it will answer, in order; the last answer to a read is given again and again.
#[derive(Default)]
pub struct Script {
    pub submit: Answers<SubmitJobResponse>,
    pub kill: Answers<KillJobResponse>,
    pub jobs: Answers<ListJobsResponse>,
    pub job: Answers<JobStatus>,
    pub watch: Answers<Vec<JobStatus>>,
    /// For some jobs by their keys, each time the same.
    pub watch_of: std::collections::BTreeMap<String, Vec<JobStatus>>,
    pub tasks: Answers<ListTasksResponse>,
    pub endpoints: Answers<ListEndpointsResponse>,
    pub why: Answers<WhyResponse>,
    pub nodes: Answers<ListNodesResponse>,
    pub node: Answers<NodeStatus>,
    pub start_cron: Answers<StartCronResponse>,
    pub cron: Answers<ListCronResponse>,
    pub quota: Answers<QuotaStatus>,
    pub log: Answers<Vec<LogChunk>>,
    pub last_words: Answers<GetLastWordsResponse>,
    pub info: Answers<ServerInfo>,
    pub start_update: Answers<StartUpdateResponse>,
    pub scale: Answers<ScaleJobResponse>,
    pub update: Answers<UpdateInfo>,
    /// Names of the calls, and what matters of them.
    pub asked: Mutex<Vec<String>>,
    pub submitted: Mutex<Vec<JobSpec>>,
    /// Answers nothing for ever.
    pub silent: bool,
}

pub fn answers<T>(answers: impl IntoIterator<Item = Result<T, Status>>) -> Answers<T> {
    Mutex::new(answers.into_iter().collect())
}

/// A refusal that names who leads.
pub fn not_leader(leader: &str) -> Status {
    RefusedRequest::new(ErrorReason::NotLeader, "not the leader").with("leader", leader).into()
}

pub struct Fake {
    pub address: SocketAddr,
    pub script: Arc<Script>,
}

impl Fake {
    pub async fn start(script: Script) -> Fake {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(script);
        let server = tonic::transport::Server::builder()
            .add_service(JobsServer::from_arc(script.clone()))
            .add_service(TasksServer::from_arc(script.clone()))
            .add_service(CronServer::from_arc(script.clone()))
            .add_service(NodesServer::from_arc(script.clone()))
            .add_service(QuotasServer::from_arc(script.clone()))
            .add_service(UpdatesServer::from_arc(script.clone()))
            .add_service(AdminServer::from_arc(script.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Fake { address, script }
    }

    pub fn asked(&self) -> Vec<String> {
        self.script.asked.lock().unwrap().clone()
    }

    /// A context that asks this scheduler, and what it will have printed.
    pub fn context(&self, json: bool) -> (Context, Arc<Mutex<Vec<u8>>>) {
        context(&[self.address.to_string()], json)
    }
}

pub fn context(addresses: &[String], json: bool) -> (Context, Arc<Mutex<Vec<u8>>>) {
    let (out, memory) = Out::memory(json);
    let scheduler = Scheduler::new(addresses.to_vec(), Duration::from_secs(2));
    (Context { scheduler, out, timeout: None }, memory)
}

pub fn text(memory: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(memory.lock().unwrap().clone()).unwrap()
}

impl Script {
    async fn next<T: Clone>(&self, asked: &str, answers: &Answers<T>) -> Result<Response<T>, Status> {
        self.asked.lock().unwrap().push(asked.to_string());
        if self.silent {
            std::future::pending::<()>().await;
        }
        let mut answers = answers.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        next.unwrap_or_else(|| Err(Status::unimplemented(format!("no answer to {asked}")))).map(Response::new)
    }

    async fn stream<T: Clone + Send + 'static>(
        &self,
        asked: &str,
        answers: &Answers<Vec<T>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>>, Status> {
        let items = self.next(asked, answers).await?.into_inner();
        Ok(Response::new(Box::pin(tokio_stream::iter(items).map(Ok))))
    }
}

fn key(key: Option<&JobKey>) -> String {
    crate::render::key(key)
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What no test asks.
fn unanswered<T>(rpc: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!("no answer to {rpc}")))
}

#[tonic::async_trait]
impl Jobs for Script {
    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<JobStatus, Status>> + Send>>;
    type PlanJobsStream = Streamed<JobPlan>;

    async fn submit_job(&self, request: Request<SubmitJobRequest>) -> Result<Response<SubmitJobResponse>, Status> {
        let spec = request.into_inner().spec.unwrap_or_default();
        let asked = format!("submit {}", key(spec.key.as_ref()));
        self.submitted.lock().unwrap().push(spec);
        self.next(&asked, &self.submit).await
    }

    async fn submit_jobs(&self, request: Request<SubmitJobsRequest>) -> Result<Response<SubmitJobsResponse>, Status> {
        let mut jobs = Vec::new();
        for spec in request.into_inner().specs {
            let asked = format!("submit {}", key(spec.key.as_ref()));
            self.submitted.lock().unwrap().push(spec);
            jobs.push(self.next(&asked, &self.submit).await?.into_inner());
        }
        let index = jobs.iter().map(|job| job.index).max().unwrap_or(0);
        Ok(Response::new(SubmitJobsResponse { jobs, index }))
    }

    async fn plan_jobs(&self, _: Request<PlanJobsRequest>) -> Result<Response<Self::PlanJobsStream>, Status> {
        unanswered("plan_jobs")
    }

    async fn dispatch_job(&self, _: Request<DispatchJobRequest>) -> Result<Response<DispatchJobResponse>, Status> {
        unanswered("dispatch_job")
    }

    async fn kill_job(&self, request: Request<KillJobRequest>) -> Result<Response<KillJobResponse>, Status> {
        let request = request.into_inner();
        let ranges: Vec<String> =
            request.instances.iter().map(|range| format!(" {}-{}", range.first, range.last)).collect();
        self.next(&format!("kill {}{}", key(request.key.as_ref()), ranges.concat()), &self.kill).await
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let request = request.into_inner();
        self.next(&format!("jobs {}/{} {}", request.role, request.env, request.page_token), &self.jobs).await
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<JobStatus>, Status> {
        self.next(&format!("job {}", key(request.into_inner().key.as_ref())), &self.job).await
    }

    async fn watch_job(&self, request: Request<GetJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let key = key(request.into_inner().key.as_ref());
        let answers = self.watch_of.get(&key).map(|states| answers([Ok(states.clone())]));
        self.stream(&format!("watch {key}"), answers.as_ref().unwrap_or(&self.watch)).await
    }

    async fn list_endpoints(
        &self,
        request: Request<ListEndpointsRequest>,
    ) -> Result<Response<ListEndpointsResponse>, Status> {
        self.next(&format!("endpoints {}", key(request.into_inner().key.as_ref())), &self.endpoints).await
    }

    async fn why(&self, _: Request<WhyRequest>) -> Result<Response<WhyResponse>, Status> {
        self.next("why", &self.why).await
    }

    async fn get_sla(&self, _: Request<GetSlaRequest>) -> Result<Response<SlaReport>, Status> {
        unanswered("get_sla")
    }
}

#[tonic::async_trait]
impl Tasks for Script {
    type ReadLogStream = Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send>>;

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let request = request.into_inner();
        self.next(&format!("tasks {} all={}", key(request.job.as_ref()), request.all), &self.tasks).await
    }

    async fn read_log(&self, request: Request<ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        let asked = request.into_inner();
        let stream = match (asked.both, asked.stderr) {
            (true, _) => "both",
            (false, true) => "stderr",
            (false, false) => "stdout",
        };
        let mut from = String::new();
        for (name, value) in [("from", asked.offset), ("err", asked.stderr_offset), ("tail", asked.tail_lines)] {
            from += &value.map_or_else(String::new, |value| format!(" {name} {value}"));
        }
        let follow = if asked.follow { " follow" } else { "" };
        self.stream(&format!("log t{} {}:{stream}{from}{follow}", asked.task_id, asked.process), &self.log).await
    }

    async fn get_last_words(
        &self,
        request: Request<GetLastWordsRequest>,
    ) -> Result<Response<GetLastWordsResponse>, Status> {
        self.next(&format!("last words {:?}", request.into_inner().task_ids), &self.last_words).await
    }
}

#[tonic::async_trait]
impl Cron for Script {
    async fn start_cron(&self, _: Request<StartCronRequest>) -> Result<Response<StartCronResponse>, Status> {
        self.next("start cron", &self.start_cron).await
    }

    async fn deschedule_cron(
        &self,
        _: Request<DescheduleCronRequest>,
    ) -> Result<Response<DescheduleCronResponse>, Status> {
        Err(Status::failed_precondition("www/prod/web is no cron job"))
    }

    async fn pause_cron(&self, _: Request<PauseCronRequest>) -> Result<Response<PauseCronResponse>, Status> {
        unanswered("pause_cron")
    }

    async fn resume_cron(&self, _: Request<ResumeCronRequest>) -> Result<Response<ResumeCronResponse>, Status> {
        unanswered("resume_cron")
    }

    async fn list_cron(&self, _: Request<ListCronRequest>) -> Result<Response<ListCronResponse>, Status> {
        self.next("cron", &self.cron).await
    }
}

#[tonic::async_trait]
impl Nodes for Script {
    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        self.next("nodes", &self.nodes).await
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Result<Response<NodeStatus>, Status> {
        self.next(&format!("node {}", request.into_inner().agent_id), &self.node).await
    }

    async fn set_maintenance(
        &self,
        _: Request<SetMaintenanceRequest>,
    ) -> Result<Response<SetMaintenanceResponse>, Status> {
        unanswered("set_maintenance")
    }

    async fn forgive_nodes(&self, _: Request<ForgiveNodesRequest>) -> Result<Response<ForgiveNodesResponse>, Status> {
        unanswered("forgive_nodes")
    }

    async fn declare_down(&self, _: Request<DeclareDownRequest>) -> Result<Response<DeclareDownResponse>, Status> {
        unanswered("declare_down")
    }

    async fn forget_nodes(&self, _: Request<ForgetNodesRequest>) -> Result<Response<ForgetNodesResponse>, Status> {
        unanswered("forget_nodes")
    }
}

#[tonic::async_trait]
impl Quotas for Script {
    async fn set_quota(&self, request: Request<SetQuotaRequest>) -> Result<Response<QuotaStatus>, Status> {
        let SetQuotaRequest { role, guarantee, limit, weight, .. } = request.into_inner();
        let bounds = [guarantee, limit].map(|bounds| bounds.map(|bounds| bounds.cpu_milli));
        self.next(&format!("set quota {role} {bounds:?} {weight}"), &self.quota).await
    }

    async fn get_quota(&self, request: Request<GetQuotaRequest>) -> Result<Response<QuotaStatus>, Status> {
        self.next(&format!("quota {}", request.into_inner().role), &self.quota).await
    }

    async fn list_quota(&self, _: Request<ListQuotaRequest>) -> Result<Response<ListQuotaResponse>, Status> {
        let one = self.next("quotas", &self.quota).await?.into_inner();
        Ok(Response::new(ListQuotaResponse { quotas: vec![one], index: 1 }))
    }
}

#[tonic::async_trait]
impl Admin for Script {
    type BackupStream = Streamed<BackupChunk>;
    type ReadJournalStream = Streamed<JournalEntries>;
    type VerifyStream = Streamed<VerifyResponse>;

    async fn get_server_info(&self, _: Request<GetServerInfoRequest>) -> Result<Response<ServerInfo>, Status> {
        self.next("info", &self.info).await
    }

    async fn backup(&self, _: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        unanswered("backup")
    }

    async fn read_journal(&self, _: Request<ReadJournalRequest>) -> Result<Response<Self::ReadJournalStream>, Status> {
        unanswered("read_journal")
    }

    async fn verify(&self, _: Request<VerifyRequest>) -> Result<Response<Self::VerifyStream>, Status> {
        unanswered("verify")
    }

    async fn leave(&self, _: Request<LeaveRequest>) -> Result<Response<LeaveResponse>, Status> {
        unanswered("leave")
    }

    async fn release_brake(&self, _: Request<ReleaseBrakeRequest>) -> Result<Response<ReleaseBrakeResponse>, Status> {
        unanswered("release_brake")
    }

    async fn raise_epoch(&self, _: Request<RaiseEpochRequest>) -> Result<Response<RaiseEpochResponse>, Status> {
        unanswered("raise_epoch")
    }
}
