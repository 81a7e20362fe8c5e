//! What operators may set about placement. Not journaled here: the caller hands them in.

use std::collections::BTreeMap;

use dawn_proto::Resources;

/// What a role may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// What its production jobs are promised; checked when they are submitted, not here.
    pub guarantee: Option<Resources>,
    /// The most its tasks may hold together; checked at every placement.
    pub limit: Option<Resources>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceSettings {
    /// By role; 1 when not named. A role of weight 2 is due twice the dominant share.
    pub role_weights: BTreeMap<String, u32>,
    pub quotas: BTreeMap<String, Quota>,
    /// How far, in millionths of the cluster, a role may run ahead of the next one before it is the other's turn.
    /// Larger is faster, smaller is fairer.
    pub share_slack_ppm: u64,
    /// How long freed room is kept for the task that preempted, beyond the victims' grace period.
    pub nomination_ms: u64,
    /// Most tasks preempted by one call.
    pub max_victims: usize,
    /// Whether anything is preempted at all.
    pub preemption: bool,
}

impl Default for PlaceSettings {
    fn default() -> Self {
        PlaceSettings {
            role_weights: BTreeMap::new(),
            quotas: BTreeMap::new(),
            share_slack_ppm: 1_000,
            nomination_ms: 30_000,
            max_victims: 10_000,
            preemption: true,
        }
    }
}
