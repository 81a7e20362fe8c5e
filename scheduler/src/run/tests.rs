//! A whole scheduler in this process, over loopback, with an agent that is a script.

mod agent;
mod faults;
mod life;
mod logs;
mod standby;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use dawn_proto::v1::scheduler_client::SchedulerClient;
use dawn_proto::v1::{self, JobKind, TaskState};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::{Config, RunError, start};

pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A scheduler that can be stopped, or dropped as if its process were killed.
pub(super) struct Cluster {
    pub address: SocketAddr,
    pub client: SchedulerClient<Channel>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), RunError>>,
}

impl Cluster {
    pub async fn start(dir: &Path) -> Cluster {
        Self::start_with(config(dir)).await
    }

    pub async fn start_with(config: Config) -> Cluster {
        let scheduler = start(config).await.unwrap();
        let address = scheduler.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(scheduler.until(async move { _ = stopped.await }));
        let client = SchedulerClient::connect(format!("http://{address}")).await.unwrap();
        Cluster { address, client, stop: Some(stop), running }
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        _ = self.stop.take().unwrap().send(());
        tokio::time::timeout(DEADLINE, &mut self.running).await.unwrap().unwrap().unwrap();
    }

    pub async fn submit(&mut self, spec: v1::JobSpec) -> v1::SubmitJobResponse {
        let request = v1::SubmitJobRequest { spec: Some(spec), author: "ann".into(), message: String::new() };
        self.client.submit_job(request).await.unwrap().into_inner()
    }

    pub async fn job(&mut self) -> v1::JobStatus {
        let request = v1::GetJobRequest { key: Some(key()), version: 0 };
        self.client.get_job(request).await.unwrap().into_inner()
    }

    /// Follows the job until its tasks are in these states.
    pub async fn until_states(&mut self, wanted: &[TaskState]) -> v1::JobStatus {
        let request = v1::GetJobRequest { key: Some(key()), version: 0 };
        let mut watch = self.client.watch_job(request).await.unwrap().into_inner();
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
