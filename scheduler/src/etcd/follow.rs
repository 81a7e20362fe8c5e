//! A follower's tail of the journal: every batch after the state's, as it becomes durable.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, EventType, WatchOptions, WatchStream};

use super::error::EtcdError;
use super::keys::end_of;
use super::load::{Loaded, apply_next, catch_up, load, segment_batches};
use super::members::Again;
use super::store::Store;
use crate::model::Batch;

/// Wait before etcd is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What a tail brings.
#[derive(Debug)]
pub enum Tailed {
    Batch(Arc<Batch>),
    /// The tail fell behind a snapshot: go on from this state.
    Reset(Box<crate::model::State>),
}

/// A state kept equal to the journal.
pub struct Tail {
    store: Store,
    loaded: Loaded,
    stream: Option<WatchStream>,
}

impl Tail {
    pub fn new(store: Store, loaded: Loaded) -> Tail {
        Tail { store, loaded, stream: None }
    }

    pub fn state(&self) -> &crate::model::State {
        &self.loaded.state
    }

    pub fn into_state(self) -> crate::model::State {
        self.loaded.state
    }

    /// Reads to the journal's end as of now, linearizable: what a new leader must do before it decides. Each thing is told
    /// in the moment in which this tail's own state has it, so that nothing is missed where reading fails or is broken off.
    ///
    /// # Errors
    /// When etcd does not answer or the journal is damaged.
    pub async fn to_end(&mut self, tell: &mut impl FnMut(Tailed)) -> Result<(), EtcdError> {
        self.stream = None;
        match catch_up(&self.store, &mut self.loaded.state, |batch| tell(Tailed::Batch(batch))).await {
            Ok(revision) => self.loaded.revision = revision,
            Err(EtcdError::Corrupt { .. }) => {
                // Segments we have not read may have been folded into a snapshot; if not, loading finds the same damage.
                self.loaded = load(&self.store).await?;
                tell(Tailed::Reset(Box::new(self.loaded.state.clone())));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells what comes next, as [`Tail::to_end`] does; waits for it. Passing trouble with etcd is waited out.
    ///
    /// # Errors
    /// When the journal is damaged.
    pub async fn next(&mut self, tell: &mut impl FnMut(Tailed)) -> Result<(), EtcdError> {
        let mut told = false;
        loop {
            let mut tell = |tailed| {
                told = true;
                tell(tailed);
            };
            match self.try_next(&mut tell).await {
                Ok(()) => {}
                Err(error) if error.is_passing() => {
                    tracing::warn!("following the journal: {error}; trying again");
                    self.stream = None;
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Err(error) => return Err(error),
            }
            if told {
                return Ok(());
            }
        }
    }

    async fn try_next(&mut self, tell: &mut impl FnMut(Tailed)) -> Result<(), EtcdError> {
        let Some(stream) = &mut self.stream else {
            let prefix = self.store.keys.segments();
            let options = WatchOptions::new()
                .with_range(end_of(&prefix))
                .with_fragment()
                .with_start_revision(self.loaded.revision + 1);
            // What comes at once is what was written since, which nobody bounds but by pieces.
            let watch = |client: Client| {
                let mut watch = client.watch_client().max_decoding_message_size(usize::MAX);
                let (prefix, options) = (prefix.clone(), options.clone());
                async move { watch.watch(prefix, Some(options)).await }
            };
            self.stream = Some(self.store.call("watching the journal", Again::Broken, watch).await?);
            return Ok(());
        };
        let message = stream.message().await;
        let answer = match message {
            Ok(Some(answer)) if !answer.canceled() => answer,
            // Compacted, closed or cut: read on from the keys, then watch again.
            _ => return self.to_end(tell).await,
        };
        for event in answer.events() {
            let (EventType::Put, Some(kv)) = (event.event_type(), event.kv()) else { continue };
            for batch in segment_batches(&self.store, kv)? {
                if apply_next(&mut self.loaded.state, &batch, kv.key())? {
                    tell(Tailed::Batch(batch));
                }
            }
            self.loaded.revision = self.loaded.revision.max(kv.mod_revision());
        }
        Ok(())
    }
}
