//! Reads leave the threads that decisions run on: long ones (a page of ten thousand tasks, a `why`) take turns on their
//! own, a few at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::Status;

use super::status;
use crate::drive::Follower;
use crate::model::State;

/// Reads at the same time; others wait their turn.
const AT_ONCE: usize = 4;

#[derive(Clone, Debug)]
pub struct Reader {
    follower: Arc<Follower>,
    turns: Arc<Semaphore>,
}

impl Reader {
    pub fn new(follower: Arc<Follower>) -> Self {
        Reader { follower, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// A turn for work that takes its time without holding the state.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().acquire_owned().await.ok()
    }

    /// Looks at the durable state.
    ///
    /// # Errors
    /// INTERNAL when `look` panicked.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce(&State) -> T + Send + 'static) -> Result<T, Status> {
        // The semaphore is never closed; without a turn the read would only be less bounded.
        let turn = self.turns.clone().acquire_owned().await.ok();
        let follower = self.follower.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let looked = follower.read(look);
            drop(turn);
            looked
        });
        looked.await.map_err(|_| status::read_failed())
    }

    /// Changes with every applied batch.
    pub fn index(&self) -> watch::Receiver<u64> {
        self.follower.index()
    }
}
