//! Wiring: a configuration becomes a running agent. The only place, with its parts, that names concrete edges.

mod hands;
mod inspect;
mod start;

use std::future::Future;

use tokio::sync::mpsc;
use tracing::info;

use crate::config::Config;
use crate::drive::Agent;
use crate::drive::pulse::{Clock, pulse};
use crate::edges::cgroup::CgroupError;
use crate::edges::checkpoint::{self, CheckpointError, Tasks};
use crate::edges::discover::DiscoverError;
use crate::edges::link::Link;
use crate::edges::vet::Vetting;
use hands::Edges;

/// Events on their way to the agent's state; whoever has one more waits.
const MAX_EVENTS: usize = 4_096;
/// Most processes and threads of a task whose spec names no limit.
const DEFAULT_MAX_PIDS: u32 = 1_024;

/// Why an agent does not start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    #[error(
        "tasks can't be isolated: no cgroup can be made for them; \
         run the agent with the rights to make cgroups (as root), or start it with --unisolated"
    )]
    Cgroup(#[source] CgroupError),
    #[error("{0}")]
    Refused(String),
    #[error("can't look at the executor of task {task}")]
    Probe { task: dawn_proto::TaskId, source: std::io::Error },
}

/// Runs an agent until `shutdown`. Its tasks run on after it and are found again by the next run.
///
/// # Errors
/// When it can't start, or when the scheduler refuses it for good.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    start::check(&config)?;
    let _lock = checkpoint::lock(&config.work_dir)?;
    let tree = start::cgroups(&config)?;
    let setup = start::setup(&config, tree.as_ref())?;
    let memory = checkpoint::read_memory(&config.work_dir)?;
    let tasks = Tasks::open(&config.work_dir)?;
    let found = start::find_tasks(&tasks)?;
    if let Some(tree) = &tree {
        tree.remove_strangers(&found.iter().map(|one| one.task).collect());
    }
    info!(agent = %setup.agent_id, isolation = setup.isolation, tasks = found.len(), "agent starts");
    let (sender, events) = mpsc::channel(MAX_EVENTS);
    let (link, handle) = Link::new(config.schedulers.clone(), env!("CARGO_PKG_VERSION"), sender.clone());
    let clock = Clock;
    let (agent, first) = Agent::new(setup, memory, found, clock.now());
    let vetting = Vetting { run_as_self: config.run_as_self };
    let edges = Edges::new(config, tree.clone(), tasks, vetting, handle, sender);
    let link = tokio::spawn(link.run());
    let result = pulse(agent, first, events, edges, clock, shutdown).await;
    link.abort();
    if let Some(tree) = tree {
        tree.remove_parents();
    }
    result
}
