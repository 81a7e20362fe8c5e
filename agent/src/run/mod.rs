//! Wiring: a configuration becomes a running agent. The only place, with its parts, that names concrete edges.

mod fetch;
mod hands;
mod imaging;
mod inspect;
mod launching;
mod logs;
mod metrics;
mod notes;
mod reach;
mod refusals;
mod remembering;
mod start;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::info;

use crate::config::Config;
use crate::drive::Agent;
use crate::drive::pulse::{Clock, Stop, pulse};
use crate::edges::cgroup::{CgroupError, Tree};
use crate::edges::checkpoint::{self, CheckpointError, Tasks};
use crate::edges::discover::DiscoverError;
use crate::edges::images::Images;
use crate::edges::link::Link;
use crate::edges::space;
use hands::{Edges, Shared};

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
    #[error("this agent's tasks can't have groups of their own")]
    Claim(#[source] CgroupError),
    #[error("the agent's own cgroup can't be made")]
    OwnGroup(#[source] CgroupError),
    #[error("the gpus can't be kept apart; mend --gpu-files, or leave them out")]
    Gpus(#[source] CgroupError),
    #[error("no thread can be started that watches what is free on the disk")]
    Watch(#[source] std::io::Error),
    #[error("listening on {address} for {what}")]
    Listen { what: &'static str, address: SocketAddr, source: std::io::Error },
}

/// Runs an agent until `shutdown`. Its tasks run on after it and are found again by the next run.
///
/// # Errors
/// When it can't start. Nothing that a scheduler says ends it.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    start::check(&config)?;
    let _lock = checkpoint::lock(&config.work_dir)?;
    let tree = start::cgroups(&config)?;
    let _claim = tree.as_ref().map(Tree::claim).transpose().map_err(AgentError::Claim)?;
    let (id, memory) = checkpoint::recall(&config.work_dir, config.agent_id.as_deref())?;
    let setup = start::setup(&config, tree.as_ref(), id)?;
    let tasks = Tasks::open(&config.work_dir)?;
    let found = start::find_tasks(&tasks, memory.is_of_another_boot(&setup.boot_id));
    let known = found.iter().map(|one| one.task).collect();
    if let Some(tree) = &tree {
        tree.remove_strangers(&known);
    }
    info!(agent = %setup.agent_id, isolation = setup.isolation, tasks = found.len(), "agent starts");
    let (sender, events) = mpsc::channel(MAX_EVENTS);
    let (link, handle) = Link::new(config.schedulers.clone(), env!("CARGO_PKG_VERSION"), sender.clone());
    let clock = Clock;
    let (agent, first) = Agent::new(setup, memory, found, clock.now());
    let fetcher = start::fetcher(&config);
    let images = Images::open(&config.work_dir, config.image_keep_bytes, &known);
    let drain_within = config.drain_on_stop_ms.map(Duration::from_millis);
    let vitals = config.vitals.clone();
    let own = start::enter_own_group(&config, tree.as_ref())?;
    let shared = Arc::new(Shared::new(config, tree.clone(), tasks, images, fetcher));
    let mut serving = metrics::serve(&shared).await?;
    space::watch(shared.config.work_dir.clone(), sender.clone()).map_err(AgentError::Watch)?;
    let edges = Edges::new(shared.clone(), handle, sender);
    serving.spawn(link.run());
    let asked = async {
        shutdown.await;
        vitals.stops();
    };
    let stop = Stop { asked, drain_within };
    pulse(agent, first, events, edges, clock, stop, &vitals).await;
    serving.abort_all();
    // It is in the agent's own group too.
    shared.starter.end();
    drop(own);
    if let Some(tree) = tree {
        tree.remove_parents();
    }
    Ok(())
}
