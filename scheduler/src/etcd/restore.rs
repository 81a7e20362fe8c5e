//! A journal in etcd that begins anew with a state: its chunks beside what is there, then one transaction that puts the
//! new journal in the place of the old, guarded by there being no leader nor candidate.

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp};

use super::error::EtcdError;
use super::keys::end_of;
use super::load::FORMAT;
use super::members::Again;
use super::pack::{pack, pack_batches};
use super::snapshot::{Manifest, remove_range};
use super::store::Store;
use super::{claim, head};
use crate::model::{Batch, State};
use crate::wire::snapshot_chunks;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum EtcdRestoreError {
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error("a scheduler uses {prefix} in etcd ({who}); stop every scheduler of the cluster, then restore")]
    InUse { prefix: String, who: String },
    #[error(
        "{prefix} in etcd holds a journal, up to batch {index}; give another --etcd-prefix, or --replace to overwrite it"
    )]
    Occupied { prefix: String, index: u64 },
}

/// Makes `state` and the batch after it what the prefix holds; without `replace` there must be nothing.
///
/// # Errors
/// When the prefix is in use, occupied or another cluster's, and what etcd answers. Nothing is changed then, but that
/// chunks may be left, which the next snapshot removes.
pub async fn restore(store: &Store, state: &State, batch: &Batch, replace: bool) -> Result<(), EtcdRestoreError> {
    let prefix = store.keys.prefix().to_string();
    let owned = store.read("reading who owns the prefix", &store.keys.meta()).await?.is_some();
    if owned {
        claim(store, "", &state.cluster_id).await?;
    }
    nobody_there(store).await?;
    let before = match (head(store).await, replace) {
        (Ok(head), _) => head.index,
        // Damaged: what else is a backup for?
        (Err(EtcdError::Corrupt { .. }), true) => 0,
        (Err(error), _) => return Err(error.into()),
    };
    if before > 0 && !replace {
        return Err(EtcdRestoreError::Occupied { prefix, index: before });
    }
    let chunks = snapshot_chunks(state);
    let writer = u64::from(std::process::id());
    for (number, chunk) in chunks.iter().enumerate() {
        let key = store.keys.chunk(state.index, writer, number);
        store.put("writing the backup's state", &key, &pack(chunk)).await?;
    }
    let manifest = Manifest { index: state.index, writer, chunks: chunks.len() };
    if !swap(store, &manifest, state, batch).await? {
        nobody_there(store).await?;
        return Err(EtcdRestoreError::InUse { prefix, who: "it came and went meanwhile".into() });
    }
    let kept = store.keys.snapshot(manifest.index, manifest.writer);
    remove_range(store, store.keys.snapshots(), kept.clone().into_bytes()).await?;
    let after = String::from_utf8_lossy(&end_of(&kept)).into_owned();
    remove_range(store, after, end_of(&store.keys.snapshots())).await?;
    Ok(())
}

async fn nobody_there(store: &Store) -> Result<(), EtcdRestoreError> {
    let election = format!("{}/", store.keys.election());
    let mut who = Vec::new();
    let each = |kv: etcd_client::KeyValue| {
        who.push(String::from_utf8_lossy(kv.value()).into_owned());
        Ok(())
    };
    store.read_from("asking who leads", &election, election.clone(), each).await?;
    match who.is_empty() {
        true => Ok(()),
        false => Err(EtcdRestoreError::InUse { prefix: store.keys.prefix().to_string(), who: who.join(", ") }),
    }
}

/// False: somebody stands for election.
async fn swap(store: &Store, manifest: &Manifest, state: &State, batch: &Batch) -> Result<bool, EtcdError> {
    let keys = &store.keys;
    let (first, segment) = (keys.segments(), keys.segment(batch.index));
    let after = format!("{segment}\0");
    let range = |end: Vec<u8>| Some(DeleteOptions::new().with_range(end));
    let election = format!("{}/", keys.election());
    let nobody = Compare::create_revision(election.as_str(), CompareOp::Equal, 0).with_range(end_of(&election));
    let value = pack_batches(&[std::sync::Arc::new(batch.clone())]);
    let ops = [
        TxnOp::delete(first.as_str(), range(segment.clone().into_bytes())),
        TxnOp::delete(after, range(end_of(&first))),
        TxnOp::put(segment, value, None),
        TxnOp::put(keys.head(), format!("{} {}", batch.index, batch.epoch), None),
        TxnOp::put(keys.manifest(), manifest.text(), None),
        TxnOp::put(keys.meta(), format!("dawn {FORMAT} {}", state.cluster_id), None),
    ];
    let txn = Txn::new().when([nobody]).and_then(ops);
    Ok(store.transact("putting the restored journal in place", Again::Unsent, txn).await?.succeeded())
}
