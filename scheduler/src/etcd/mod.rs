//! The journal's home in etcd, for any number of schedulers, and the election of the one that leads.
//! Not here: what the batches mean, who serves reads.

mod append;
mod election;
#[cfg(test)]
pub(crate) mod fixture;
mod follow;
mod keys;
mod load;
mod pack;
mod read;
mod restore;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod witness;

pub use append::EtcdJournal;
pub use election::{Leadership, MIN_LEASE_MS, campaign, leader};
pub use follow::{Tail, Tailed};
pub use load::{Head, Loaded, claim, head, load};
pub use read::Reader;
pub use restore::{EtcdRestoreError, restore};
pub use snapshot::{index as snapshot_index, write as write_snapshot};
pub use store::{EtcdConfig, EtcdError, EtcdTls, Store};
pub use witness::{Seen, Witness, WitnessError};
