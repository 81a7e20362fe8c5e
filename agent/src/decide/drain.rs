//! An agent that is to stop and end its tasks first: it offers nothing, stops them by their lifecycle, and has their ends
//! acknowledged, so that the scheduler has replaced them elsewhere.

use dawn_proto::v1::Reason;
use dawn_proto::{Resources, TaskId};

use super::lease;
use super::step::Step;
use crate::model::{Mutation, Note, OfferState};

pub(super) fn drain_tasks(step: &mut Step) {
    let state = step.state;
    if state.draining {
        return;
    }
    step.change(Mutation::Draining);
    // A launch that crosses it finds no room.
    let epoch = state.offer.epoch + 1;
    step.offer(OfferState { total: Resources::default(), ports: Vec::new(), epoch, ..state.offer.clone() });
    let living: Vec<TaskId> = state.tasks.values().filter(|task| task.is_living()).map(|task| task.id).collect();
    step.note(Note::Draining { tasks: living.len() });
    for id in living {
        lease::stop_task(step, id, Reason::NodeDrain, None);
    }
}
