//! What waits to be decided. Two bounded queues: one for clients, who are refused when it is full, and one for agents'
//! links, which wait, so that neither can keep the other out.

use tokio::sync::{mpsc, oneshot};

use crate::model::{Command, Event, ReplyTo, State};

/// Commands waiting at most.
const COMMANDS: usize = 1024;
/// Messages of agents waiting at most.
const LINK_EVENTS: usize = 8192;

/// The edges' end.
#[derive(Clone, Debug)]
pub struct Inbox {
    commands: mpsc::Sender<Event>,
    links: mpsc::Sender<Event>,
    looks: mpsc::Sender<Look>,
}

/// A look at the leader's own state, between two steps: nothing is decided meanwhile.
pub struct Look(pub(super) Box<dyn FnOnce(&State) + Send>);

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboxFull {
    #[error("{COMMANDS} commands wait already; try again in a moment")]
    Full,
    #[error("the scheduler is stopping; try again in a moment")]
    Stopping,
}

/// The driver's end.
#[derive(Debug)]
pub struct Inboxes {
    pub(super) commands: mpsc::Receiver<Event>,
    pub(super) links: mpsc::Receiver<Event>,
    /// Until the driver takes it.
    pub(super) looks: Option<mpsc::Receiver<Look>>,
}

impl Inbox {
    pub fn new() -> (Inbox, Inboxes) {
        let (commands, commands_out) = mpsc::channel(COMMANDS);
        let (links, links_out) = mpsc::channel(LINK_EVENTS);
        let (looks, looks_out) = mpsc::channel(1);
        let inboxes = Inboxes { commands: commands_out, links: links_out, looks: Some(looks_out) };
        (Inbox { commands, links, looks }, inboxes)
    }

    /// Commands and agents' messages that wait.
    pub fn depths(&self) -> (usize, usize) {
        let depth = |queue: &mpsc::Sender<Event>| queue.max_capacity() - queue.capacity();
        (depth(&self.commands), depth(&self.links))
    }

    /// Hands in a client's command; its answer comes as [`Effect::Reply`](crate::model::Effect::Reply).
    ///
    /// # Errors
    /// When the queue is full or its reader is gone; nothing happens then.
    pub fn command(&self, reply: ReplyTo, command: Command) -> Result<(), InboxFull> {
        self.commands.try_send(Event::Command { reply, command }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => InboxFull::Full,
            mpsc::error::TrySendError::Closed(_) => InboxFull::Stopping,
        })
    }

    /// Looks at the state as the leader has it, durable or not. Holds decisions up for as long as it takes: only for what
    /// a follower can't tell.
    ///
    /// # Errors
    /// When the scheduler stops.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, InboxFull> {
        let (seen, answer) = oneshot::channel();
        let look = Look(Box::new(move |state| _ = seen.send(look(state))));
        self.looks.send(look).await.map_err(|_| InboxFull::Stopping)?;
        answer.await.map_err(|_| InboxFull::Stopping)
    }

    /// Hands in what a link brought; waits while the queue is full, which slows that link alone.
    ///
    /// # Errors
    /// When the scheduler stops.
    pub async fn link_event(&self, event: Event) -> Result<(), InboxFull> {
        self.links.send(event).await.map_err(|_| InboxFull::Stopping)
    }
}

impl Inboxes {
    /// Waits for an event. False: both queues are closed. Cancel safe: what is taken is in `events`.
    pub(super) async fn take_first(&mut self, events: &mut Vec<Event>) -> bool {
        // Whichever is first: all that waits in both is taken after it.
        let first = tokio::select! {
            biased;
            Some(event) = self.commands.recv() => event,
            Some(event) = self.links.recv() => event,
            else => return false,
        };
        events.push(first);
        true
    }

    /// Takes those that wait, at most `limit` from each queue.
    pub(super) fn take_waiting(&mut self, events: &mut Vec<Event>, limit: usize) {
        events.extend(std::iter::from_fn(|| self.commands.try_recv().ok()).take(limit));
        events.extend(std::iter::from_fn(|| self.links.try_recv().ok()).take(limit));
    }
}
