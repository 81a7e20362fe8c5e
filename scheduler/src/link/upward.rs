//! What an agent said on its way to the pulse. While the pulse takes nothing the link is read on, so that heartbeats are
//! heard behind whatever waits; bounded, in order, and reports, which the agent says again, make room.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

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
    waiting: VecDeque<(Event, usize)>,
    bytes: usize,
}

impl Upward {
    pub fn new(inbox: Inbox) -> Upward {
        Upward { inbox, sending: None, waiting: VecDeque::new(), bytes: 0 }
    }

    /// Hands it on, now or when the pulse has room. A report beyond what may wait is dropped: the agent keeps it until it is
    /// acknowledged.
    pub fn push(&mut self, event: Event, bytes: usize) {
        if self.sending.is_none() {
            return self.send(event);
        }
        if self.is_full() && matches!(event, Event::Reported { .. }) {
            return;
        }
        self.bytes += bytes;
        self.waiting.push_back((event, bytes));
    }

    /// Whether the link should be read on: not while more waits than may, but for what can't be dropped.
    pub fn reads_on(&self) -> bool {
        self.waiting.len() <= MAX_EVENTS && self.bytes <= MAX_BYTES
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    fn send(&mut self, event: Event) {
        let inbox = self.inbox.clone();
        self.sending = Some(Box::pin(async move { inbox.link_event(event).await }));
    }

    /// Waits until the pulse has taken the first that waits; for ever when nothing does. Cancel safe.
    ///
    /// # Errors
    /// When the scheduler stops.
    pub async fn sent(&mut self) -> Result<(), InboxFull> {
        let Some(sending) = &mut self.sending else { return std::future::pending().await };
        let sent = sending.await;
        self.sending = None;
        if let Some((event, bytes)) = self.waiting.pop_front() {
            self.bytes -= bytes;
            self.send(event);
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
