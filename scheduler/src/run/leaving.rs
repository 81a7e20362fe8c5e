//! Ending in order: who asked for it, what became of it, and how long it may take. Not here: what is waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// A scheduler that was asked to end has ended within this time, whatever hangs: what is in flight is waited for (5 s), then
/// the end of the lease (7 s), then for another one to be elected (5 s), then for open streams (2 s).
pub const STOP_WITHIN: Duration = Duration::from_secs(20);
/// What it decided is durable and its lease has ended within this time, or it gives that up.
pub(super) const HAND_OVER_WITHIN: Duration = Duration::from_secs(13);
/// The answer to one who asked it to leave has gone out within this time.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Between those who ask a scheduler to leave and the scheduler.
#[derive(Debug)]
pub(super) struct Leaving {
    is_asked: AtomicBool,
    asked: Notify,
    answered: Notify,
    /// None until it has ended; then, where that failed, why.
    ended: watch::Sender<Option<Result<(), String>>>,
}

impl Default for Leaving {
    fn default() -> Self {
        let is_asked = AtomicBool::new(false);
        Leaving { is_asked, asked: Notify::new(), answered: Notify::new(), ended: watch::Sender::new(None) }
    }
}

impl Leaving {
    pub fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
        self.asked.notify_one();
    }

    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    /// The one who asked has its answer.
    pub fn answer(&self) {
        self.answered.notify_one();
    }

    pub async fn answered(&self) {
        self.answered.notified().await;
    }

    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// It leads and follows no more.
    pub fn ended(&self, ended: Result<(), String>) {
        self.ended.send_replace(Some(ended));
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// What could not be done.
    pub async fn until_ended(&self) -> Result<(), String> {
        let mut told = self.ended.subscribe();
        let ended = told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        ended.unwrap_or_else(|| Err("it ended without a word".into()))
    }
}
