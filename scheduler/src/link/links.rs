//! Open links and their outgoing queues. A queue that is full closes its link: the agent dials again and reconciles.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use dawn_proto::SpecId;
use dawn_proto::v1::{self, scheduler_message::Message};
use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::model::{AgentNo, LinkId};

/// Messages waiting for one agent at most. An agent has up to 5,000 tasks, all of which may be told to stop at once, while
/// it acknowledges little and what it does not answer is sent again: that must not pass for an agent that is stuck.
const QUEUE: usize = 65_536;

/// Boxed, because a queue takes room for 32 at once, for each of tens of thousands of agents.
type Queue = mpsc::Sender<Box<v1::SchedulerMessage>>;

/// What goes out on a link.
#[derive(Debug)]
pub struct Outgoing(pub(super) mpsc::Receiver<Box<v1::SchedulerMessage>>);

impl Stream for Outgoing {
    type Item = Result<v1::SchedulerMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|message| message.map(|message| Ok(*message)))
    }
}

#[derive(Debug, Default)]
pub struct Links {
    open: Mutex<Open>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    links: HashMap<LinkId, Link>,
    agents: HashMap<AgentNo, LinkId>,
}

#[derive(Debug)]
struct Link {
    queue: Queue,
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
        self.lock().links.insert(link, Link { queue, agent: None, specs: HashSet::new(), _closed: closed });
        (link, Outgoing(outgoing), on_closed)
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

    /// Queues a message; false when the link is gone. A full queue closes the link.
    pub(super) fn send(&self, link: LinkId, message: Message) -> bool {
        self.lock().send(link, message)
    }

    /// Queues the spec before the message unless it went out on this link before.
    pub(super) fn send_with_spec(&self, link: LinkId, id: SpecId, spec: impl FnOnce() -> v1::Spec, message: Message) {
        let mut open = self.lock();
        let Some(found) = open.links.get_mut(&link) else { return };
        if !found.specs.insert(id) || open.send(link, Message::Spec(spec())) {
            open.send(link, message);
        }
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
        let Some(found) = self.links.get(&link) else { return false };
        let sent = found.queue.try_send(Box::new(v1::SchedulerMessage { message: Some(message) }));
        if sent.is_err() {
            let agent = found.agent;
            tracing::warn!(%link, ?agent, waiting = QUEUE, "an agent does not take its messages; closing its link");
            self.close(link);
        }
        sent.is_ok()
    }
}
