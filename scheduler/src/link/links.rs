//! Open links and their outgoing queues, bounded in number and in bytes. A queue that is full closes its link: the agent
//! dials again and reconciles. Specs wait as they are in the state, and are made messages when they go out.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use dawn_proto::SpecId;
use dawn_proto::v1::{self, scheduler_message::Message};
use futures_util::Stream;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::dispatch::spec_message;
use super::room::Room;
use crate::model::{AgentNo, LinkId, Spec};

/// Messages waiting for one agent at most. An agent has up to 5,000 tasks, all of which may be told to stop at once, while
/// it acknowledges little and what it does not answer is sent again: that must not pass for an agent that is stuck.
const QUEUE: usize = 65_536;

/// Bytes waiting for one agent at most, specs not counted: a list of all its tasks is far below.
const QUEUE_BYTES: usize = 16 << 20;

/// What waits in a queue.
#[derive(Debug)]
enum Queued {
    /// Boxed, because a queue takes room for 32 at once, for each of tens of thousands of agents.
    Message(Box<v1::SchedulerMessage>),
    Spec(Arc<Spec>),
}

type Queue = mpsc::Sender<Queued>;

/// What goes out on a link.
#[derive(Debug)]
pub struct Outgoing {
    queue: mpsc::Receiver<Queued>,
    bytes: Arc<AtomicUsize>,
}

impl Outgoing {
    /// One message, and no more.
    pub(super) fn only(message: Message) -> Outgoing {
        let (say, queue) = mpsc::channel(1);
        let (message, bytes) =
            (Box::new(v1::SchedulerMessage { message: Some(message) }), Arc::<AtomicUsize>::default());
        bytes.store(message.encoded_len(), Ordering::Relaxed);
        // There is room for one.
        _ = say.try_send(Queued::Message(message));
        Outgoing { queue, bytes }
    }
}

impl Stream for Outgoing {
    type Item = Result<v1::SchedulerMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll_recv(context).map(|queued| match queued? {
            Queued::Message(message) => {
                self.bytes.fetch_sub(message.encoded_len(), Ordering::Relaxed);
                Some(Ok(*message))
            }
            Queued::Spec(spec) => {
                let message = Some(Message::Spec(spec_message(&spec)));
                Some(Ok(v1::SchedulerMessage { message }))
            }
        })
    }
}

#[derive(Debug, Default)]
pub struct Links {
    open: Mutex<Open>,
    next: AtomicU64,
    room: Room,
}

#[derive(Debug, Default)]
struct Open {
    links: HashMap<LinkId, Link>,
    agents: HashMap<AgentNo, LinkId>,
}

#[derive(Debug)]
struct Link {
    queue: Queue,
    /// Of the messages in it.
    bytes: Arc<AtomicUsize>,
    agent: Option<AgentNo>,
    /// Sent on this link already.
    specs: HashSet<SpecId>,
    /// Dropped with the link; ends its session.
    _closed: oneshot::Sender<()>,
}

impl Links {
    /// A new link: its number, what goes out on it, and what resolves when it is closed from this side.
    pub(super) fn open(&self) -> (LinkId, Outgoing, oneshot::Receiver<()>) {
        let link = LinkId(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let (closed, on_closed) = oneshot::channel();
        let bytes = Arc::<AtomicUsize>::default();
        let outgoing = Outgoing { queue: outgoing, bytes: bytes.clone() };
        self.lock().links.insert(link, Link { queue, bytes, agent: None, specs: HashSet::new(), _closed: closed });
        (link, outgoing, on_closed)
    }

    #[cfg(test)]
    pub(super) fn with_room(room: Room) -> Links {
        Links { room, ..Links::default() }
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing under the lock can panic half way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits in the queue is still delivered; nothing more is taken.
    pub(super) fn close(&self, link: LinkId) {
        let mut open = self.lock();
        open.close(link);
    }

    /// The link is the agent's from now on; an older one of it is closed.
    pub(super) fn bind(&self, link: LinkId, agent: AgentNo) {
        let mut open = self.lock();
        let Some(found) = open.links.get_mut(&link) else { return };
        found.agent = Some(agent);
        if let Some(old) = open.agents.insert(agent, link)
            && old != link
        {
            open.close(old);
        }
    }

    /// The agent's link, if it has one.
    pub(super) fn of(&self, agent: AgentNo) -> Option<LinkId> {
        self.lock().agents.get(&agent).copied()
    }

    /// Whose link it is, once the agent is registered.
    pub(super) fn agent_of(&self, link: LinkId) -> Option<AgentNo> {
        self.lock().links.get(&link)?.agent
    }

    /// Queues a message; false when the link is gone. A full queue closes the link.
    pub(super) fn send(&self, link: LinkId, message: Message) -> bool {
        self.lock().send(link, message)
    }

    /// Queues the spec before the message unless it went out on this link before.
    pub(super) fn send_with_spec(&self, link: LinkId, spec: &Arc<Spec>, message: Message) {
        let mut open = self.lock();
        let Some(found) = open.links.get_mut(&link) else { return };
        if !found.specs.insert(spec.id) || open.queue(link, Queued::Spec(spec.clone()), 0) {
            open.send(link, message);
        }
    }

    /// Queues the spec, whether it went out before or not.
    pub(super) fn send_spec(&self, link: LinkId, spec: Arc<Spec>) {
        self.lock().queue(link, Queued::Spec(spec), 0);
    }

    /// The agent says it lacks the spec: it is sent again.
    pub(super) fn forget_spec(&self, link: LinkId, spec: SpecId) {
        if let Some(found) = self.lock().links.get_mut(&link) {
            found.specs.remove(&spec);
        }
    }

    /// Closes every link: the scheduler stops.
    pub fn close_all(&self) {
        let mut open = self.lock();
        open.links.clear();
        open.agents.clear();
    }
}

impl Open {
    fn close(&mut self, link: LinkId) {
        if let Some(agent) = self.links.remove(&link).and_then(|found| found.agent)
            && self.agents.get(&agent) == Some(&link)
        {
            self.agents.remove(&agent);
        }
    }

    fn send(&mut self, link: LinkId, message: Message) -> bool {
        let message = Box::new(v1::SchedulerMessage { message: Some(message) });
        let bytes = message.encoded_len();
        self.queue(link, Queued::Message(message), bytes)
    }

    fn queue(&mut self, link: LinkId, queued: Queued, bytes: usize) -> bool {
        let Some(found) = self.links.get(&link) else { return false };
        let waiting = found.bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = waiting == 0 || waiting + bytes <= QUEUE_BYTES;
        let sent = has_room && found.queue.try_send(queued).is_ok();
        if !sent {
            let (agent, messages) = (found.agent, found.queue.max_capacity() - found.queue.capacity());
            tracing::warn!(
                %link, ?agent, messages, bytes = waiting, "an agent does not take its messages; closing its link"
            );
            self.close(link);
        }
        sent
    }
}
