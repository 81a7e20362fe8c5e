//! Callers that wait for an answer. A caller that is gone is forgotten; its command stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::model::{Answer, Refusal, ReplyTo};

/// An answer with the journal index that reads reflect by now.
#[derive(Debug)]
pub struct Answered {
    pub answer: Result<Answer, Refusal>,
    pub index: u64,
}

/// Bounded by the inbox and the time a caller waits.
#[derive(Debug, Default)]
pub struct Replies {
    waiting: Mutex<HashMap<ReplyTo, oneshot::Sender<Answered>>>,
    next: AtomicU64,
}

impl Replies {
    fn waiting(&self) -> MutexGuard<'_, HashMap<ReplyTo, oneshot::Sender<Answered>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place to wait at.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        let reply = ReplyTo(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, answered) = oneshot::channel();
        self.waiting().insert(reply, sender);
        Waiting { reply, answered, replies: self.clone() }
    }

    /// Nobody is answered any more: the scheduler stops.
    pub fn close(&self) {
        self.waiting().clear();
    }

    /// Answers whoever waits. The follower must reflect `index`.
    pub fn answer(&self, to: ReplyTo, answer: Result<Answer, Refusal>, index: u64) {
        if let Some(sender) = self.waiting().remove(&to) {
            // A caller that left meanwhile needs none.
            _ = sender.send(Answered { answer, index });
        }
    }
}

/// One caller; forgotten when dropped.
#[derive(Debug)]
pub struct Waiting {
    pub reply: ReplyTo,
    pub answered: oneshot::Receiver<Answered>,
    replies: Arc<Replies>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replies.waiting().remove(&self.reply);
    }
}
