//! What an agent said on its way to the pulse. While the pulse takes nothing the link is read on, so that heartbeats are
//! heard behind whatever waits; bounded for the link and for all of them, in order, and reports, which the agent says again,
//! make room.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use tokio::sync::OwnedSemaphorePermit;

use super::room::{NoRoom, Room};
use crate::drive::{Inbox, InboxFull};
use crate::model::Event;

/// Waiting at most, of one link.
const MAX_EVENTS: usize = 256;
const MAX_BYTES: usize = 1 << 20;

type Sending = Pin<Box<dyn Future<Output = Result<(), InboxFull>> + Send>>;

pub(super) struct Upward {
    inbox: Inbox,
    sending: Option<Sending>,
    /// With the size of the message that each came in.
    waiting: VecDeque<(Event, usize, OwnedSemaphorePermit)>,
    bytes: usize,
    room: Room,
}

impl Upward {
    pub fn new(inbox: Inbox, room: Room) -> Upward {
        Upward { inbox, sending: None, waiting: VecDeque::new(), bytes: 0, room }
    }

    /// Hands it on, now or when the pulse has room. A report beyond what may wait is dropped: the agent keeps it until it is
    /// acknowledged.
    ///
    /// # Errors
    /// When so much waits at all links that this can't: the link is to be closed, the agent says it again.
    pub fn push(&mut self, event: Event, bytes: usize) -> Result<(), NoRoom> {
        let is_report = matches!(event, Event::Reported { .. });
        let room = match self.room.bytes(event.bytes()) {
            Ok(room) => room,
            Err(_) if is_report => return Ok(()),
            Err(none) => return Err(none),
        };
        if self.sending.is_none() {
            self.send(event, room);
        } else if !(is_report && self.is_full()) {
            self.bytes += bytes;
            self.waiting.push_back((event, bytes, room));
        }
        Ok(())
    }

    /// Whether the link should be read on: not while more waits than may, but for what can't be dropped.
    pub fn reads_on(&self) -> bool {
        self.waiting.len() <= MAX_EVENTS && self.bytes <= MAX_BYTES
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    fn send(&mut self, event: Event, room: OwnedSemaphorePermit) {
        let inbox = self.inbox.clone();
        self.sending = Some(Box::pin(async move {
            let sent = inbox.link_event(event).await;
            drop(room);
            sent
        }));
    }

    /// Waits until the pulse has taken the first that waits; for ever when nothing does. Cancel safe.
    ///
    /// # Errors
    /// When the scheduler stops.
    pub async fn sent(&mut self) -> Result<(), InboxFull> {
        let Some(sending) = &mut self.sending else { return std::future::pending().await };
        let sent = sending.await;
        self.sending = None;
        if let Some((event, bytes, room)) = self.waiting.pop_front() {
            self.bytes -= bytes;
            self.send(event, room);
        }
        sent
    }

    /// Waits until the pulse has taken all of it: nothing comes any more.
    ///
    /// # Errors
    /// When the scheduler stops.
    pub async fn drain(&mut self) -> Result<(), InboxFull> {
        while self.sending.is_some() {
            self.sent().await?;
        }
        Ok(())
    }
}
