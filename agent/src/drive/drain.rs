//! An agent that is to stop and end its tasks first: it offers nothing, stops them by their lifecycle, and has their ends
//! acknowledged, so that the scheduler has replaced them elsewhere.

use dawn_proto::v1::Reason;
use dawn_proto::{Resources, TaskId};
use tracing::info;

use super::Agent;
use crate::model::{HeldTask, Message, Now};

impl Agent {
    pub(super) fn on_drain(&mut self, now: Now) {
        if self.draining {
            return;
        }
        self.draining = true;
        // A launch that crosses it finds no room.
        self.offer.total = Resources::default();
        self.offer.ports.clear();
        self.offer.epoch += 1;
        self.send(Message::Offer(self.offer.offer()));
        let living: Vec<TaskId> = self.tasks.values().filter(|task| task.is_living()).map(|task| task.id).collect();
        info!(tasks = living.len(), "draining");
        for id in living {
            self.stop_task(id, Reason::NodeDrain, None, now);
        }
    }

    /// Whether nothing of its tasks is left, and everybody knows.
    pub fn is_drained(&self) -> bool {
        let left = |task: &HeldTask| task.is_living() || !task.is_cleaned() || !task.released;
        self.draining && self.waiting.is_empty() && !self.tasks.values().any(|task| left(task))
    }
}
