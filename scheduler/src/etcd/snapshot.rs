//! Snapshots in etcd: chunks first, then one guarded swap of the manifest, then the old ones and their segments go.
//! Whoever holds a state may write one; two writers at once harm nothing.

use etcd_client::{Client, Compare, CompareOp, DeleteOptions, Txn, TxnOp};

use super::error::EtcdError;
use super::keys::end_of;
use super::load::first_segment;
use super::members::Again;
use super::pack::pack;
use super::store::Store;
use crate::model::Truth;
use crate::wire::snapshot_chunks;

/// Which snapshot is the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub index: u64,
    pub writer: u64,
    pub chunks: usize,
}

impl Manifest {
    /// The manifest and its mod revision; None in a cluster without a snapshot.
    pub async fn read(store: &Store) -> Result<Option<(Manifest, i64)>, EtcdError> {
        let key = store.keys.manifest();
        let Some(kv) = store.read("reading the snapshot manifest", &key).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(kv.value()).into_owned();
        let words: Vec<_> = text.split(' ').collect();
        let parsed = match words[..] {
            [index, writer, chunks] => {
                index.parse().ok().zip(u64::from_str_radix(writer, 16).ok()).zip(chunks.parse().ok())
            }
            _ => None,
        };
        match parsed {
            Some(((index, writer), chunks)) => Ok(Some((Manifest { index, writer, chunks }, kv.mod_revision()))),
            None => Err(EtcdError::Corrupt { key, problem: format!("is no snapshot manifest ({text:?})") }),
        }
    }

    pub fn text(&self) -> String {
        format!("{} {:x} {}", self.index, self.writer, self.chunks)
    }
}

/// Of the current snapshot; None where there is none.
pub async fn manifest(store: &Store) -> Result<Option<Manifest>, EtcdError> {
    Ok(Manifest::read(store).await?.map(|(manifest, _)| manifest))
}

/// Writes a snapshot of `state` and removes what it replaces. False when another one is as new.
///
/// # Errors
/// When etcd does not take it; what it already had of it is removed again, as is what the current snapshot replaced and was
/// left behind: to remove needs no space.
pub async fn write(store: &Store, state: &Truth, writer: u64) -> Result<bool, EtcdError> {
    let before = Manifest::read(store).await?;
    if before.as_ref().is_some_and(|(manifest, _)| manifest.index >= state.index) {
        return Ok(false);
    }
    let chunks = snapshot_chunks(state);
    let manifest = Manifest { index: state.index, writer, chunks: chunks.len() };
    if let Err(error) = put_chunks(store, &manifest, &chunks).await {
        let removed = async {
            remove(store, &store.keys.snapshot(state.index, writer)).await?;
            match &before {
                Some((manifest, revision)) => clean(store, manifest, *revision).await,
                None => Ok(()),
            }
        };
        if let Err(kept) = removed.await {
            tracing::warn!("part of a snapshot is left in etcd until the next one: {kept}");
        }
        return Err(error);
    }
    let key = store.keys.manifest();
    let revision = before.map_or(0, |(_, revision)| revision);
    let txn = Txn::new()
        .when([Compare::mod_revision(key.as_str(), CompareOp::Equal, revision)])
        .and_then([TxnOp::put(key.as_str(), manifest.text(), None)]);
    // One that was taken and is sent again would not find the manifest that it replaces.
    let swapped = store.transact("naming the new snapshot", Again::Unsent, txn).await?;
    if !swapped.succeeded() {
        remove(store, &store.keys.snapshot(state.index, writer)).await?;
        return Ok(false);
    }
    let revision = swapped.header().map_or(0, |header| header.revision());
    clean(store, &manifest, revision).await?;
    Ok(true)
}

async fn put_chunks(store: &Store, manifest: &Manifest, chunks: &[Vec<u8>]) -> Result<(), EtcdError> {
    for (number, chunk) in chunks.iter().enumerate() {
        let key = store.keys.chunk(manifest.index, manifest.writer, number);
        store.put("writing a snapshot", &key, &pack(chunk)).await?;
    }
    Ok(())
}

/// Removes older snapshots and the segments that this one covers, and lets etcd forget their history.
async fn clean(store: &Store, manifest: &Manifest, revision: i64) -> Result<(), EtcdError> {
    let kept = store.keys.snapshot(manifest.index, manifest.writer);
    let older = remove_range(store, store.keys.snapshots(), kept.into_bytes()).await?;
    // A segment that starts before the next batch may still hold it.
    let first_kept = first_segment(store, manifest.index + 1).await?;
    let covered = remove_range(store, store.keys.segments(), store.keys.segment(first_kept).into_bytes()).await?;
    // What is removed takes up space for as long as there is history from before.
    let revision = [Some(revision), older, covered].into_iter().flatten().max().unwrap_or(revision);
    let compact = |mut client: Client| async move { client.compact(revision, None).await };
    match store.call("compacting", Again::Broken, compact).await {
        // Another cluster on this etcd compacted further.
        Err(EtcdError::Failed { source: etcd_client::Error::GRpcStatus(status), .. })
            if status.code() == tonic::Code::OutOfRange => {}
        other => _ = other?,
    }
    Ok(())
}

async fn remove(store: &Store, prefix: &str) -> Result<(), EtcdError> {
    remove_range(store, prefix.to_string(), end_of(prefix)).await.map(|_| ())
}

/// Answers the revision that is without them; None: there can be none.
pub async fn remove_range(store: &Store, from: String, to: Vec<u8>) -> Result<Option<i64>, EtcdError> {
    if from.as_bytes() >= to.as_slice() {
        return Ok(None);
    }
    let options = DeleteOptions::new().with_range(to);
    let delete = |mut client: Client| {
        let (from, options) = (from.clone(), options.clone());
        async move { client.delete(from, Some(options)).await }
    };
    let removed = store.call("removing old journal", Again::Broken, delete).await?;
    Ok(removed.header().map(|header| header.revision()))
}
