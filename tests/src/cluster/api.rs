//! The scheduler's client API, called in step: each call waits for its answer.

use std::net::SocketAddr;
use std::time::Duration;

use dawn_proto::{Clients, JobKey, v1};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::network::{Host, is_set_aside};

/// Longest a call may take before it counts as failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one scheduler; connects again by itself after a restart.
pub struct Api {
    runtime: Runtime,
    client: Clients,
    channel: Channel,
}

impl Api {
    pub fn new(address: SocketAddr) -> Api {
        Api::from(None, address, CALL_TIMEOUT)
    }

    /// Calls come from `host`'s network, if given, and fail after `timeout`.
    pub fn from(host: Option<&Host>, address: SocketAddr, timeout: Duration) -> Api {
        assert!(host.is_some() || !is_set_aside(address.ip()), "calls to {address} from here would leave the machine");
        let mut builder = Builder::new_multi_thread();
        if let Some(host) = host.cloned() {
            // Connections are made by the runtime's own threads.
            builder.on_thread_start(move || host.enter().expect("root may enter its own networks"));
        }
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URI");
        let endpoint = endpoint.connect_timeout(timeout.min(Duration::from_secs(2))).timeout(timeout);
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Api { runtime, client: Clients::new(channel.clone()), channel }
    }

    /// Runs one call on a client of its own.
    fn call<T, F>(&self, call: impl FnOnce(Clients) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        self.runtime.block_on(call(self.client.clone())).map(tonic::Response::into_inner).inspect_err(no_fault)
    }

    pub fn server_info(&self) -> Result<v1::ServerInfo, Status> {
        self.call(|client| async move { client.admin().get_server_info(v1::GetServerInfoRequest {}).await })
    }

    pub fn submit(&self, spec: v1::JobSpec) -> Result<v1::SubmitJobResponse, Status> {
        let request = v1::SubmitJobRequest { spec: Some(spec), author: "tests".into(), message: String::new() };
        self.call(|client| async move { client.jobs().submit_job(request).await })
    }

    pub fn kill(&self, job: &JobKey) -> Result<v1::KillJobResponse, Status> {
        let request = v1::KillJobRequest { key: Some(job.into()), author: "tests".into(), ..Default::default() };
        self.call(|client| async move { client.jobs().kill_job(request).await })
    }

