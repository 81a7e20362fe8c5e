//! The table of a task's moves. Not here: what a replacement looks like (`retry`), what an agent is told (`effects`).
//! After the table of Apache Aurora's TaskStateMachine; the tests beside it name every difference and its reason.

use dawn_proto::TaskState;
use dawn_proto::TaskState::*;

/// What goes with a legal move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Nothing,
    /// The agent is told to stop it.
    Kill,
    /// The instance failed once more; whether another life follows is its job's policy.
    Failure,
    /// It ended through no fault of its own: another life at once.
    Replace,
    /// Both: Dawn gives it up, wherever it may live.
    KillAndReplace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Move(Then),
    /// It is there already.
    Same,
    /// Not to be, and nothing comes of it: old news.
    Illegal,
    /// Not to be: whoever says it lives is told to stop it.
    IllegalKill,
}

type Row = (&'static [TaskState], &'static [TaskState], Then);

/// Every legal move: any of the first to any of the second.
const MOVES: &[Row] = &[
    (&[Throttled], &[Pending, Killed], Then::Nothing),
    (&[Pending], &[Assigned, Killed], Then::Nothing),
    (&[Assigned], &[Starting, Running], Then::Nothing),
    (&[Starting], &[Running], Then::Nothing),
    (&[Assigned, Starting, Running], &[Partitioned, Finished], Then::Nothing),
    (&[Assigned, Starting, Running], &[Preempting, Restarting, Draining, Killing], Then::Kill),
    (&[Assigned, Starting, Running, Partitioned], &[Failed], Then::Failure),
    (&[Assigned, Starting, Running, Partitioned], &[Killed], Then::Replace),
    (&[Assigned, Starting, Running, Partitioned], &[Lost], Then::KillAndReplace),
    (&[Partitioned], &[Starting, Running, Finished], Then::Nothing),
    (&[Partitioned], &[Killing], Then::Kill),
    (&[Preempting, Restarting, Draining], &[Killing], Then::Kill),
    (&[Preempting, Restarting, Draining], &[Finished, Failed, Killed], Then::Replace),
    (&[Preempting, Restarting, Draining], &[Lost], Then::KillAndReplace),
    (&[Killing], &[Finished, Failed, Killed], Then::Nothing),
    (&[Killing], &[Lost], Then::Kill),
];

/// What the table says about a move. `from` is None for a task that is not in the state.
pub fn rule(from: Option<TaskState>, to: TaskState) -> Rule {
    if from == Some(to) {
        return Rule::Same;
    }
    let row = from.and_then(|from| MOVES.iter().find(|(froms, tos, _)| froms.contains(&from) && tos.contains(&to)));
    if let Some((_, _, then)) = row {
        return Rule::Move(*then);
    }
    // Launches leave only once they are durable and ids are never used again: what runs without a task in the state, or
    // with one that ended, was stopped or given up by a committed decision. The kill repeats that decision.
    let should_not_live = from.is_none_or(|from| from.is_stopping() || from.is_terminal());
    match to {
        Assigned | Starting | Running if should_not_live => Rule::IllegalKill,
        _ => Rule::Illegal,
    }
}

#[cfg(test)]
mod tests;
