//! Whose orders count: nothing below the highest epoch seen, nothing from another cluster.

use dawn_proto::Epoch;

/// What to do with a message of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// A newer leader: remember it durably, then obey.
    Raise,
    Obey,
    /// From a leader that is not one any more: ignore it and drop the link.
    Stale,
    /// Above [`MAX_EPOCH`]: believed, it would leave no number for the leaders after it.
    Absurd,
}

/// No cluster counts so far: etcd's revisions and the numbers after a restore stay far below.
pub const MAX_EPOCH: Epoch = Epoch(1 << 62);

/// Holds a message's epoch against the highest seen.
pub fn epoch(seen: Epoch, got: Epoch) -> Fence {
    match got.cmp(&seen) {
        std::cmp::Ordering::Greater if got > MAX_EPOCH => Fence::Absurd,
        std::cmp::Ordering::Greater => Fence::Raise,
        std::cmp::Ordering::Equal => Fence::Obey,
        std::cmp::Ordering::Less => Fence::Stale,
    }
}

/// Whether an agent of cluster `known` may serve `told`; an agent that has never registered serves any.
pub fn cluster(known: &str, told: &str) -> bool {
    known.is_empty() || known == told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lower_epoch_is_stale() {
        assert_eq!(epoch(Epoch(3), Epoch(2)), Fence::Stale);
        assert_eq!(epoch(Epoch(3), Epoch(3)), Fence::Obey);
        assert_eq!(epoch(Epoch(3), Epoch(4)), Fence::Raise);
        assert_eq!(epoch(Epoch(3), MAX_EPOCH), Fence::Raise);
        assert_eq!(epoch(Epoch(3), Epoch(u64::MAX)), Fence::Absurd);
    }

    #[test]
    fn a_cluster_once_known_is_the_only_one() {
        assert!(cluster("", "a"));
        assert!(cluster("a", "a"));
        assert!(!cluster("a", "b"));
        assert!(!cluster("a", ""));
    }
}
