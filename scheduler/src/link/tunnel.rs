//! Tunnels: an agent is told to dial in and bring a log, or to take part in a client's session (`reach`).
//! Nothing is stored on the way: a slow client slows its agent.

use dawn_proto::errors::{RefusedRequest, invalid_field};
use dawn_proto::v1::ErrorReason;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dawn_proto::v1::{self, scheduler_message::Message};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::Links;
use super::no_place;
use super::reach::Session;
use crate::model::AgentNo;
use crate::shares::Admission;

/// The agent dials within this time.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// Chunks on their way through; more wait at the agent.
const CHUNKS: usize = 4;
/// Tunnels that wait for their agent at most.
const WAITING: usize = 1024;

/// Why a log can't be read (on).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("its agent is not connected")]
    NotConnected,
    #[error("its agent did not answer within {}", dawn_proto::amounts::whole_seconds(DIAL_WITHIN))]
    Silent,
    #[error("{WAITING} requests wait for their agents already; try again in a moment")]
    Busy,
    /// The agent's own words, with the gRPC code it gave them, if any.
    #[error("{words}")]
    Agent { code: Option<Code>, words: String },
    #[error("the connection to its agent broke; run the command again")]
    Broken,
}

impl LogError {
    pub(super) fn of_agent(code: u32, words: String) -> LogError {
        // An agent may say what it likes: only these are passed on.
        let code = i32::try_from(code).map(Code::from_i32).ok().filter(|code| {
            matches!(code, Code::NotFound | Code::OutOfRange | Code::ResourceExhausted | Code::FailedPrecondition)
        });
        LogError::Agent { code, words }
    }
}

type Chunks = mpsc::Sender<Result<v1::LogChunk, LogError>>;

/// Who waits for a tunnel.
#[derive(Debug)]
pub(super) enum Waiting {
    Log(Chunks),
    Session(Session),
}

impl Waiting {
    fn is_gone(&self) -> bool {
        match self {
            Waiting::Log(chunks) => chunks.is_closed(),
            Waiting::Session(session) => session.is_gone(),
        }
    }

    async fn fail(self, error: LogError) {
        match self {
            Waiting::Log(chunks) => _ = chunks.send(Err(error)).await,
            Waiting::Session(session) => session.fail(error).await,
        }
    }
}

/// Tunnels asked for and not dialled yet.
#[derive(Debug, Default)]
pub struct Tunnels {
    waiting: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
    /// Numbers can't be guessed by another agent.
    keys: RandomState,
}

impl Tunnels {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks an agent for a log. Ends with a chunk marked `end`, when all asked for was sent, with an error,
    /// or when the receiver is dropped.
    ///
    /// # Errors
    /// When the agent can't be asked.
    pub fn read_log(
        self: &Arc<Self>,
        links: &Links,
        agent: AgentNo,
        request: v1::ReadLogRequest,
    ) -> Result<mpsc::Receiver<Result<v1::LogChunk, LogError>>, LogError> {
        let (chunks, receiver) = mpsc::channel(CHUNKS);
        let open = v1::OpenTunnel { read_log: Some(request), ..Default::default() };
        self.ask(links, agent, open, Waiting::Log(chunks))?;
        Ok(receiver)
    }

    /// Asks an agent to dial in for `waiting`; within ten seconds it does, or `waiting` is told that it did not.
    pub(super) fn ask(
        self: &Arc<Self>,
        links: &Links,
        agent: AgentNo,
        open: v1::OpenTunnel,
        wanted: Waiting,
    ) -> Result<(), LogError> {
        let link = links.of(agent).ok_or(LogError::NotConnected)?;
        let tunnel_id = self.keys.hash_one(self.next.fetch_add(1, Ordering::Relaxed));
        {
            let mut waiting = self.waiting();
            waiting.retain(|_, waiting| !waiting.is_gone());
            if waiting.len() >= WAITING {
                return Err(LogError::Busy);
            }
            waiting.insert(tunnel_id, wanted);
        }
        if !links.send(link, Message::OpenTunnel(v1::OpenTunnel { tunnel_id, ..open })) {
            self.waiting().remove(&tunnel_id);
            return Err(LogError::NotConnected);
        }
        let tunnels = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(DIAL_WITHIN).await;
            let late = tunnels.waiting().remove(&tunnel_id);
            if let Some(late) = late {
                late.fail(LogError::Silent).await;
            }
        });
        Ok(())
    }

    /// Serves a tunnel an agent dialled: carries its chunks to whoever asked.
    ///
    /// # Errors
    /// When its first message names no tunnel that is waited for.
    pub(super) async fn serve(
        self: Arc<Self>,
        mut up: Streaming<v1::TunnelUp>,
        admission: Option<Admission>,
    ) -> Result<mpsc::Receiver<Result<v1::TunnelDown, Status>>, Status> {
        let first = tokio::time::timeout(DIAL_WITHIN, up.message()).await;
        let first = first.map_err(|_| {
            RefusedRequest::new(ErrorReason::TooSlow, "the tunnel's first message did not come").into_status()
        })??;
        let first =
            first.ok_or_else(|| invalid_field("hello", "the tunnel ended before it was named").into_status())?;
        if let Some(admission) = admission.filter(|_| self.waiting().contains_key(&first.tunnel_id)) {
            admission.admit().map_err(|most| RefusedRequest::new(ErrorReason::Busy, no_place(most)).into_status())?;
        }
        let waiting = self.waiting().remove(&first.tunnel_id);
        let (down, receiver) = mpsc::channel(1);
        let chunks = match waiting {
            Some(Waiting::Log(chunks)) => chunks,
            Some(Waiting::Session(session)) => {
                tokio::spawn(session.carry(up, down));
                return Ok(receiver);
            }
            None => {
                return Err(
                    RefusedRequest::new(ErrorReason::NoSuchSession, "nobody waits for this tunnel (any more)").into()
                );
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = carry(first, up, &chunks) => {}
                () = chunks.closed() => {}
            }
            // The agent may be gone as well.
            _ = down.send(Ok(v1::TunnelDown { close: true, ..Default::default() })).await;
        });
        Ok(receiver)
    }
}

async fn carry(first: v1::TunnelUp, mut up: Streaming<v1::TunnelUp>, chunks: &Chunks) {
    let mut message = first;
    loop {
        if !message.error.is_empty() {
            _ = chunks.send(Err(LogError::of_agent(message.error_code, message.error))).await;
            return;
        }
        if let Some(chunk) = message.log {
            let is_end = chunk.end;
            if chunks.send(Ok(chunk)).await.is_err() || is_end {
                return;
            }
        }
        message = match up.message().await {
            Ok(Some(next)) => next,
            // All that was asked for of a task that lives on.
            Ok(None) => return,
            Err(_) => {
                _ = chunks.send(Err(LogError::Broken)).await;
                return;
            }
        };
    }
}
