//! The table of an update's moves, after Apache Aurora's JobUpdateStateMachine; not there: promotion, and going back
//! from a state that waits for a pulse.

use dawn_proto::v1::UpdateState::{self, *};

/// What makes an update move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Pause,
    Resume,
    Abort,
    /// A user wants to go back.
    Rollback,
    /// No pulse came in time.
    Silence,
    Pulse,
    /// A canary or the new set is healthy, and waits to be promoted.
    Healthy,
    Promote,
    /// Every instance was judged.
    Complete,
    /// It failed, and goes back if its policy wants that.
    Fail,
    /// It failed, and stays as it is.
    FailForGood,
}

type Row = (&'static [UpdateState], Cause, UpdateState);

const MOVES: &[Row] = &[
    (&[RollingForward, RollForwardAwaitingPulse, AwaitingPromotion], Cause::Pause, RollForwardPaused),
    (&[RollForwardPaused], Cause::Resume, RollingForward),
    (&[RollingForward], Cause::Silence, RollForwardAwaitingPulse),
    (&[RollForwardAwaitingPulse], Cause::Pulse, RollingForward),
    (&[RollingForward], Cause::Healthy, AwaitingPromotion),
    (&[AwaitingPromotion], Cause::Promote, RollingForward),
    (&[RollingForward], Cause::Complete, RolledForward),
    (&[RollingForward], Cause::Fail, RollingBack),
    (&[RollingForward], Cause::FailForGood, UpdateState::Failed),
    (&[RollingForward, RollForwardPaused, RollForwardAwaitingPulse, AwaitingPromotion], Cause::Rollback, RollingBack),
    (&[RollingBack, RollBackAwaitingPulse], Cause::Pause, RollBackPaused),
    (&[RollBackPaused], Cause::Resume, RollingBack),
    (&[RollingBack], Cause::Silence, RollBackAwaitingPulse),
    (&[RollBackAwaitingPulse], Cause::Pulse, RollingBack),
    (&[RollingBack], Cause::Complete, RolledBack),
    // A rollback that fails can't be rolled back.
    (&[RollingBack], Cause::Fail, UpdateState::Error),
    (&[RollingBack], Cause::FailForGood, UpdateState::Error),
    (
        &[
            RollingForward,
            RollForwardPaused,
            RollForwardAwaitingPulse,
            AwaitingPromotion,
            RollingBack,
            RollBackPaused,
            RollBackAwaitingPulse,
        ],
        Cause::Abort,
        Aborted,
    ),
];

/// Where a cause leads; None: not from here.
pub fn next(from: UpdateState, cause: Cause) -> Option<UpdateState> {
    MOVES.iter().find(|(froms, by, _)| froms.contains(&from) && *by == cause).map(|(.., to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{is_back, is_over};

    const CAUSES: [Cause; 11] = [
        Cause::Pause,
        Cause::Resume,
        Cause::Abort,
        Cause::Rollback,
        Cause::Silence,
        Cause::Pulse,
        Cause::Healthy,
        Cause::Promote,
        Cause::Complete,
        Cause::Fail,
        Cause::FailForGood,
    ];

    const STATES: [UpdateState; 12] = [
        RollingForward,
        RollForwardPaused,
        RollForwardAwaitingPulse,
        AwaitingPromotion,
        RollingBack,
        RollBackPaused,
        RollBackAwaitingPulse,
        RolledForward,
        RolledBack,
        Aborted,
        UpdateState::Failed,
        UpdateState::Error,
    ];

    #[test]
    fn the_whole_cross_product_keeps_the_rules() {
        for from in STATES {
            for cause in CAUSES {
                let to = next(from, cause);
                let rows = MOVES.iter().filter(|(froms, by, _)| froms.contains(&from) && *by == cause);
                assert!(rows.count() <= 1, "{from:?} {cause:?} is said twice");
                assert!(!is_over(from) || to.is_none(), "{from:?} is final, {cause:?} leads on");
                if let Some(to) = to {
                    assert_ne!(from, to);
                    // Nothing turns forward again; what turns back was failed or told to.
                    assert!(!is_back(from) || is_back(to) || to == Aborted, "{from:?} {cause:?} {to:?}");
                    let turns = is_back(to) && !is_back(from);
                    assert!(!turns || matches!(cause, Cause::Fail | Cause::Rollback), "{from:?} {cause:?} {to:?}");
                }
            }
            assert!(is_over(from) || next(from, Cause::Abort) == Some(Aborted), "{from:?} can't be aborted");
        }
    }

    #[test]
    fn every_state_that_waits_can_be_left_both_ways() {
        for (waiting, cause, on) in [
            (RollForwardPaused, Cause::Resume, RollingForward),
            (RollForwardAwaitingPulse, Cause::Pulse, RollingForward),
            (AwaitingPromotion, Cause::Promote, RollingForward),
            (RollBackPaused, Cause::Resume, RollingBack),
            (RollBackAwaitingPulse, Cause::Pulse, RollingBack),
        ] {
            assert_eq!(next(waiting, cause), Some(on));
            let leaves = CAUSES.iter().filter(|cause| next(waiting, **cause).is_some()).count();
            assert!(leaves >= 2, "{waiting:?}");
        }
    }
}
