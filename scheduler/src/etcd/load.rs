//! From etcd to a State: who owns the prefix, the current snapshot, and the segments after it.

use std::sync::Arc;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::error::EtcdError;
use super::members::Again;
use super::pack::{unpack, unpack_batches};
use super::snapshot::Manifest;
use super::store::Store;
use crate::model::{Batch, State};
use crate::wire::StateBuilder;

/// The format of the keys: who owns the prefix says it.
pub const FORMAT: u32 = 1;

/// Where the journal ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Of the last batch; 0 in an empty journal.
    pub index: u64,
    /// The head key's exact bytes; None while it is not there.
    pub value: Option<Vec<u8>>,
}

/// A state as of one revision of etcd.
pub struct Loaded {
    pub state: State,
    /// Segments change after it.
    pub revision: i64,
}

/// Makes the prefix ours, or finds that it is; one that is `expected` to be some cluster's is not written to.
///
/// # Errors
/// When it is not Dawn's, another cluster's than `expected` (empty: any), or of a newer format.
pub async fn claim(store: &Store, fresh_cluster_id: &str, expected: &str) -> Result<String, EtcdError> {
    let key = store.keys.meta();
    let ours = format!("dawn {FORMAT} {fresh_cluster_id}");
    let txn = Txn::new().when([Compare::create_revision(key.as_str(), CompareOp::Equal, 0)]).and_then([TxnOp::put(
        key.as_str(),
        ours.as_str(),
        None,
    )]);
    if expected.is_empty() {
        store.transact("claiming the prefix", Again::Broken, txn).await?;
    }
    let found = store.read("reading who owns the prefix", &key).await?;
    let text = found.map(|kv| String::from_utf8_lossy(kv.value()).into_owned()).unwrap_or_default();
    let corrupt = |problem| EtcdError::Corrupt { key: key.clone(), problem };
    if text.is_empty() && !expected.is_empty() {
        let problem =
            format!("is missing, where cluster {expected} was; was etcd restored from a backup, or replaced?");
        return Err(corrupt(problem));
    }
    let mut words = text.split(' ');
    let (Some("dawn"), Some(Ok(format)), Some(cluster)) =
        (words.next(), words.next().map(str::parse::<u32>), words.next())
    else {
        return Err(corrupt(format!("is not Dawn's ({text:?}); choose another --etcd-prefix")));
    };
    if format > FORMAT {
        return Err(corrupt(format!("has format {format}, this version reads up to {FORMAT}; run a newer scheduler")));
    }
    if !expected.is_empty() && cluster != expected {
        return Err(corrupt(format!("belongs to cluster {cluster}, not to {expected}; choose another --etcd-prefix")));
    }
    Ok(cluster.to_string())
}

/// Reads where the journal ends, linearizable: after an election nobody else can move it.
pub async fn head(store: &Store) -> Result<Head, EtcdError> {
    let key = store.keys.head();
    let Some(kv) = store.read("reading the journal's head", &key).await? else { return Ok(Head::default()) };
    let text = String::from_utf8_lossy(kv.value());
    match text.split(' ').next().map(str::parse) {
        Some(Ok(index)) => Ok(Head { index, value: Some(kv.value().to_vec()) }),
        _ => Err(EtcdError::Corrupt { key, problem: format!("is no journal head ({text:?})") }),
    }
}

/// The state at the end of the journal as of some revision, from the snapshot on. Begins anew where another snapshot takes
/// the place of the one it read from.
///
/// # Errors
/// Also when a chunk or a segment is missing or damaged: nothing is ever skipped.
pub async fn load(store: &Store) -> Result<Loaded, EtcdError> {
    loop {
        match try_load(store).await {
            Err(error @ EtcdError::Overtaken { .. }) => tracing::info!("{error}; reading it again"),
            loaded => return loaded,
        }
    }
}

async fn try_load(store: &Store) -> Result<Loaded, EtcdError> {
    store.growth.begin();
    let begun = journal_begun(store).await?;
    let manifest = Manifest::read(store).await?;
    let loaded = load_from(store, manifest.as_ref()).await;
    let loaded = unless_overtaken(store, manifest.as_ref(), loaded).await?;
    if journal_begun(store).await? != begun {
        return Err(EtcdError::Overtaken { what: "a restored journal" });
    }
    Ok(loaded)
}

async fn load_from(store: &Store, manifest: Option<&(Manifest, i64)>) -> Result<Loaded, EtcdError> {
    let mut state = snapshot_state(store, manifest).await?;
    let revision = catch_up(store, &mut state, |_| {}).await?;
    Ok(Loaded { state, revision })
}

/// The revision at which the prefix was claimed, or a journal restored into it: not both can be read as one.
async fn journal_begun(store: &Store) -> Result<i64, EtcdError> {
    let found = store.read("reading who owns the prefix", &store.keys.meta()).await?;
    Ok(found.map_or(0, |kv| kv.mod_revision()))
}

