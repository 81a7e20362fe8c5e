//! The brake: while so many nodes are silent at once that the scheduler itself may be cut off, nothing is given up. What
//! counts is said here once, for decisions and for those who ask.
//!
//! | a node | counts as |
//! | --- | --- |
//! | UP: it was heard within a lease. A new leader takes every node that was UP for heard at its election | heard |
//! | UNREACHABLE or DOWN, with tasks | silent: what was given up before counts until its tasks are settled, since a scheduler that is cut off bit by bit sees its nodes go one after another |
//! | the same, without tasks | nothing: what never ran anything says nothing, and nothing is lost with it |
//! | DOWN by an operator's word; forgotten | nothing |

use super::liveness::not_up;
use super::step::Step;
use crate::model::{Agent, LossMutation, Mutation, Settings, State};

/// The brake is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the brake is on: {silent} of {counted} nodes are silent, more than {percent} % (silent nodes without tasks are not \
     counted), so this scheduler may be cut off itself, and their {tasks} tasks are not replaced until nodes return. Of \
     nodes that are gone for good, say so: `dawn node down NODE…`. To have the tasks of all silent nodes replaced: \
     `dawn admin brake release --for 30m`"
)]
pub struct Brake {
    /// Silent nodes that hold tasks.
    pub silent: usize,
    /// Those, and all that are heard.
    pub counted: usize,
    pub percent: u32,
    /// On silent nodes.
    pub tasks: usize,
}

/// Nodes that fell silent in this very step, which the state does not know yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JustSilent {
    pub nodes: usize,
    pub with_tasks: usize,
}

/// The brake, when it is on and not released.
pub fn brake(state: &State, settings: &Settings) -> Option<Brake> {
    if state.brake_release.is_some() { None } else { brake_but_for_release(state, settings, JustSilent::default()) }
}

/// The same, were it not released.
pub(super) fn brake_but_for_release(state: &State, settings: &Settings, just: JustSilent) -> Option<Brake> {
    let (mut silent, mut tasks) = (just.with_tasks, 0);
    for agent in not_up(state).filter(|agent| agent.declared_down.is_none()) {
        let held = held(state, agent);
        silent += usize::from(held > 0);
        tasks += held;
    }
    let heard = state.agents.len() - state.indexes().agents_not_up.len() - just.nodes;
    let (counted, percent) = (silent + heard, settings.mass_loss_percent);
    (silent * 100 > counted * percent as usize).then_some(Brake { silent, counted, percent, tasks })
}

/// How many tasks an agent holds.
pub(super) fn held(state: &State, agent: &Agent) -> usize {
    state.indexes().tasks_on.get(&agent.no).map_or(0, |tasks| tasks.len())
}

/// Whether it is released now. Ends a release whose time is over.
pub(super) fn is_released(step: &mut Step) -> bool {
    if step.state.brake_release.is_none() {
        return false;
    }
    let goes_on = step.live.brake_back_ms.is_some_and(|back_ms| step.now.mono_ms < back_ms);
    if !goes_on {
        step.mutations.push(Mutation::Loss(LossMutation::BrakeBack));
    }
    goes_on
}

/// A new leader goes on with the release of the one before for what is left of it by the clock, but never for
/// longer than was recorded last.
pub(super) fn carry_over(step: &mut Step) {
    let Some(release) = &step.state.brake_release else { return };
    let for_ms = release.until.since_ms(step.now.wall).min(release.for_ms);
    let goes_on = LossMutation::BrakeReleased { for_ms, author: release.by.clone() };
    step.mutations.push(Mutation::Loss(if for_ms > 0 { goes_on } else { LossMutation::BrakeBack }));
}
