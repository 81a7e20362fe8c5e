//! The clients' side: commands go to the pulse and wait for its answer, reads are answered from the follower.
//! Not here: what agents say, and where logs come from (the wiring brings a [`LogSource`]).

mod admin;
mod command;
mod cron;
mod dispatch;
mod jobs;
mod logs;
mod loss;
mod nodes;
mod plan;
mod quotas;
mod reach;
mod reader;
mod reads;
mod replies;
mod service;
mod status;
mod streams;
mod submit;
mod tasks;
mod updates;
mod watch;
mod words;

use std::sync::Arc;

use dawn_proto::{TaskId, v1};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tonic::Status;

use crate::decide::place::PlaceSettings;
use crate::drive::{Inbox, LiveView, Role};
use crate::model::{AgentNo, Allowed, Settings};

pub use admin::{AdminService, Entries, Keeper, Turns};
pub use reach::{ReachPipe, ReachService};
pub use reader::Reader;
pub use reads::{job_sla, list_endpoints};
pub use replies::{Answered, Replies, Waiting};
pub use status::NOT_CONNECTED;
pub use streams::Streams;
pub use watch::{WatchFront, Watches};

/// Most bytes of one request; a job's spec is far below.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;

/// Chunks of a log, or why there are no more.
pub type LogChunks = mpsc::Receiver<Result<v1::LogChunk, Status>>;

/// Whoever can reach a task's agent.
pub trait LogSource: Send + Sync + 'static {
    /// Begins to read.
    fn read_log(&self, agent: AgentNo, request: v1::ReadLogRequest) -> BoxFuture<'static, Result<LogChunks, Status>>;

    /// What a failed task wrote last to standard error, where its agent has said so to this leader.
    fn last_words(&self, agent: AgentNo, task: TaskId) -> Option<Vec<u8>>;

    /// Begins a session about a task, or (None) about the agent itself.
    fn reach(&self, agent: AgentNo, task_id: Option<u64>) -> BoxFuture<'static, Result<ReachPipe, Status>>;
}

/// What does not change while this process lives.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// host:port by which others reach this scheduler.
    pub address: String,
    /// "embedded" or "etcd".
    pub journal: &'static str,
    pub settings: Settings,
    pub place: PlaceSettings,
    pub coordinators: Allowed,
}

/// The gRPC service of clients.
#[derive(Clone)]
pub struct ClientService {
    pub inbox: Inbox,
    pub replies: Arc<Replies>,
    pub reader: Reader,
    pub live: tokio::sync::watch::Receiver<Arc<LiveView>>,
    pub role: tokio::sync::watch::Receiver<Role>,
    /// What holds writes up now and what to do about it; empty: nothing.
    pub trouble: tokio::sync::watch::Receiver<String>,
    pub logs: Arc<dyn LogSource>,
    pub watches: Watches,
    pub streams: Arc<Streams>,
    pub facts: Arc<ServerFacts>,
}

#[cfg(test)]
mod tests;