/// What was found from a snapshot on; where it looks damaged because another snapshot has replaced that one, and what it
/// made needless was removed, that is said instead.
pub async fn unless_overtaken<T>(
    store: &Store,
    before: Option<&(Manifest, i64)>,
    found: Result<T, EtcdError>,
) -> Result<T, EtcdError> {
    match found {
        Err(EtcdError::Corrupt { .. }) if Manifest::read(store).await?.as_ref() != before => {
            Err(EtcdError::Overtaken { what: "a newer snapshot" })
        }
        found => found,
    }
}

/// The state of a snapshot; the empty one where there is none.
pub async fn snapshot_state(store: &Store, manifest: Option<&(Manifest, i64)>) -> Result<State, EtcdError> {
    match manifest {
        Some((manifest, _)) => load_snapshot(store, manifest).await,
        None => Ok(State::default()),
    }
}

async fn load_snapshot(store: &Store, manifest: &Manifest) -> Result<State, EtcdError> {
    let mut builder = StateBuilder::default();
    let prefix = store.keys.snapshot(manifest.index, manifest.writer);
    let mut found = 0;
    store
        .read_from("reading a snapshot", &prefix, prefix.clone(), |kv| {
            let key = String::from_utf8_lossy(kv.key()).into_owned();
            let corrupt = |problem: String| EtcdError::Corrupt { key: key.clone(), problem };
            if key != store.keys.chunk(manifest.index, manifest.writer, found) {
                return Err(corrupt(format!("comes where chunk {found} is missing")));
            }
            let bytes = unpack(kv.value()).map_err(|error| corrupt(error.to_string()))?;
            builder.add(&bytes).map_err(|error| corrupt(error.to_string()))?;
            found += 1;
            Ok(())
        })
        .await?;
    if found != manifest.chunks {
        let problem = format!("has {found} of {} chunks; restore a backup", manifest.chunks);
        return Err(EtcdError::Corrupt { key: prefix, problem });
    }
    builder.finish().map_err(|error| EtcdError::Corrupt { key: prefix, problem: error.to_string() })
}

/// Applies every batch after the state's own; tells each one applied. Answers the revision it is true of.
pub async fn catch_up(store: &Store, state: &mut State, mut applied: impl FnMut(Arc<Batch>)) -> Result<i64, EtcdError> {
    // The segment that holds the next batch may start before it: begin at the last one not after it.
    let prefix = store.keys.segments();
    let start = store.keys.segment(first_segment(store, state.index + 1).await?);
    store
        .read_from("reading the journal", &prefix, start, |kv| {
            for batch in segment_batches(store, &kv)? {
                apply_next(state, &batch, kv.key())?.then(|| applied(batch));
            }
            Ok(())
        })
        .await
}

/// Applies the batch if it is the next; passes over one already applied.
///
/// # Errors
/// When one between is missing from the segment under `key`, or from before it.
pub fn apply_next(state: &mut State, batch: &Arc<Batch>, key: &[u8]) -> Result<bool, EtcdError> {
    if batch.index <= state.index {
        return Ok(false);
    }
    if batch.index != state.index + 1 {
        return Err(missing(key, batch, state.index + 1));
    }
    state.apply(batch);
    Ok(true)
}

/// The key holds a batch where another one was to come.
pub fn missing(key: &[u8], batch: &Batch, wanted: u64) -> EtcdError {
    let problem = format!("holds batch {} where {wanted} is missing", batch.index);
    EtcdError::Corrupt { key: String::from_utf8_lossy(key).into_owned(), problem }
}

/// The batches of one segment; its bytes count as growth.
pub fn segment_batches(store: &Store, kv: &etcd_client::KeyValue) -> Result<Vec<Arc<Batch>>, EtcdError> {
    let batches = unpack_batches(kv.value()).map_err(|error| EtcdError::Corrupt {
        key: String::from_utf8_lossy(kv.key()).into_owned(),
        problem: error.to_string(),
    })?;
    if let Some(last) = batches.last() {
        store.growth.add(last.index, kv.value().len());
    }
    Ok(batches)
}

/// First index of the last segment that starts at or before `index`; `index` itself when there is none.
pub async fn first_segment(store: &Store, index: u64) -> Result<u64, EtcdError> {
    use etcd_client::{GetOptions, SortOrder, SortTarget};
    let end = store.keys.segment(index.saturating_add(1));
    let options =
        GetOptions::new().with_range(end).with_sort(SortTarget::Key, SortOrder::Descend).with_limit(1).with_keys_only();
    let answer = store.get("finding a segment", store.keys.segments(), Some(options)).await?;
    Ok(answer.kvs().first().and_then(|kv| store.keys.segment_index(kv.key())).unwrap_or(index))
}
