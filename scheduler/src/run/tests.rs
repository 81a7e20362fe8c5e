//! A whole scheduler in this process, over loopback, with an agent that is a script.

mod agent;
mod bounds;
mod clients;
mod epochs;
mod faults;
mod folding;
mod full;
mod gate;
mod health;
mod life;
mod logs;
mod operators;
mod reach;
mod reflection;
mod standby;
mod stuck;
mod together;
mod unread;
mod words;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use dawn_proto::Clients;
use dawn_proto::v1::{self, JobKind, TaskState};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

use super::{Config, RunError, start};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A scheduler in a runtime of its own, so that it can be stopped in order or killed on the spot.
pub(super) struct Cluster {
    pub address: SocketAddr,
    pub client: Clients,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
    runtime: tokio::runtime::Runtime,
}

/// Clients of the scheduler at an address.
async fn connect(address: impl std::fmt::Display) -> Clients {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    Clients::new(endpoint.connect().await.unwrap())
}

impl Cluster {
    pub async fn start(dir: &Path) -> Cluster {
        Self::start_with(config(dir)).await
    }

    pub async fn start_with(config: Config) -> Cluster {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let scheduler = runtime.spawn(start(config)).await.unwrap().unwrap();
        let address = scheduler.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = runtime.spawn(scheduler.until(async move { _ = stopped.await }));
        let client = connect(address).await;
        Cluster { address, client, stop, running, runtime }
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.running).await.unwrap().unwrap().unwrap();
        tokio::task::spawn_blocking(move || drop(self.runtime)).await.unwrap();
    }

    /// Waits for it to end by itself.
    pub async fn error(self) -> RunError {
        let ended = tokio::time::timeout(DEADLINE, self.running).await.unwrap().unwrap();
        tokio::task::spawn_blocking(move || drop(self.runtime)).await.unwrap();
        ended.expect_err("it ends with an error")
    }

    /// Ends it where it is: nothing is said to anybody and nothing finished, but for writes the disk has begun.
    pub async fn kill(self) {
        let ended = tokio::task::spawn_blocking(move || self.runtime.shutdown_timeout(DEADLINE));
        ended.await.unwrap();
    }

    pub async fn submit(&mut self, spec: v1::JobSpec) -> v1::SubmitJobResponse {
        let request = v1::SubmitJobRequest { spec: Some(spec), author: "ann".into(), message: String::new() };
        self.client.jobs().submit_job(request).await.unwrap().into_inner()
    }

    pub async fn job(&mut self) -> v1::JobStatus {
        let request = v1::GetJobRequest { key: Some(key()), version: 0 };
        self.client.jobs().get_job(request).await.unwrap().into_inner()
    }

    /// Follows the job until its tasks are in these states.
    pub async fn until_states(&mut self, wanted: &[TaskState]) -> v1::JobStatus {
        let request = v1::GetJobRequest { key: Some(key()), version: 0 };
        let mut watch = self.client.jobs().watch_job(request).await.unwrap().into_inner();
        let mut last = Vec::new();
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                let status = watch.message().await.unwrap().expect("the job is gone");
                last = status.tasks.iter().map(v1::Task::state).collect();
                if last == wanted {
                    return status;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("waited for {wanted:?}, have {last:?}"))
    }
}

pub(super) fn config(dir: &Path) -> Config {
    Config::new("127.0.0.1:0".parse().unwrap(), dir.to_path_buf())
}

pub(super) fn key() -> v1::JobKey {
    v1::JobKey { role: "www".into(), env: "test".into(), name: "web".into() }
}

/// A service of so many instances, one cpu each.
pub(super) fn service(instances: u32) -> v1::JobSpec {
    let process = v1::ProcessSpec { name: "main".into(), shell: "sleep 1000".into(), ..Default::default() };
    let resources = v1::Resources { cpu_milli: 1000, memory_bytes: 64 << 20, ..Default::default() };
    let task = v1::TaskSpec { processes: vec![process], resources: Some(resources), ..Default::default() };
    v1::JobSpec { key: Some(key()), kind: JobKind::Service.into(), instances, task: Some(task), ..Default::default() }
}
