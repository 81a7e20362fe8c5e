//! When the journal in etcd is folded into a snapshot, and by which of the schedulers. Not here: how one is written.

use std::sync::Arc;
use std::time::Duration;

use super::lead::Signs;
use crate::drive::Follower;
use crate::etcd::{self, EtcdError, Manifest, Store};
use crate::model::bounds::CHUNK_BYTES;

/// Batches in etcd between two snapshots.
const BATCHES: u64 = 20_000;
/// Bytes of segments in etcd between two snapshots: as many as the last snapshot has, within these. So snapshots cost no more
/// than the journal itself, and a small state needs little of etcd's space.
const LEAST_BYTES: u64 = 4 << 20;
const MOST_BYTES: u64 = 64 << 20;
/// How often it is looked whether a snapshot is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After one that could not be saved the next is tried so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What may lie in etcd after a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Most {
    batches: u64,
    bytes: u64,
}

impl Most {
    /// The leader, which has better to do, leaves it to followers for as long again.
    fn after(manifest: Option<&Manifest>, is_leading: bool) -> Most {
        let whole_chunks = manifest.map_or(0, |manifest| manifest.chunks.saturating_sub(1));
        let bytes = ((whole_chunks * CHUNK_BYTES) as u64).clamp(LEAST_BYTES, MOST_BYTES);
        let times = if is_leading { 2 } else { 1 };
        Most { batches: BATCHES * times, bytes: bytes * times }
    }
}

/// Whoever folds the journal.
pub struct Folding {
    pub store: Store,
    pub follower: Arc<Follower>,
    pub signs: Arc<Signs>,
    /// Keeps what two schedulers write apart.
    pub writer: u64,
}

impl Folding {
    /// Takes a snapshot whenever the journal has grown by so much: followers first, and the leader only when nobody else
    /// did. It is made of a copy that shares what it holds, so that nobody waits for it.
    pub async fn keep(self) {
        let mut index = self.follower.index();
        let mut current = None;
        while index.changed().await.is_ok() {
            let at = *index.borrow_and_update();
            let again = match self.fold_if_due(&mut current, at).await {
                Ok(Some(index)) => {
                    tracing::info!(index, "saved a snapshot in etcd");
                    LOOK_EVERY
                }
                Ok(None) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!("a snapshot could not be saved in etcd: {error}; the journal grows until one can");
                    AGAIN_AFTER
                }
            };
            tokio::time::sleep(again).await;
        }
    }

    /// `current`: the snapshot as it was when etcd was last asked; another one may be newer.
    async fn fold_if_due(&self, current: &mut Option<Manifest>, at: u64) -> Result<Option<u64>, EtcdError> {
        if !self.is_due(current.as_ref(), at) {
            return Ok(None);
        }
        *current = etcd::manifest(&self.store).await?;
        if !self.is_due(current.as_ref(), at) {
            return Ok(None);
        }
        // What a follower has applied is durable.
        let state = self.follower.read(|state| state.truth().clone());
        let written = etcd::write_snapshot(&self.store, &state, self.writer).await?;
        *current = etcd::manifest(&self.store).await?;
        Ok(written.then_some(state.index))
    }

    fn is_due(&self, current: Option<&Manifest>, at: u64) -> bool {
        let most = Most::after(current, self.signs.role.borrow().is_leading());
        let index = current.map_or(0, |manifest| manifest.index);
        at > index && (at - index >= most.batches || self.store.growth.after(index) >= most.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_may_come_as_the_snapshot_has_within_bounds_and_twice_that_before_the_leader_takes_one() {
        let manifest = |chunks| Manifest { index: 7, writer: 1, chunks };
        let bytes = |chunks, leads| Most::after(Some(&manifest(chunks)), leads).bytes;
        assert_eq!(Most::after(None, false), Most { batches: BATCHES, bytes: LEAST_BYTES });
        assert_eq!(Most::after(None, true), Most { batches: 2 * BATCHES, bytes: 2 * LEAST_BYTES });
        assert_eq!((bytes(1, false), bytes(1_000, false)), (LEAST_BYTES, MOST_BYTES));
        assert_eq!(bytes(21, true), 2 * 20 * CHUNK_BYTES as u64);
    }
}
