//! A scheduler and an executor that do as the tests say, around the real agent.
#![allow(dead_code)]

pub mod executor;
pub mod scheduler;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use dawn_agent::{AgentError, Config, run};
use dawn_proto::v1;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// Waits until `condition` holds, or fails naming `what`.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await; // poll
    }
}

/// A running agent.
pub struct RunningAgent {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), AgentError>>,
}

impl RunningAgent {
    pub fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        RunningAgent { stop: Some(stop), task: tokio::spawn(run(config, shutdown)) }
    }

    /// Stops it as a restart would: its executors run on.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(DEADLINE, &mut self.task).await.expect("the agent stops").unwrap().unwrap();
    }

    /// Waits for it to end by itself.
    pub async fn error(mut self) -> AgentError {
        let ended = tokio::time::timeout(DEADLINE, &mut self.task).await.expect("the agent ends").unwrap();
        ended.expect_err("the agent ends with an error")
    }
}

/// An unisolated agent whose executors are this test binary's `fake_executor`.
pub fn config(work_dir: &Path, schedulers: Vec<String>) -> Config {
    let own = std::env::current_exe().unwrap();
    let mut executor = vec![own.into_os_string()];
    executor.extend(["fake_executor", "--exact", "--ignored", "--nocapture", "--test-threads=1"].map(OsString::from));
    Config {
        isolated: false,
        run_as_self: true,
        cpu_milli: Some(4_000),
        memory_bytes: Some(1 << 30),
        disk_bytes: Some(1 << 30),
        ..Config::new(schedulers, work_dir.to_path_buf(), "test-host".into(), executor)
    }
}

/// A spec of one process; `script` tells the fake executor what to do.
pub fn spec(spec_id: u64, script: &str) -> v1::Spec {
    let process = v1::ProcessSpec { name: "main".into(), shell: script.into(), ..Default::default() };
    let resources = v1::Resources { cpu_milli: 1_000, memory_bytes: 64 << 20, ..Default::default() };
    let task = v1::TaskSpec {
        processes: vec![process],
        resources: Some(resources),
        grace_period_ms: 1_000,
        ..Default::default()
    };
    let key = v1::JobKey { role: "www".into(), env: "test".into(), name: "job".into() };
    let spec = Some(v1::JobSpec { key: Some(key), task: Some(task), ..Default::default() });
    v1::Spec { spec_id, spec, version: 1 }
}
