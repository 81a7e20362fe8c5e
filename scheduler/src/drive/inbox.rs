//! What waits to be decided. Two bounded queues: one for clients, who are refused when it is full, and one for agents'
//! links, which wait, so that neither can keep the other out.

use tokio::sync::mpsc;

use crate::model::{Command, Event, ReplyTo};

/// Commands waiting at most.
const COMMANDS: usize = 1024;
/// Messages of agents waiting at most.
const LINK_EVENTS: usize = 8192;

/// The edges' end.
#[derive(Clone, Debug)]
pub struct Inbox {
    commands: mpsc::Sender<Event>,
    links: mpsc::Sender<Event>,
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
}

impl Inbox {
    pub fn new() -> (Inbox, Inboxes) {
        let (commands, commands_out) = mpsc::channel(COMMANDS);
        let (links, links_out) = mpsc::channel(LINK_EVENTS);
        (Inbox { commands, links }, Inboxes { commands: commands_out, links: links_out })
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
        let first = tokio::select! {
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
