//! Clients' log requests and sessions, carried to agents' tunnels; errors become statuses.

use std::sync::Arc;

use dawn_proto::v1;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::api::{LogChunks, LogSource, ReachPipe};
use crate::link::{Links, LogError, Tunnels};
use crate::model::AgentNo;

pub struct AgentLogs {
    pub links: Arc<Links>,
    pub tunnels: Arc<Tunnels>,
}

impl LogSource for AgentLogs {
    fn read_log(&self, agent: AgentNo, request: v1::ReadLogRequest) -> BoxFuture<'static, Result<LogChunks, Status>> {
        let begun = self.tunnels.read_log(&self.links, agent, request);
        Box::pin(async move {
            let unavailable = |error| status(error, Code::Unavailable);
            Ok(with_statuses(begun.map_err(unavailable)?, unavailable))
        })
    }

    fn reach(&self, agent: AgentNo, task_id: Option<u64>) -> BoxFuture<'static, Result<ReachPipe, Status>> {
        let begun = self.tunnels.reach(&self.links, agent, task_id);
        Box::pin(async move {
            let (up, down) = begun.map_err(|error| status(error, Code::Unavailable))?;
            Ok((up, with_statuses(down, |error| status(error, Code::FailedPrecondition))))
        })
    }
}

/// The error's own code; of an agent that is out of reach `usual`.
fn status(error: LogError, usual: Code) -> Status {
    let code = match &error {
        LogError::Busy => Code::ResourceExhausted,
        LogError::Agent { code, .. } => code.unwrap_or(Code::FailedPrecondition),
        LogError::NotConnected | LogError::Silent | LogError::Broken => usual,
    };
    Status::new(code, error.to_string())
}

/// The same messages, with errors as statuses. Ends with either side.
fn with_statuses<T: Send + 'static>(
    mut from: mpsc::Receiver<Result<T, LogError>>,
    status: impl Fn(LogError) -> Status + Send + 'static,
) -> mpsc::Receiver<Result<T, Status>> {
    let (to, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                message = from.recv() => message,
                () = to.closed() => return,
            };
            let Some(message) = message else { return };
            if to.send(message.map_err(&status)).await.is_err() {
                return;
            }
        }
    });
    receiver
}