    /// Every job that has not been forgotten, however many.
    pub fn all_jobs(&self) -> Result<Vec<v1::JobSummary>, Status> {
        let (mut jobs, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListJobsRequest { all: true, page_token, ..Default::default() };
            let page = self.call(|client| async move { client.jobs().list_jobs(request).await })?;
            jobs.extend(page.jobs);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(jobs);
            }
        }
    }

    /// Every job that has not been forgotten, of a page.
    pub fn jobs(&self) -> Result<Vec<v1::JobSummary>, Status> {
        let request = v1::ListJobsRequest { all: true, page_size: 10_000, ..Default::default() };
        self.call(|client| async move { client.jobs().list_jobs(request).await }).map(|response| response.jobs)
    }

    pub fn job(&self, job: &JobKey) -> Result<v1::JobStatus, Status> {
        let request = v1::GetJobRequest { key: Some(job.into()), version: 0 };
        self.call(|client| async move { client.jobs().get_job(request).await })
    }

    /// Every task of the job, ended ones too, newest last.
    pub fn tasks(&self, job: &JobKey) -> Result<Vec<v1::Task>, Status> {
        let request =
            v1::ListTasksRequest { job: Some(job.into()), all: true, page_size: 10_000, ..Default::default() };
        self.call(|client| async move { client.tasks().list_tasks(request).await }).map(|response| response.tasks)
    }

    pub fn nodes(&self) -> Result<Vec<v1::Node>, Status> {
        let request = v1::ListNodesRequest { page_size: 10_000, ..Default::default() };
        self.call(|client| async move { client.nodes().list_nodes(request).await }).map(|response| response.nodes)
    }

    pub fn why(&self, job: &JobKey) -> Result<v1::WhyResponse, Status> {
        let request = v1::WhyRequest { key: Some(job.into()) };
        self.call(|client| async move { client.jobs().why(request).await })
    }

    pub fn start_cron(&self, job: &JobKey) -> Result<v1::StartCronResponse, Status> {
        let request = v1::StartCronRequest { key: Some(job.into()), author: "tests".into() };
        self.call(|client| async move { client.cron().start_cron(request).await })
    }

    pub fn deschedule_cron(&self, job: &JobKey) -> Result<v1::DescheduleCronResponse, Status> {
        let request = v1::DescheduleCronRequest { key: Some(job.into()), author: "tests".into() };
        self.call(|client| async move { client.cron().deschedule_cron(request).await })
    }

    /// What is kept of a task's log, from the oldest byte.
    pub fn log(&self, task_id: u64, process: &str, stderr: bool) -> Result<Vec<u8>, Status> {
        self.read_log(v1::ReadLogRequest { task_id, process: process.into(), stderr, ..Default::default() })
    }

    /// The part of a log that the request names.
    pub fn read_log(&self, request: v1::ReadLogRequest) -> Result<Vec<u8>, Status> {
        self.log_chunks(request).map(|chunks| chunks.into_iter().flat_map(|chunk| chunk.data).collect())
    }

    /// The same in the pieces in which it comes.
    pub fn log_chunks(&self, request: v1::ReadLogRequest) -> Result<Vec<v1::LogChunk>, Status> {
        let client = self.client.clone();
        let read = self.runtime.block_on(async move {
            let mut stream = client.tasks().read_log(Request::new(request)).await?.into_inner();
            let mut chunks = Vec::new();
            while let Some(chunk) = stream.message().await? {
                chunks.push(chunk);
            }
            Ok(chunks)
        });
        read.inspect_err(no_fault)
    }

    /// What these tasks wrote last to standard error, in their order.
    pub fn last_words(&self, task_ids: &[u64]) -> Result<Vec<Vec<u8>>, Status> {
        let request = v1::GetLastWordsRequest { task_ids: task_ids.to_vec() };
        let words = self.call(|client| async move { client.tasks().get_last_words(request).await })?;
        Ok(words.tasks.into_iter().map(|task| task.data).collect())
    }

    /// Sends a message without any field to an rpc, and reads whatever comes.
    pub fn ask_nothing(&self, service: &str, rpc: &str) -> Result<(), Status> {
        let path = format!("/dawn.v1.{service}/{rpc}").parse().expect("names make a path");
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        let asked = self.runtime.block_on(async move {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let mut stream = grpc.server_streaming(Request::new(()), path, codec).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok(())
        });
        asked.inspect_err(no_fault)
    }

    /// Follows the job until `enough` is content with its status.
    pub fn watch(&self, job: &JobKey, enough: impl Fn(&v1::JobStatus) -> bool) -> Result<v1::JobStatus, Status> {
        let request = v1::GetJobRequest { key: Some(job.into()), version: 0 };
        let client = self.client.clone();
        let watched = self.runtime.block_on(async move {
            let mut stream = client.jobs().watch_job(Request::new(request)).await?.into_inner();
            while let Some(status) = stream.message().await? {
                if enough(&status) {
                    return Ok(status);
                }
            }
            Err(Status::aborted("the watch ended too early"))
        });
        watched.inspect_err(no_fault)
    }
}

/// INTERNAL and UNKNOWN are faults of Dawn's and fail the test, unless this client's own transport says so of a connection
/// that broke.
fn no_fault(status: &Status) {
    let is_transport = std::error::Error::source(status).is_some();
    assert!(is_transport || ![Code::Internal, Code::Unknown].contains(&status.code()), "{status:?}");
}
