//! How an agent and a leader begin: who it is and what it holds, and what it is told.

use dawn_proto::{Epoch, HeldDigest};

use super::{Offer, Report};

/// Who this is and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterMessage {
    pub agent_id: String,
    pub hostname: String,
    pub cluster_id: String,
    pub offer: Offer,
    /// None are named when `held` is given.
    pub tasks: Vec<Report>,
    /// The same in short: this process was registered before.
    pub held: Option<HeldDigest>,
    pub isolation: String,
    pub boot_id: String,
    pub epoch_seen: Epoch,
    /// The number of the last welcome; 0: none.
    pub welcome: u64,
}

/// What a leader says to an agent that it has registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcomed {
    pub epoch: Epoch,
    pub cluster_id: String,
    pub heartbeat_interval_ms: u64,
    pub lease_ms: u64,
    /// To be remembered and named at the next registration; 0: none is given.
    pub number: u64,
    /// It renews nobody's lease: a copy of this machine was seen.
    pub without_lease: bool,
}
