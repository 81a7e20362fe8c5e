//! The connection to the leader: dialling among the addresses, one session after the other. Not here: what is said.

use std::sync::Arc;
use std::time::Duration;

use dawn_proto::v1::agent_link_client::AgentLinkClient;
use dawn_proto::v1::{AgentMessage, SchedulerMessage};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use crate::model::{Event, LinkEvent, Message};
use crate::wire;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Messages on their way out; when full, the newest is dropped and said again later.
const MAX_QUEUED: usize = 1_024;
/// Largest message either way.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Metadata of a refusal, naming who leads.
const LEADER_METADATA: &str = "dawn-leader";

/// A message for one session.
#[derive(Debug)]
struct Outgoing {
    session: u64,
    message: Message,
}

/// Sessions up to this one are to be dropped, and whom to try next.
#[derive(Clone, Debug, Default)]
struct Hangup {
    session: u64,
    next: Option<String>,
}

/// The way to tell it.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    outgoing: mpsc::Sender<Outgoing>,
    hangups: Arc<watch::Sender<Hangup>>,
    address: watch::Receiver<Option<String>>,
}

impl LinkHandle {
    /// False when the queue is full and the message was dropped.
    pub fn send(&self, session: u64, message: Message) -> bool {
        self.outgoing.try_send(Outgoing { session, message }).is_ok()
    }

    /// Drops a session, however full its queue is, and tries `next` first.
    pub fn hang_up(&self, session: u64, next: Option<String>) {
        self.hangups.send_replace(Hangup { session, next });
    }

    /// Of the scheduler connected last; None: there was none yet.
    pub fn address(&self) -> Option<String> {
        self.address.borrow().clone()
    }
}

/// The link, not running yet.
#[derive(Debug)]
pub struct Link {
    addresses: Vec<String>,
    outgoing: mpsc::Receiver<Outgoing>,
    hangups: watch::Receiver<Hangup>,
    events: mpsc::Sender<Event>,
    address: watch::Sender<Option<String>>,
    version: &'static str,
    /// For jitter only.
    seed: u64,
}

/// Why a session ended, and whom to try next.
struct Ended {
    why: String,
    next: Option<String>,
    /// Somebody answered: no reason to wait longer than the shortest time.
    talked: bool,
}

impl Link {
    /// A link among `addresses` (host:port), the first tried first.
    pub fn new(addresses: Vec<String>, version: &'static str, events: mpsc::Sender<Event>) -> (Self, LinkHandle) {
        let (sender, outgoing) = mpsc::channel(MAX_QUEUED);
        let (hang_up, hangups) = watch::channel(Hangup::default());
        let (told, address) = watch::channel(None);
        let seed = u64::from(std::process::id()) | 1;
        let handle = LinkHandle { outgoing: sender, hangups: Arc::new(hang_up), address };
        (Link { addresses, outgoing, hangups, events, address: told, version, seed }, handle)
    }

    /// Connects, again and again, until the agent is gone.
    pub async fn run(mut self) {
        let (mut turn, mut session, mut backoff) = (0usize, 0u64, FIRST_BACKOFF);
        let mut next: Option<String> = None;
        while !self.events.is_closed() && !self.addresses.is_empty() {
            let address = match next.take() {
                Some(address) => address,
                None => {
                    turn += 1;
                    self.addresses[(turn - 1) % self.addresses.len()].clone()
                }
            };
            session += 1;
            let ended = self.session(&address, session).await;
            debug!(address, why = ended.why, "link ended");
            // Only the first of a row of failures is worth a line.
            if backoff == FIRST_BACKOFF || ended.talked {
                warn!(address, why = ended.why, "no link to the scheduler; trying on");
            }
            backoff = if ended.talked { FIRST_BACKOFF } else { (backoff * 2).min(LONGEST_BACKOFF) };
            next = ended.next;
            tokio::time::sleep(self.jittered(backoff)).await;
        }
    }

