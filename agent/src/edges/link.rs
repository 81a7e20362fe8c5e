//! The connection to the leader: dialling among the addresses, one session after the other. Not here: what is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dawn_proto::v1::agent_link_client::AgentLinkClient;
use dawn_proto::v1::{AgentMessage, SchedulerMessage};
use dawn_proto::validate::MAX_LINK_MESSAGE_BYTES;
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
/// Pauses grow up to this where a scheduler refuses for a cause that does not end soon.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);
/// Messages on their way out; when full, the newest is dropped and said again later.
const MAX_QUEUED: usize = 1_024;
/// The same in bytes; one that is larger has the queue to itself.
const MAX_QUEUED_BYTES: usize = MAX_LINK_MESSAGE_BYTES;
/// Messages between the queue and the stream.
const ON_THE_WAY: usize = 8;

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
    slowly: bool,
}

/// The way to tell it.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    outgoing: mpsc::Sender<Outgoing>,
    queued_bytes: Arc<AtomicUsize>,
    hangups: Arc<watch::Sender<Hangup>>,
    address: watch::Receiver<Option<String>>,
}

impl LinkHandle {
    /// False when the queue is full and the message was dropped.
    pub fn send(&self, session: u64, message: Message) -> bool {
        let bytes = message.bytes();
        let waiting = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = waiting == 0 || waiting + bytes <= MAX_QUEUED_BYTES;
        let queued = has_room && self.outgoing.try_send(Outgoing { session, message }).is_ok();
        if !queued {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        queued
    }

    /// Drops a session, however full its queue is, and tries `next` first.
    /// `slowly`: pauses grow until a scheduler registers the agent.
    pub fn hang_up(&self, session: u64, next: Option<String>, slowly: bool) {
        self.hangups.send_replace(Hangup { session, next, slowly });
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
    queued_bytes: Arc<AtomicUsize>,
    hangups: watch::Receiver<Hangup>,
    events: mpsc::Sender<Event>,
    address: watch::Sender<Option<String>>,
    version: &'static str,
    /// For jitter only.
    seed: u64,
    /// The pause after the next refusal that does not end soon.
    patience: Duration,
}

/// The one end of a session after which none is tried.
const AGENT_STOPS: &str = "the agent stops";

/// Why a session ended, and whom to try next.
struct Ended {
    why: String,
    next: Option<String>,
    /// Somebody answered: no reason to wait longer than the shortest time.
    talked: bool,
    /// The answer stays the same for a while.
    slowly: bool,
}

impl Ended {
    fn new(why: impl Into<String>, talked: bool) -> Ended {
        Ended { why: why.into(), next: None, talked, slowly: false }
    }
}

impl Link {
    /// A link among `addresses` (host:port), the first tried first.
    pub fn new(addresses: Vec<String>, version: &'static str, events: mpsc::Sender<Event>) -> (Self, LinkHandle) {
        let (sender, outgoing) = mpsc::channel(MAX_QUEUED);
        let (hang_up, hangups) = watch::channel(Hangup::default());
        let (told, address) = watch::channel(None);
        let seed = u64::from(std::process::id()) | 1;
        let queued_bytes = Arc::<AtomicUsize>::default();
        let handle =
            LinkHandle { outgoing: sender, queued_bytes: queued_bytes.clone(), hangups: Arc::new(hang_up), address };
        (
            Link {
                addresses,
                outgoing,
                queued_bytes,
                hangups,
                events,
                address: told,
                version,
                seed,
                patience: FIRST_BACKOFF,
            },
            handle,
        )
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
            if ended.why == AGENT_STOPS {
                return;
            }
            // Only the first of a row of failures is worth a line.
            if backoff == FIRST_BACKOFF || ended.talked {
                warn!(address, why = ended.why, "no link to the scheduler; trying on");
            }
            backoff = if ended.talked { FIRST_BACKOFF } else { (backoff * 2).min(LONGEST_BACKOFF) };
            next = ended.next;
            let pause = if ended.slowly { self.grow_patient() } else { backoff };
            tokio::time::sleep(self.jittered(pause)).await;
        }
    }

    /// How long to wait after being refused; longer the next time.
    fn grow_patient(&mut self) -> Duration {
        let longer = (self.patience * 2).min(LONGEST_PATIENCE);
        std::mem::replace(&mut self.patience, longer)
    }

    /// It waits in the queue no more.
    fn taken(&self, message: &Outgoing) {
        self.queued_bytes.fetch_sub(message.message.bytes(), Ordering::Relaxed);
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
            Ok(channel) => AgentLinkClient::new(channel).max_decoding_message_size(MAX_LINK_MESSAGE_BYTES),
            Err(error) => return Ended::new(describe(&error), false),
        };
        while let Ok(left) = self.outgoing.try_recv() {
            self.taken(&left);
        }
        info!(address, "connected");
        self.address.send_replace(Some(address.to_string()));
        if self.events.send(Event::Link(LinkEvent::Up { session })).await.is_err() {
            return Ended::new(AGENT_STOPS, false);
        }
        let (out, outgoing) = mpsc::channel::<AgentMessage>(ON_THE_WAY);
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
        let (mut hint, mut is_slow) = (None, false);
        loop {
            let hangup = self.hangups.borrow_and_update().clone();
            if hangup.session >= session {
                return Ended { next: hangup.next, slowly: hangup.slowly, ..Ended::new("hung up", true) };
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
                        match &event {
                            LinkEvent::Refused { leader_address, slowly, .. } => {
                                hint = Some(leader_address.clone()).filter(|address| !address.is_empty());
                                is_slow = *slowly;
                            }
                            LinkEvent::Registered(_) => self.patience = FIRST_BACKOFF,
                            _ => {}
                        }
                        if self.events.send(Event::Link(event)).await.is_err() {
                            return Ended::new(AGENT_STOPS, true);
                        }
                    }
                    Ok(None) => return Ended { next: hint, slowly: is_slow, ..Ended::new("closed by the scheduler", true) },
                    Err(status) => {
                        let ended = refused(&status, true);
                        return Ended { next: ended.next.or(hint), slowly: is_slow, ..ended };
                    }
                },
                // A slot in the stream first: a message taken out is never dropped.
                () = slot(&out), if !room => {}
                message = self.outgoing.recv(), if room => match message {
                    Some(next) => {
                        self.taken(&next);
                        if next.session == session {
                            let _ = out.send(wire::encode_message(next.message, self.version)).await;
                        }
                    }
                    None => return Ended::new(AGENT_STOPS, true),
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
    let leader = dawn_proto::errors::named(status, "leader").filter(|leader| !leader.is_empty());
    Ended { next: leader, ..Ended::new(status.message(), talked) }
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

#[cfg(test)]
mod tests {
    use dawn_proto::v1::Reason;
    use dawn_proto::{TaskId, TaskState, Timestamp};

    use super::*;
    use crate::model::Report;

    #[test]
    fn whom_to_try_next_is_known_only_where_a_leader_is_named() {
        let not_leader = dawn_proto::errors::RefusedRequest::new(dawn_proto::v1::ErrorReason::NotLeader, "follows");
        for (leader, next) in [("", None), ("10.0.0.1:7070", Some("10.0.0.1:7070"))] {
            let status = not_leader.clone().with("leader", leader).into_status();
            assert_eq!(refused(&status, true).next.as_deref(), next);
        }
        assert_eq!(refused(&Status::unavailable("connection refused"), true).next, None);
    }

    #[test]
    fn an_agent_that_is_refused_again_and_again_dials_at_least_every_minute() {
        let (mut link, _handle) = Link::new(Vec::new(), "1", mpsc::channel(1).0);
        let pauses: Vec<Duration> = (0..20).map(|_| link.grow_patient()).collect();
        assert!(pauses.is_sorted() && pauses[0] < Duration::from_secs(1), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&Duration::from_secs(60)));
        assert!((0..1_000).all(|_| link.jittered(pauses[19]) <= Duration::from_secs(60)));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_until_it_is_taken() {
        let (mut link, handle) = Link::new(Vec::new(), "1", mpsc::channel(1).0);
        let report = Report::new(TaskId(1), 1, TaskState::Running, Timestamp(1), Reason::None, "");
        let large = || Message::Description { report: report.clone(), plan: vec![7; 1 << 20] };
        let queued = (0..MAX_QUEUED).take_while(|_| handle.send(1, large())).count();
        assert_eq!(queued, MAX_QUEUED_BYTES / ((1 << 20) + 256));
        assert!(!handle.send(1, large()));
        let taken = link.outgoing.try_recv().unwrap();
        link.taken(&taken);
        assert!(handle.send(1, large()) && !handle.send(1, large()));
    }
}
