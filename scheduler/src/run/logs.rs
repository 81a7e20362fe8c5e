//! Clients' log requests and sessions, carried to agents' tunnels.

use std::sync::Arc;

use dawn_proto::v1;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::api::{LogChunks, LogSource, ReachPipe};
use crate::link::{Links, Tunnels};
use crate::model::AgentNo;

pub struct AgentLogs {
    pub links: Arc<Links>,
    pub tunnels: Arc<Tunnels>,
}

impl LogSource for AgentLogs {
    fn read_log(&self, agent: AgentNo, request: v1::ReadLogRequest) -> BoxFuture<'static, Result<LogChunks, String>> {
        let begun = self.tunnels.read_log(&self.links, agent, request);
        Box::pin(async move { Ok(in_words(begun.map_err(|error| error.to_string())?)) })
    }

    fn reach(&self, agent: AgentNo, task_id: Option<u64>) -> BoxFuture<'static, Result<ReachPipe, String>> {
        let begun = self.tunnels.reach(&self.links, agent, task_id);
        Box::pin(async move {
            let (up, down) = begun.map_err(|error| error.to_string())?;
            Ok((up, in_words(down)))
        })
    }
}

/// The same messages, with errors as words. Ends with either side.
fn in_words<T: Send + 'static, E: ToString + Send + 'static>(
    mut from: mpsc::Receiver<Result<T, E>>,
) -> mpsc::Receiver<Result<T, String>> {
    let (words, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                message = from.recv() => message,
                () = words.closed() => return,
            };
            let Some(message) = message else { return };
            if words.send(message.map_err(|error| error.to_string())).await.is_err() {
                return;
            }
        }
    });
    receiver
}