    /// Between half and the whole of `pause`: thousands of agents must not come back in step.
    fn jittered(&mut self, pause: Duration) -> Duration {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        pause / 2 + pause.mul_f64((self.seed % 1_000) as f64 / 2_000.0)
    }

    async fn session(&mut self, address: &str, session: u64) -> Ended {
        let mut client = match connect(address).await {
            Ok(channel) => AgentLinkClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES),
            Err(error) => return Ended { why: describe(&error), next: None, talked: false },
        };
        while self.outgoing.try_recv().is_ok() {}
        info!(address, "connected");
        self.address.send_replace(Some(address.to_string()));
        if self.events.send(Event::Link(LinkEvent::Up { session })).await.is_err() {
            return Ended { why: "the agent stops".into(), next: None, talked: false };
        }
        let (out, outgoing) = mpsc::channel::<AgentMessage>(64);
        let answer = client.link(ReceiverStream::new(outgoing));
        let ended = self.converse(session, out, answer).await;
        let down = LinkEvent::Down { session, why: ended.why.clone() };
        let _ = self.events.send(Event::Link(down)).await;
        ended
    }

    async fn converse(
        &mut self,
        session: u64,
        out: mpsc::Sender<AgentMessage>,
        answer: impl Future<Output = Result<tonic::Response<Streaming<SchedulerMessage>>, Status>>,
    ) -> Ended {
        let mut answer = std::pin::pin!(answer);
        let mut incoming: Option<Streaming<SchedulerMessage>> = None;
        // A refusal is the last message: its stream may end before the agent has said to hang up.
        let mut hint: Option<String> = None;
        loop {
            let hangup = self.hangups.borrow_and_update().clone();
            if hangup.session >= session {
                return Ended { why: "hung up".into(), next: hangup.next, talked: true };
            }
            let room = out.capacity() > 0;
            tokio::select! {
                opened = &mut answer, if incoming.is_none() => match opened {
                    Ok(response) => incoming = Some(response.into_inner()),
                    Err(status) => return refused(&status, false),
                },
                received = receive(&mut incoming) => match received {
                    Ok(Some(message)) => {
                        let Some(event) = wire::decode_scheduler(message) else {
                            warn!("a message of the scheduler that this agent does not understand");
                            continue;
                        };
                        if let LinkEvent::Refused { leader_address, .. } = &event {
                            hint = Some(leader_address.clone()).filter(|address| !address.is_empty());
                        }
                        if self.events.send(Event::Link(event)).await.is_err() {
                            return Ended { why: "the agent stops".into(), next: None, talked: true };
                        }
                    }
                    Ok(None) => return Ended { why: "closed by the scheduler".into(), next: hint, talked: true },
                    Err(status) => {
                        let ended = refused(&status, true);
                        return Ended { next: ended.next.or(hint), ..ended };
                    }
                },
                // A slot in the stream first: a message taken out is never dropped.
                () = slot(&out), if !room => {}
                message = self.outgoing.recv(), if room => match message {
                    Some(Outgoing { session: of, message }) if of == session => {
                        let _ = out.send(wire::encode_message(message, self.version)).await;
                    }
                    Some(_) => {}
                    None => return Ended { why: "the agent stops".into(), next: None, talked: true },
                },
                // Looked at at the top of the loop.
                Ok(()) = self.hangups.changed() => {}
            }
        }
    }
}

async fn slot(out: &mpsc::Sender<AgentMessage>) {
    if out.reserve().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn receive(incoming: &mut Option<Streaming<SchedulerMessage>>) -> Result<Option<SchedulerMessage>, Status> {
    match incoming {
        Some(stream) => stream.message().await,
        None => std::future::pending().await,
    }
}

fn refused(status: &Status, talked: bool) -> Ended {
    let leader = status.metadata().get(LEADER_METADATA).and_then(|value| value.to_str().ok());
    Ended { why: status.message().to_string(), next: leader.map(str::to_string), talked }
}

/// A channel to `host:port`.
///
/// # Errors
/// When nobody answers there within 3 s, or it is no address.
pub async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect()
        .await
}

/// The whole chain: the transport's own text says only "transport error".
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
