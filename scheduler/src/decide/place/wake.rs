//! Works for which nothing was found sleep until something that could change that: room on an agent that would hold them,
//! a job they look at, their role's quota, or, when they may preempt, some time. Not here: who sleeps (the queue).

use crate::model::Now;

use super::Placer;
use super::amounts::{Amounts, suffices};
use super::numbers::{KeyId, RoleId, ShapeId, SlotId, WorkId};
use super::queue::Sleeper;

/// A work that may preempt looks again for victims after this long.
pub(super) const RETRY_MS: u64 = 1000;
/// When more agents than this changed, everybody who sleeps looks for himself instead of being looked at for each agent.
const MANY_CHANGED: usize = 256;

impl Placer {
    /// Takes a work out of its queue until something changes.
    pub(super) fn put_to_sleep(&mut self, number: WorkId, now: Now) {
        let work = self.catalogue.work(number);
        let watched = self.catalogue.counts().watched_by(&work.rules, work.name);
        let need = self.catalogue.need_of(number);
        self.queue.sleep(number, work, &need, watched, self.settings.preemption.then_some(now));
    }

    pub(super) fn wake_one(&mut self, number: WorkId) {
        let work = self.catalogue.work(number);
        if self.queue.wake(number, work, &self.catalogue.shape(work.shape).need) {
            self.doubt(work.shape);
            self.requeue(number);
        }
    }

    /// Only while somebody sleeps is it noticed that something could hold the shape again.
    pub(super) fn doubt(&mut self, shape: ShapeId) {
        let of = self.catalogue.shape(shape);
        if of.fits_nowhere && self.queue.nobody_sleeps_for(shape, &of.need) {
            self.catalogue.doubt(shape);
        }
    }

    pub(super) fn wake_all(&mut self) {
        let sleeping: Vec<WorkId> = self.queue.sleeping().map(|(_, work)| work).collect();
        sleeping.into_iter().for_each(|work| self.wake_one(work));
    }

    pub(super) fn wake_watchers(&mut self, of: KeyId) {
        if !self.queue.nobody_watches() {
            self.queue.watchers(of).into_iter().for_each(|watcher| self.wake_one(watcher));
        }
    }

    pub(super) fn wake_over_quota(&mut self, role: RoleId) {
        if self.queue.is_bounded(role) {
            let of_role = |work: &WorkId| self.catalogue.work(*work).role == role && self.queue.is_over_quota(*work);
            let waiting: Vec<WorkId> = self.queue.sleeping().map(|(_, work)| work).filter(of_role).collect();
            waiting.into_iter().for_each(|work| self.wake_one(work));
        }
    }

    /// Wakes whoever one of the changed slots would hold now, and whose time to look again has come.
    pub(super) fn wake(&mut self, now: Now) {
        let changed = self.fleet.take_changed(!self.queue.nobody_sleeps());
        if changed.len() > MANY_CHANGED {
            self.wake_for_room(&changed);
        } else {
            changed.iter().for_each(|slot| self.wake_for(*slot));
        }
        while let Some(work) = self.queue.due_again(now) {
            self.wake_one(work);
        }
    }

    /// Wakes all whom one of the slots could hold as far as the most that any of them has free; those over their quota
    /// sleep on.
    fn wake_for_room(&mut self, changed: &[SlotId]) {
        let is_open = |slot: &&SlotId| self.fleet.slot(**slot).takes_more() || self.fleet.is_only_avoided(**slot);
        let open = changed.iter().filter(is_open).map(|slot| self.fleet.slot(*slot));
        let most = open.fold(Amounts::all(0), |most, row| Amounts::from_fn(|at| most[at].max(row.free[at])));
        let waiting = self.queue.sleeping().filter(|(shape, work)| {
            suffices(&most, &self.catalogue.shape(*shape).need) && !self.queue.is_over_quota(*work)
        });
        for (shape, work) in waiting.collect::<Vec<_>>() {
            self.catalogue.doubt(shape);
            self.wake_one(work);
        }
    }

    fn wake_for(&mut self, slot: SlotId) {
        if self.fleet.is_only_avoided(slot) {
            return self.wake_for_avoided(slot);
        }
        if !self.fleet.slot(slot).takes_more() {
            return;
        }
        let free = self.fleet.slot(slot).free;
        let mut next = Sleeper::default();
        while let Some(sleeper) = self.queue.sleeper_from(next, &free) {
            self.prepare(sleeper.shape);
            if self.view().misses_shape(slot, sleeper.shape).is_some() {
                next = sleeper.next_shape();
                continue;
            }
            self.catalogue.doubt(sleeper.shape);
            if self.view().misses(slot, sleeper.work).is_none() {
                self.wake_one(sleeper.work);
            }
            next = sleeper.next();
        }
    }
}
