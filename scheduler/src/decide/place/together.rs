//! What changes several parts at once: a task that takes room or gives it back, a claim made or given back, a work that begins or
//! ends. Everything else that placement does goes through these. Not here: why it is done.

use std::sync::Arc;

use dawn_proto::{TaskId, Timestamp};

use crate::model::{Place, Spec, State, Task};

use super::Placer;
use super::claims::Claim;
use super::fleet::Held;
use super::numbers::{SlotId, WorkId};
use super::queue::band_of;

impl Placer {
    /// A task takes room on the slot. `place`: None: choose ports and devices; where it is then is the answer.
    #[inline]
    pub(super) fn hold(&mut self, slot: SlotId, holder: Held, place: Option<&Place>) -> Place {
        let number = holder.work();
        let work = self.catalogue.work(number);
        let shape = self.catalogue.shape(work.shape);
        let chosen = self.fleet.hold(slot, holder, work, shape, place);
        self.queue.hold(work, &shape.need);
        let name = work.name;
        self.catalogue.count(number, slot, true);
        if !self.queue.nobody_watches() {
            self.wake_watchers(name);
        }
        chosen
    }

    /// A task gives back what it held. Nothing happens when it holds nothing there.
    pub(super) fn release(&mut self, slot: SlotId, task: TaskId, place: &Place) {
        let Some(holder) = self.fleet.unlist(slot, task) else { return };
        let number = holder.work();
        let work = self.catalogue.work(number);
        let shape = self.catalogue.shape(work.shape);
        self.fleet.release(slot, holder, work, shape, place);
        self.queue.release(work, &shape.need);
        let (name, role) = (work.name, work.role);
        self.catalogue.count(number, slot, false);
        let is_over = self.is_over(number);
        self.wake_over_quota(role);
        self.wake_watchers(name);
        if is_over {
            self.drop_work(number);
        }
    }

    /// A task that holds room is on its way out.
    pub(super) fn set_dying(&mut self, slot: SlotId, task: TaskId) {
        if let Some(number) = self.fleet.work_of_living(slot, task) {
            self.fleet.set_dying(slot, task, self.catalogue.work(number), self.catalogue.shape_of(number));
        }
    }

    /// Room is kept, or no longer kept, for a task that is not there yet.
    pub(super) fn keep(&mut self, slot: SlotId, task: TaskId, number: WorkId, yes: bool) {
        let shape = self.catalogue.work(number).shape;
        self.fleet.keep(slot, task, (shape, self.catalogue.shape(shape)), yes);
    }

    /// Keeps room on the slot for a pending task; an earlier claim of the task is given back.
    pub(super) fn claim(&mut self, task: TaskId, work: WorkId, slot: SlotId, until: Timestamp) {
        self.catalogue.claim(work);
        self.drop_claim(task, true);
        self.queue.remove(work, task);
        self.claims.insert(task, Claim { slot, work, until });
        self.keep(slot, task, work, true);
        self.requeue(work);
    }

    /// Gives back a task's claim, if it has one. `pending`: the task still waits, for any room now.
    pub(super) fn drop_claim(&mut self, task: TaskId, pending: bool) {
        let Some(claim) = self.claims.remove(task) else { return };
        self.keep(claim.slot, task, claim.work, false);
        self.fleet.touch(claim.slot);
        self.catalogue.unclaim(claim.work);
        if pending {
            self.queue.insert(claim.work, task);
            self.wake_one(claim.work);
            self.requeue(claim.work);
        } else if self.is_over(claim.work) {
            self.drop_work(claim.work);
        }
    }

    /// Puts a work where it belongs in its role's order, or out of it.
    pub(super) fn requeue(&mut self, number: WorkId) {
        self.queue.settle(number, self.catalogue.work(number));
    }

    /// The work of a task's job version, made if it is the first.
    pub(super) fn work_of(&mut self, state: &State, task: &Task) -> WorkId {
        if let Some(number) = self.catalogue.work_of(task.spec) {
            return number;
        }
        let spec: &Arc<Spec> = state.spec_of(task);
        let role = self.queue.role(spec.job.key.role());
        let number = self.catalogue.make_work(state, task.job, spec, role, band_of(spec.job.tier));
        self.queue.begin(number);
        number
    }

    /// No task of the work is pending, holds room or has a claim.
    pub(super) fn is_over(&self, number: WorkId) -> bool {
        self.queue.waiting(number).is_empty() && self.catalogue.work(number).is_unused()
    }

    pub(super) fn drop_work(&mut self, number: WorkId) {
        self.wake_one(number);
        self.catalogue.drop_work(number);
        self.queue.begin(number);
    }
}
