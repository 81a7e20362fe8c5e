//! A session with a task or an agent, through the leader. Not here: what is done with it.

use std::sync::Arc;

use dawn_proto::v1;
use dawn_proto::v1::reach_client::ReachClient;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_up::Message as Up;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Streaming};

use super::{Client, Repeat, Scheduler, status};
use crate::exit::{Exit, Failure};

/// Data that may be under way; the agent knows the same number.
const CREDIT_BYTES: usize = 256 << 10;
/// Largest piece of data in one message.
const CHUNK_BYTES: usize = 32 << 10;
const MESSAGES: usize = 16;

/// What comes of a session; it ends when this and every [`Upward`] of it are dropped.
pub struct Session {
    down: Streaming<v1::ReachDown>,
    pub up: Upward,
}

/// The way to say more.
#[derive(Clone)]
pub struct Upward {
    messages: mpsc::Sender<v1::ReachUp>,
    credit: Arc<Semaphore>,
}

impl Scheduler {
    /// Begins a session.
    ///
    /// # Errors
    /// What the leader refused, or why nobody answered.
    pub async fn reach(&mut self, open: v1::ReachOpen) -> Result<Session, Failure> {
        let call = async |client: &mut Client, request: Request<v1::ReachOpen>| {
            let (messages, stream) = mpsc::channel(MESSAGES);
            // There is room for it.
            _ = messages.try_send(v1::ReachUp { message: Some(Up::Open(request.into_inner())) });
            let mut reach = ReachClient::new(client.channel());
            let down = reach.open(ReceiverStream::new(stream)).await?.into_inner();
            Ok(Response::new((messages, down)))
        };
        let (messages, down) = self.call(open, Repeat::Never, call).await?;
        Ok(Session { down, up: Upward { messages, credit: Arc::new(Semaphore::new(CREDIT_BYTES)) } })
    }
}

impl Session {
    /// What is said next; None: all was said.
    ///
    /// # Errors
    /// Why it can't go on.
    pub async fn next(&mut self) -> Result<Option<Down>, Failure> {
        loop {
            let message = match self.down.message().await {
                Ok(Some(message)) => message.message,
                Ok(None) => return Ok(None),
                Err(status) if status.code() == tonic::Code::FailedPrecondition => {
                    return Err(Failure::new(Exit::Failed, crate::render::safe_lines(status.message())));
                }
                Err(status) => return Err(status::broke_off("the session", &status)),
            };
            match message {
                Some(Down::Credit(bytes)) => {
                    let bytes = usize::try_from(bytes).unwrap_or(0);
                    if self.up.credit.available_permits().saturating_add(bytes) <= CREDIT_BYTES {
                        self.up.credit.add_permits(bytes);
                    }
                }
                Some(message) => return Ok(Some(message)),
                // Of a newer scheduler or agent.
                None => {}
            }
        }
    }
}

impl Upward {
    /// False: the session is over.
    pub async fn say(&self, message: Up) -> bool {
        self.messages.send(v1::ReachUp { message: Some(message) }).await.is_ok()
    }

    /// Sends data as the other end takes it; false: the session is over.
    pub async fn data(&self, data: &[u8]) -> bool {
        for piece in data.chunks(CHUNK_BYTES) {
            let permits = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            tokio::select! {
                acquired = self.credit.acquire_many(permits) => match acquired {
                    Ok(taken) => taken.forget(),
                    Err(_) => return false,
                },
                () = self.messages.closed() => return false,
            }
            if !self.say(Up::Data(piece.to_vec())).await {
                return false;
            }
        }
        true
    }
}
