//! What waits to be decided. Two queues, bounded in number and in bytes: one for clients, who are refused when it is full,
//! and one for agents' links, which wait, so that neither can keep the other out. Heartbeats have a third, which is always
//! emptied.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::model::bounds::{COMMAND_QUEUE_BYTES, LINK_QUEUE_BYTES, STEP_BYTES};
use crate::model::{Command, Event, ReplyTo, State};

/// Commands waiting at most.
const COMMANDS: usize = 1024;
/// Messages of agents waiting at most.
const LINK_EVENTS: usize = 8192;

/// The edges' end.
#[derive(Clone, Debug)]
pub struct Inbox {
    commands: mpsc::Sender<Queued>,
    links: mpsc::Sender<Queued>,
    beats: mpsc::Sender<Event>,
    command_bytes: Arc<Semaphore>,
    link_bytes: Arc<Semaphore>,
    looks: mpsc::Sender<Look>,
}

/// An event that waits, and the room it takes until it is taken out.
#[derive(Debug)]
pub(super) struct Queued {
    event: Event,
    room: OwnedSemaphorePermit,
}

/// Of an event in a queue of so many bytes: one that is larger than the queue has it to itself.
fn room_of(event: &Event, queue: usize) -> u32 {
    u32::try_from(event.bytes().min(queue)).unwrap_or(u32::MAX)
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
    #[error(
        "commands of {waiting} bytes wait already, at most {COMMAND_QUEUE_BYTES} may and this one has {bytes}; try again \
         in a moment"
    )]
    FullOfBytes { waiting: usize, bytes: usize },
    #[error("the scheduler is stopping; try again in a moment")]
    Stopping,
}

/// The driver's end.
#[derive(Debug)]
pub struct Inboxes {
    commands: mpsc::Receiver<Queued>,
    links: mpsc::Receiver<Queued>,
    beats: mpsc::Receiver<Event>,
    /// Until the driver takes it.
    pub(super) looks: Option<mpsc::Receiver<Look>>,
}

impl Inbox {
    pub fn new() -> (Inbox, Inboxes) {
        let (commands, commands_out) = mpsc::channel(COMMANDS);
        let (links, links_out) = mpsc::channel(LINK_EVENTS);
        let (beats, beats_out) = mpsc::channel(LINK_EVENTS);
        let (looks, looks_out) = mpsc::channel(1);
        let inboxes = Inboxes { commands: commands_out, links: links_out, beats: beats_out, looks: Some(looks_out) };
        let command_bytes = Arc::new(Semaphore::new(COMMAND_QUEUE_BYTES));
        let link_bytes = Arc::new(Semaphore::new(LINK_QUEUE_BYTES));
        (Inbox { commands, links, beats, command_bytes, link_bytes, looks }, inboxes)
    }

    /// Commands and agents' messages that wait.
    pub fn depths(&self) -> (usize, usize) {
        let depth = |queue: &mpsc::Sender<Queued>| queue.max_capacity() - queue.capacity();
        (depth(&self.commands), depth(&self.links))
    }

    /// Hands in a client's command; its answer comes as [`Effect::Reply`](crate::model::Effect::Reply).
    ///
    /// # Errors
    /// When the queue is full or its reader is gone; nothing happens then.
    pub fn command(&self, reply: ReplyTo, command: Command) -> Result<(), InboxFull> {
        let event = Event::Command { reply, command };
        let bytes = room_of(&event, COMMAND_QUEUE_BYTES);
        let room = self.command_bytes.clone().try_acquire_many_owned(bytes).map_err(|_| {
            let waiting = COMMAND_QUEUE_BYTES.saturating_sub(self.command_bytes.available_permits());
            InboxFull::FullOfBytes { waiting, bytes: bytes as usize }
        })?;
        self.commands.try_send(Queued { event, room }).map_err(|error| match error {
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
        let bytes = room_of(&event, LINK_QUEUE_BYTES);
        // A closed queue lets go of the room that is taken in it, so that this ends too.
        let room = self.link_bytes.clone().acquire_many_owned(bytes).await.map_err(|_| InboxFull::Stopping)?;
        self.links.send(Queued { event, room }).await.map_err(|_| InboxFull::Stopping)
    }
}

impl Inbox {
    /// Hands in an agent's heartbeat: it passes all that waits to be decided, and is heard while nothing is.
    ///
    /// # Errors
    /// When the scheduler stops.
    pub async fn heartbeat(&self, heartbeat: Event) -> Result<(), InboxFull> {
        self.beats.send(heartbeat).await.map_err(|_| InboxFull::Stopping)
    }
}

impl Inboxes {
    /// Waits for an event: a heartbeat always, a command or what a link brought only where asked for. None: the queues are
    /// closed. Cancel safe.
    pub(super) async fn next(&mut self, commands: bool, links: bool) -> Option<Event> {
        // Whichever is first: all that waits in the others is taken after it.
        tokio::select! {
            biased;
            Some(event) = self.beats.recv() => Some(event),
            Some(queued) = self.commands.recv(), if commands => Some(queued.event),
            Some(queued) = self.links.recv(), if links => Some(queued.event),
            else => None,
        }
    }

    /// Takes the heartbeats that wait.
    pub(super) fn take_beats(&mut self, beats: &mut Vec<Event>) {
        beats.extend(std::iter::from_fn(|| self.beats.try_recv().ok()).take(LINK_EVENTS));
    }

    /// Takes the commands that wait: they are refused.
    pub(super) fn take_commands(&mut self, events: &mut Vec<Event>) {
        events.extend(std::iter::from_fn(|| Some(self.commands.try_recv().ok()?.event)).take(COMMANDS));
    }

    /// Takes those that wait: from each queue at most `limit`, and no more than a step's worth of bytes and one.
    pub(super) fn take_waiting(&mut self, events: &mut Vec<Event>, limit: usize) {
        for queue in [&mut self.commands, &mut self.links] {
            let mut bytes = 0;
            let waiting = std::iter::from_fn(|| {
                let next = (bytes < STEP_BYTES).then(|| queue.try_recv().ok()).flatten()?;
                bytes += next.room.num_permits();
                Some(next.event)
            });
            events.extend(waiting.take(limit));
        }
    }
}
