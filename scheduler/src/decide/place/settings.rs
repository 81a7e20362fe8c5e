//! What operators may set about placement. Not here: quotas and weights of roles, which are in the state.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceSettings {
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
        PlaceSettings { share_slack_ppm: 1_000, nomination_ms: 30_000, max_victims: 10_000, preemption: true }
    }
}
