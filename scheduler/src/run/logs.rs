//! Clients' log requests and sessions, carried to agents' tunnels; errors become statuses.

use std::sync::Arc;

use dawn_proto::errors::RefusedRequest;
use dawn_proto::v1::ErrorReason;
use dawn_proto::{TaskId, v1};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::api::{LogChunks, LogSource, NOT_CONNECTED, ReachPipe};
use crate::link::{LastWords, Links, LogError, Tunnels};
use crate::model::AgentNo;

pub struct AgentLogs {
    pub links: Arc<Links>,
    pub tunnels: Arc<Tunnels>,
    pub words: Arc<LastWords>,
}

impl LogSource for AgentLogs {
    fn read_log(&self, agent: AgentNo, request: v1::ReadLogRequest) -> BoxFuture<'static, Result<LogChunks, Status>> {
        let begun = self.tunnels.read_log(&self.links, agent, request);
        Box::pin(async move { Ok(with_statuses(begun.map_err(status)?)) })
    }

    fn last_words(&self, agent: AgentNo, task: TaskId) -> Option<Vec<u8>> {
        self.words.of(agent, task)
    }

    fn reach(&self, agent: AgentNo, task_id: Option<u64>) -> BoxFuture<'static, Result<ReachPipe, Status>> {
        let begun = self.tunnels.reach(&self.links, agent, task_id);
        Box::pin(async move {
            let (up, down) = begun.map_err(status)?;
            Ok((up, with_statuses(down)))
        })
    }
}

/// The error with its reason; an agent that refuses chooses the code.
fn status(error: LogError) -> Status {
    let message = error.to_string();
    let refused = match error {
        LogError::Busy => RefusedRequest::new(ErrorReason::Busy, message),
        LogError::Agent { code, .. } => {
            RefusedRequest::new(ErrorReason::NodeRefused, message).with_code(code.unwrap_or(Code::FailedPrecondition))
        }
        LogError::NotConnected => {
            RefusedRequest::new(ErrorReason::NodeOutOfReach, message).with("cause", NOT_CONNECTED)
        }
        LogError::Silent => RefusedRequest::new(ErrorReason::NodeOutOfReach, message).with("cause", "silent"),
        LogError::Broken => RefusedRequest::new(ErrorReason::NodeOutOfReach, message).with("cause", "broken"),
    };
    refused.into()
}

/// The same messages, with errors as statuses. Ends with either side.
fn with_statuses<T: Send + 'static>(
    mut from: mpsc::Receiver<Result<T, LogError>>,
) -> mpsc::Receiver<Result<T, Status>> {
    let (to, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                message = from.recv() => message,
                () = to.closed() => return,
            };
            let Some(message) = message else { return };
            if to.send(message.map_err(status)).await.is_err() {
                return;
            }
        }
    });
    receiver
}
