//! Reading the journal in etcd from its snapshot on, a page at a time. Not here: following it (`follow`).

use std::sync::Arc;

use super::error::EtcdError;
use super::load::{first_segment, segment_batches, snapshot_state, unless_overtaken};
use super::snapshot::Manifest;
use super::store::{Pages, Store};
use crate::model::{Batch, State};

/// A place in the journal.
pub struct Reader {
    store: Store,
    /// The snapshot it began at.
    manifest: Option<(Manifest, i64)>,
    /// The last batch answered, or the snapshot's.
    index: u64,
    next: Vec<u8>,
    pages: Pages,
}

impl Reader {
    /// Begins at the current snapshot; answers its state.
    ///
    /// # Errors
    /// When it is damaged, or another one replaced it meanwhile.
    pub async fn open(store: &Store) -> Result<(Reader, State), EtcdError> {
        let manifest = Manifest::read(store).await?;
        let found = snapshot_state(store, manifest.as_ref()).await;
        let state = unless_overtaken(store, manifest.as_ref(), found).await?;
        let next = store.keys.segment(first_segment(store, state.index + 1).await?).into_bytes();
        let reader = Reader { store: store.clone(), manifest, index: state.index, next, pages: Pages::default() };
        Ok((reader, state))
    }

    /// The batches that come next; none at the end as of now.
    ///
    /// # Errors
    /// When a segment is missing or damaged: nothing is ever skipped. Also when a newer snapshot has replaced what was to
    /// be read next.
    pub async fn next(&mut self) -> Result<Vec<Arc<Batch>>, EtcdError> {
        let found = self.try_next().await;
        unless_overtaken(&self.store, self.manifest.as_ref(), found).await
    }

    async fn try_next(&mut self) -> Result<Vec<Arc<Batch>>, EtcdError> {
        let prefix = self.store.keys.segments();
        let mut batches = Vec::new();
        while batches.is_empty() {
            let page = self.store.page("reading the journal", &prefix, &self.next, &mut self.pages).await?;
            let Some(last) = page.kvs().last() else { break };
            self.next = last.key().to_vec();
            self.next.push(0);
            for kv in page.kvs() {
                for batch in segment_batches(&self.store, kv)? {
                    if batch.index <= self.index {
                        continue;
                    }
                    if batch.index != self.index + 1 {
                        return Err(super::load::missing(kv.key(), &batch, self.index + 1));
                    }
                    self.index = batch.index;
                    batches.push(batch);
                }
            }
        }
        Ok(batches)
    }
}
