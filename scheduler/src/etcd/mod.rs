//! The journal's home in etcd, for any number of schedulers, and the election of the one that leads.
//! Not here: what the batches mean, who serves reads.

mod append;
mod election;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod follow;
mod growth;
mod keys;
mod ledger;
mod load;
mod members;
mod pack;
mod proof;
mod read;
mod renewal;
mod restore;
mod snapshot;
mod store;
mod tenure;
#[cfg(test)]
mod tests;
mod trial;
mod witness;

pub use append::{EtcdJournal, WAITS};
pub use election::{Candidate, Leadership, MIN_LEASE_MS, campaign, is_there, leader};
pub use error::EtcdError;
pub use follow::{Tail, Tailed};
pub use keys::Keys;
pub use ledger::{Ask, Guard, Ledger, Outcome, SEGMENT_MUTATIONS};
pub use load::{Head, Loaded, apply_next, claim, head, load};
pub use pack::{PackError, pack_batches, unpack_batches};
pub use read::Reader;
pub use restore::{EtcdRestoreError, restore};
pub use snapshot::{Manifest, manifest, write as write_snapshot};
pub use store::{EtcdConfig, EtcdTls, Store};
pub use tenure::Tenure;
pub use witness::{FILE as SEEN_FILE, Seen, Witness, WitnessError};
