//! Clients' log requests, carried to agents' tunnels.

use std::sync::Arc;

use dawn_proto::v1;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::api::{LogChunks, LogSource};
use crate::link::{Links, Tunnels};
use crate::model::AgentNo;

pub struct AgentLogs {
    pub links: Arc<Links>,
    pub tunnels: Arc<Tunnels>,
}

impl LogSource for AgentLogs {
    fn read_log(&self, agent: AgentNo, request: v1::ReadLogRequest) -> BoxFuture<'static, Result<LogChunks, String>> {
        let begun = self.tunnels.read_log(&self.links, agent, request);
        Box::pin(async move {
            let mut chunks = begun.map_err(|error| error.to_string())?;
            let (words, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                loop {
                    let chunk = tokio::select! {
                        chunk = chunks.recv() => chunk,
                        () = words.closed() => return,
                    };
                    let Some(chunk) = chunk else { return };
                    if words.send(chunk.map_err(|error| error.to_string())).await.is_err() {
                        return;
                    }
                }
            });
            Ok(receiver)
        })
    }
}
