//! Jobs whose pending tasks are placed all at once or not at all. A gang takes nobody's room and keeps none while it
//! waits, so two of them can't block each other; it may wait long on a cluster that small jobs keep full.
//! Not here: where its tasks fit.

use std::fmt;

use crate::model::{Mutation, Place, TaskAssigned};

use super::explain::Explained;
use super::fit::View;
use super::numbers::{SlotId, WorkId};
use super::wake::RETRY_MS;
use super::{Placer, Step};

impl Placer {
    /// A gang's turn: its role's fair share waits, its quota does not.
    pub(super) fn take_gang_turn(&mut self, number: WorkId, allowed: usize, step: &mut Step) {
        let is_over_quota = allowed < self.queue.waiting(number).len();
        self.queue.set_over_quota(number, is_over_quota);
        if !is_over_quota && self.place_gang(number, step) {
            self.doubt(self.catalogue.work(number).shape);
            return self.requeue(number);
        }
        self.queue.look_again_at(number, step.now.mono_ms + RETRY_MS);
        self.put_to_sleep(number, step.now);
    }

    /// Places every pending task of the work in this step, or none of them; whether it could.
    fn place_gang(&mut self, number: WorkId, step: &mut Step) -> bool {
        let size = self.queue.waiting(number).len();
        let left = step.left;
        // A gang is bounded by its own size instead.
        step.left = left.max(size);
        let placed = self.place_some(number, size, step);
        if placed < size {
            let changed = self.fleet.changed().len();
            (0..placed).for_each(|_| self.take_back(number, step));
            // What comes back was there before: nobody is woken for it.
            self.fleet.keep_changed(changed);
            step.left = left;
        } else {
            step.left = left.saturating_sub(size);
        }
        placed == size
    }

    /// Undoes the last assignment of this step, which is of this work.
    fn take_back(&mut self, number: WorkId, step: &mut Step) {
        let Some(Mutation::TaskAssigned(TaskAssigned { task, agent, ports, devices })) = step.out.pop() else { return };
        self.queue.undecide();
        self.queue.insert(number, task);
        self.release(SlotId::of_agent(agent), task, &Place { agent, ports, devices });
    }
}

/// Of a gang some of which would find a place.
pub(super) fn describe_waiting(explained: &Explained, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Explained { agents_fit: fit, agents_total: total, room_for, instances, .. } = explained;
    let on = match total {
        1 => "on the only node".to_string(),
        total => format!("on {fit} of {total} nodes"),
    };
    match *room_for as usize {
        room if room < instances.len() => {
            write!(f, "there is room for at most {room} of them {on}, so they wait for more")
        }
        // Rules of the job, or ports, keep them apart.
        _ => write!(f, "each of them would find a place {on}, but not all of them together, so they wait"),
    }
}

impl View<'_> {
    /// For how many tasks of the work a slot that takes one has resources.
    pub(super) fn room_on(self, slot: SlotId, number: WorkId) -> u32 {
        let (row, need) = (self.fleet.slot(slot), &self.catalogue.shape_of(number).need);
        let pairs = need.iter().zip(row.free.iter());
        let times = pairs.filter(|(need, _)| **need > 0).map(|(need, free)| free / need).min();
        let times = times.unwrap_or(i64::MAX).min(row.tasks_free.into());
        u32::try_from(times.max(1)).unwrap_or(u32::MAX)
    }

    pub(super) fn is_gang(self, number: WorkId) -> bool {
        self.catalogue.work(number).spec.job.flow.gang
    }
}
