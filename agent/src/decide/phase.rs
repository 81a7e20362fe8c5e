//! The table of a task's phases on its agent. What is not listed is illegal and changes nothing.

use crate::model::Phase;

/// What moves a task on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The step of the launch under way succeeded.
    Done,
    /// It did, and there are artifacts to be fetched.
    Fetch,
    /// It failed, or a kill came first, and nothing is on disk that a restart would find.
    Refused,
    /// The agent decides its end, to be made durable first.
    Decided,
    /// The executor's log ends it.
    Ended,
    /// The verdict is durable.
    Recorded,
}

impl Trigger {
    pub const ALL: [Trigger; 6] =
        [Trigger::Done, Trigger::Fetch, Trigger::Refused, Trigger::Decided, Trigger::Ended, Trigger::Recorded];
}

/// Every legal move.
const MOVES: [(Phase, Trigger, Phase); 17] = [
    (Phase::Vetting, Trigger::Done, Phase::Checkpointing),
    (Phase::Vetting, Trigger::Refused, Phase::Over),
    (Phase::Checkpointing, Trigger::Done, Phase::Preparing),
    // A plan that could not be written: its torn rest is forgotten by a restart.
    (Phase::Checkpointing, Trigger::Refused, Phase::Over),
    (Phase::Checkpointing, Trigger::Decided, Phase::Deciding),
    (Phase::Preparing, Trigger::Done, Phase::Spawning),
    (Phase::Preparing, Trigger::Decided, Phase::Deciding),
    (Phase::Preparing, Trigger::Fetch, Phase::Fetching),
    (Phase::Fetching, Trigger::Done, Phase::Spawning),
    (Phase::Fetching, Trigger::Decided, Phase::Deciding),
    (Phase::Spawning, Trigger::Done, Phase::Live),
    (Phase::Spawning, Trigger::Decided, Phase::Deciding),
    (Phase::Live, Trigger::Ended, Phase::Over),
    (Phase::Live, Trigger::Decided, Phase::Deciding),
    // The log of an executor given up for dead turned out to hold its end.
    (Phase::Deciding, Trigger::Ended, Phase::Over),
    (Phase::Deciding, Trigger::Recorded, Phase::Over),
    // Told by the log before the start was reported back.
    (Phase::Spawning, Trigger::Ended, Phase::Over),
];

/// Where `trigger` leads from `from`; None when it is illegal there.
pub fn next(from: Phase, trigger: Trigger) -> Option<Phase> {
    MOVES.iter().find(|(phase, taken, _)| (*phase, *taken) == (from, trigger)).map(|(_, _, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_cross_product_moves_forward_or_not_at_all() {
        let mut legal = 0;
        for from in Phase::ALL {
            for trigger in Trigger::ALL {
                if let Some(to) = next(from, trigger) {
                    legal += 1;
                    assert!(to > from, "{from:?} {trigger:?} goes back to {to:?}");
                    assert_ne!(from, Phase::Over, "what is over stays so");
                    assert_eq!(trigger == Trigger::Decided, to == Phase::Deciding, "{from:?} {trigger:?}");
                }
            }
        }
        assert_eq!(legal, MOVES.len(), "no move is listed twice");
    }

    #[test]
    fn every_phase_reaches_its_end() {
        for phase in Phase::ALL {
            let mut at = phase;
            while at != Phase::Over {
                let onward = Trigger::ALL.into_iter().find_map(|trigger| next(at, trigger));
                at = onward.unwrap_or_else(|| panic!("{at:?} is a dead end"));
            }
        }
    }
}
