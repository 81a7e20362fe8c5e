//! Updates of services and daemon jobs: from one version to the next, instance by instance, and back. All of it is derived from state at
//! every tick, so that a new leader goes on where the one before stood.
//!
//! An instance is *advanced* when it wants what the update's direction wants for it; it has *passed* when that runs and
//! is healthy (or is gone as wanted), and *given up* when it failed more often than it may. Everybody else who makes
//! tasks asks [`Truth::wanted_spec`](crate::model::Truth::wanted_spec), so a crash half way replaces like by like.

mod begin;
mod control;
mod footing;
mod judge;
mod plan;
mod remain;
mod replace;
mod table;
mod tick;
mod waits;

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, v1};

use super::step::Step;
use crate::model::{Job, Mutation, Nominated, Task};

pub use begin::{Diff, diff, has as has_instance, target};
pub(super) use begin::{are_there, is_chosen, not_updating, restart, scale, start, submit};
pub(super) use control::control;
pub use footing::never_healthy;
pub(super) use remain::elected;
pub use remain::{is_surplus, is_switched};
pub(super) use replace::stop_replaced;
pub use tick::cause_of;
pub(super) use tick::tick;
pub use waits::{held_by_sla, never_permits, waits, words_of_held};

/// How long the place of a stopped instance is kept for its next life.
const STAY_MS: u64 = 60_000;

/// Whether an update stopped the task.
pub(super) fn is_updates(reason: Reason) -> bool {
    matches!(reason, Reason::Updated | Reason::Restarted | Reason::RolledBack)
}

/// With a sticky policy the next life of an instance that is being updated goes where the one before was, if it fits.
pub(super) fn stay(step: &mut Step, job: &Job, task: &Task, next: TaskId) {
    let sticky = job.changes.active().is_some_and(|update| update.policy.sticky);
    let Some(agent) = task.status.place().map(|place| place.agent).filter(|_| sticky) else { return };
    let here = step.state.agents.get(&agent);
    if here.is_some_and(|here| here.state == v1::NodeState::Up && here.upkeep.is_none()) {
        let until = step.now.wall.plus_ms(STAY_MS);
        step.mutations.push(Mutation::Nominated(Nominated { task: next, agent, until }));
    }
}
