//! What a client sends, bounded by the credit it was given: reading it never waits, so a vanished client is always seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dawn_proto::v1::reach_up::Message as Up;
use tokio::sync::mpsc;

/// Bytes a client may have sent that were not used yet. The client knows the same number.
pub const CREDIT_BYTES: usize = 256 << 10;
/// Messages waiting; a client that sends more than this is cut off.
const MESSAGES: usize = 4_096;

/// The session's end.
pub struct Inbox {
    messages: mpsc::Receiver<Up>,
    held: Arc<AtomicUsize>,
}

/// The tunnel's end.
pub struct Feed {
    messages: mpsc::Sender<Up>,
    held: Arc<AtomicUsize>,
}

pub fn inbox() -> (Inbox, Feed) {
    let (sender, messages) = mpsc::channel(MESSAGES);
    let held = Arc::<AtomicUsize>::default();
    (Inbox { messages, held: held.clone() }, Feed { messages: sender, held })
}

impl Feed {
    /// False: the client sent more than it was allowed. Once the session is over what still comes is for nobody; cutting
    /// the client off then would cost it the session's last words, which may still be on their way.
    pub fn take(&self, message: Up) -> bool {
        if self.messages.is_closed() {
            return true;
        }
        if let Up::Data(data) = &message
            && self.held.fetch_add(data.len(), Ordering::Relaxed) + data.len() > CREDIT_BYTES
        {
            return false;
        }
        self.messages.try_send(message).is_ok()
    }
}

impl Inbox {
    /// None: the client is gone.
    pub async fn next(&mut self) -> Option<Up> {
        self.messages.recv().await
    }

    /// Takes note of data that was used; to be told to the client as credit.
    pub fn used(&self) -> Used {
        Used(self.held.clone())
    }
}

/// Counts what was used.
pub struct Used(Arc<AtomicUsize>);

impl Used {
    /// `bytes` of it were used: the credit to be told.
    pub fn credit(&self, bytes: usize) -> u64 {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
        bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_sends_more_than_its_credit_is_cut_off() {
        let (mut inbox, feed) = inbox();
        assert!(feed.take(Up::Data(vec![0; CREDIT_BYTES])));
        assert!(!feed.take(Up::Data(vec![0])), "above the credit");
        let (mut inbox2, feed2) = self::inbox();
        assert!(feed2.take(Up::Data(vec![0; CREDIT_BYTES])));
        let Some(Up::Data(data)) = inbox2.next().await else { panic!("no data") };
        assert_eq!(inbox2.used().credit(data.len()), CREDIT_BYTES as u64);
        assert!(feed2.take(Up::Data(vec![0; CREDIT_BYTES])), "used up and given again");
        drop(inbox2);
        assert!(feed2.take(Up::End(true)), "the session is over, and its last words are not cut off");
        drop(feed);
        assert!(inbox.next().await.is_some() && inbox.next().await.is_none());
    }
}
