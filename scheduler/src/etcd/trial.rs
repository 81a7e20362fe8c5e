//! Whether etcd takes a transaction as large as the largest of the journal, asked before anybody stands for election.
//! Not here: what becomes of one that may not stand.

use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::error::EtcdError;
use super::members::Again;
use super::store::Store;
use crate::model::bounds::VALUE_BYTES;

/// The largest value of the journal, and what comes on top of it.
const TRIAL_BYTES: usize = VALUE_BYTES + (4 << 10);

/// Has etcd take a transaction of the largest size through its door and its log. Its guard never holds, so nothing is
/// stored: a scheduler that is started again and again does not fill the database.
///
/// # Errors
/// What etcd says against it.
pub async fn trial(store: &Store) -> Result<(), EtcdError> {
    let tried = store.transact("trying a transaction of the largest size", Again::Broken, never(store));
    tried.await.map(|_| ())
}

/// A transaction of the largest size that puts nothing, since its guard never holds.
pub fn never(store: &Store) -> Txn {
    let key = store.keys.trial();
    let never = Compare::create_revision(key.as_str(), CompareOp::Greater, i64::MAX - 1);
    Txn::new().when([never]).and_then([TxnOp::put(key.as_str(), vec![0; TRIAL_BYTES], None)])
}
