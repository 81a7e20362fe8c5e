//! Reading the journal in etcd from its snapshot on, a page at a time. Not here: following it (`follow`).

use std::sync::Arc;

use etcd_client::GetOptions;

use super::error::EtcdError;
use super::keys::end_of;
use super::load::{first_segment, segment_batches, snapshot_state};
use super::store::Store;
use crate::model::{Batch, State};

/// Segments read at once.
const PAGE: i64 = 8;

/// A place in the journal.
pub struct Reader {
    store: Store,
    /// The last batch answered, or the snapshot's.
    index: u64,
    next: Vec<u8>,
}

impl Reader {
    /// Begins at the current snapshot; answers its state.
    ///
    /// # Errors
    /// When it is damaged.
    pub async fn open(store: &Store) -> Result<(Reader, State), EtcdError> {
        let state = snapshot_state(store).await?;
        let next = store.keys.segment(first_segment(store, state.index + 1).await?).into_bytes();
        Ok((Reader { store: store.clone(), index: state.index, next }, state))
    }

    /// The batches that come next; none at the end as of now.
    ///
    /// # Errors
    /// When a segment is missing or damaged: nothing is ever skipped.
    pub async fn next(&mut self) -> Result<Vec<Arc<Batch>>, EtcdError> {
        let mut batches = Vec::new();
        while batches.is_empty() {
            let options = GetOptions::new().with_range(end_of(&self.store.keys.segments())).with_limit(PAGE);
            let mut kv = self.store.kv();
            let page = self.store.call("reading the journal", kv.get(self.next.clone(), Some(options))).await?;
            let Some(last) = page.kvs().last() else { break };
            self.next = last.key().to_vec();
            self.next.push(0);
            for kv in page.kvs() {
                for batch in segment_batches(kv)? {
                    if batch.index <= self.index {
                        continue;
                    }
                    if batch.index != self.index + 1 {
                        let problem = format!("holds batch {} where {} is missing", batch.index, self.index + 1);
                        return Err(EtcdError::Corrupt {
                            key: String::from_utf8_lossy(kv.key()).into_owned(),
                            problem,
                        });
                    }
                    self.index = batch.index;
                    batches.push(batch);
                }
            }
        }
        Ok(batches)
    }
}
