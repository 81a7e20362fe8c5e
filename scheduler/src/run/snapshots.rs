//! Snapshots, taken from the follower: the leader never stops for one.

use std::sync::Arc;

use crate::drive::Follower;
use crate::journal::{Due, Snapshots};
use crate::wire;

/// Saves a snapshot whenever one is due, of a copy that shares what it holds with the follower's state: nobody waits for it.
/// A failure is told and tried again when the next is due.
pub async fn keep(snapshots: Snapshots, due: Arc<Due>, follower: Arc<Follower>) {
    loop {
        due.wait().await;
        let (snapshots, follower) = (snapshots.clone(), follower.clone());
        let saved = tokio::task::spawn_blocking(move || {
            let frozen = follower.read(|state| state.truth().clone());
            let (index, chunks) = (frozen.index, wire::snapshot_chunks(&frozen));
            drop(frozen);
            let bytes: usize = chunks.iter().map(Vec::len).sum();
            snapshots.save(index, &chunks).map(|()| (index, bytes))
        });
        match saved.await {
            Ok(Ok((index, bytes))) => {
                due.saved(bytes as u64);
                tracing::info!(index, bytes, "saved a snapshot");
            }
            Ok(Err(error)) => tracing::error!(%error, "a snapshot could not be saved; the journal grows until one can"),
            Err(_) => tracing::error!("taking a snapshot panicked"),
        }
    }
}
