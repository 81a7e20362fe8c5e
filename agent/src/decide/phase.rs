//! The table of a task's phases on its agent. What is not listed is illegal and changes nothing.

use crate::model::Phase;

/// What moves a task on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
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

impl Step {
    pub const ALL: [Step; 6] = [Step::Done, Step::Fetch, Step::Refused, Step::Decided, Step::Ended, Step::Recorded];
}

/// Every legal move.
const MOVES: [(Phase, Step, Phase); 17] = [
    (Phase::Vetting, Step::Done, Phase::Checkpointing),
    (Phase::Vetting, Step::Refused, Phase::Over),
    (Phase::Checkpointing, Step::Done, Phase::Preparing),
    // A plan that could not be written: its torn rest is forgotten by a restart.
    (Phase::Checkpointing, Step::Refused, Phase::Over),
    (Phase::Checkpointing, Step::Decided, Phase::Deciding),
    (Phase::Preparing, Step::Done, Phase::Spawning),
    (Phase::Preparing, Step::Decided, Phase::Deciding),
    (Phase::Preparing, Step::Fetch, Phase::Fetching),
    (Phase::Fetching, Step::Done, Phase::Spawning),
    (Phase::Fetching, Step::Decided, Phase::Deciding),
    (Phase::Spawning, Step::Done, Phase::Live),
    (Phase::Spawning, Step::Decided, Phase::Deciding),
    (Phase::Live, Step::Ended, Phase::Over),
    (Phase::Live, Step::Decided, Phase::Deciding),
    // The log of an executor given up for dead turned out to hold its end.
    (Phase::Deciding, Step::Ended, Phase::Over),
    (Phase::Deciding, Step::Recorded, Phase::Over),
    // Told by the log before the start was reported back.
    (Phase::Spawning, Step::Ended, Phase::Over),
];

/// Where `step` leads from `from`; None when it is illegal there.
pub fn next(from: Phase, step: Step) -> Option<Phase> {
    MOVES.iter().find(|(phase, taken, _)| (*phase, *taken) == (from, step)).map(|(_, _, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_cross_product_moves_forward_or_not_at_all() {
        let mut legal = 0;
        for from in Phase::ALL {
            for step in Step::ALL {
                if let Some(to) = next(from, step) {
                    legal += 1;
                    assert!(to > from, "{from:?} {step:?} goes back to {to:?}");
                    assert_ne!(from, Phase::Over, "what is over stays so");
                    assert_eq!(step == Step::Decided, to == Phase::Deciding, "{from:?} {step:?}");
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
                let onward = Step::ALL.into_iter().find_map(|step| next(at, step));
                at = onward.unwrap_or_else(|| panic!("{at:?} is a dead end"));
            }
        }
    }
}
