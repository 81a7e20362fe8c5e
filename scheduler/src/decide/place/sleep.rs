//! Works for which nothing was found sleep until something that could change that: room on an agent that would hold them,
//! a job they look at, their role's quota, or, when they may preempt, some time.

use std::collections::BTreeSet;

use dawn_proto::Dimension::Cpu;

use crate::model::Now;

use super::Placer;
use super::agents::{Amounts, suffices};
use super::numbers::{KeyId, RoleId, ShapeId, SlotId, WorkId};

/// A work that may preempt looks again for victims after this long.
pub(super) const RETRY_MS: u64 = 1000;
/// When more agents than this changed, everybody who sleeps looks for himself instead of being looked at for each agent.
const MANY_CHANGED: usize = 256;

/// How much cpu, in octaves.
fn cpu_step(amounts: &Amounts) -> u8 {
    (64 - amounts[Cpu].max(0).leading_zeros()) as u8
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sleepers {
    /// By the cpu step of the demand, then shape: who waits for room.
    by_level: BTreeSet<(u8, ShapeId, WorkId)>,
    /// By the job's name: who looks at its tasks.
    watching: BTreeSet<(KeyId, WorkId)>,
    /// By monotonic time.
    retries: BTreeSet<(u64, WorkId)>,
}

impl Sleepers {
    pub fn nobody_watches(&self) -> bool {
        self.watching.is_empty()
    }

    fn nobody_waits(&self, level: u8, shape: ShapeId) -> bool {
        self.by_level.range((level, shape, WorkId(0))..=(level, shape, WorkId(u32::MAX))).next().is_none()
    }
}

impl Placer {
    /// Takes a work out of its queue until something changes.
    pub(super) fn put_to_sleep(&mut self, number: WorkId, now: Now) {
        let work = self.works.get_mut(number);
        work.asleep = true;
        let shape = &self.shapes.all[work.shape];
        self.sleepers.by_level.insert((cpu_step(&shape.need), work.shape, number));
        if self.settings.preemption && !work.over_quota {
            work.retry_ms = work.retry_ms.max(now.mono_ms + 1);
            self.sleepers.retries.insert((work.retry_ms, number));
        }
        let work = self.works.get_mut(number);
        work.watched = self.counts.watched_by(&work.rules, work.name).into_iter().collect();
        self.sleepers.watching.extend(work.watched.iter().map(|name| (*name, number)));
        self.requeue(number);
    }

    pub(super) fn wake_one(&mut self, number: WorkId) {
        let work = self.works.get_mut(number);
        if !work.asleep {
            return;
        }
        (work.asleep, work.over_quota) = (false, false);
        let shape = work.shape;
        self.sleepers.by_level.remove(&(cpu_step(&self.shapes.all[shape].need), shape, number));
        self.sleepers.retries.remove(&(work.retry_ms, number));
        for name in std::mem::take(&mut work.watched) {
            self.sleepers.watching.remove(&(name, number));
        }
        self.doubt(shape);
        self.requeue(number);
    }

    /// Only while somebody sleeps is it noticed that something could hold the shape again.
    pub(super) fn doubt(&mut self, shape: ShapeId) {
        let of = &mut self.shapes.all[shape];
        if of.fits_nowhere && self.sleepers.nobody_waits(cpu_step(&of.need), shape) {
            of.fits_nowhere = false;
        }
    }

    pub(super) fn wake_all(&mut self) {
        let sleeping: Vec<WorkId> = self.sleepers.by_level.iter().map(|(_, _, work)| *work).collect();
        sleeping.into_iter().for_each(|work| self.wake_one(work));
    }

    pub(super) fn wake_watchers(&mut self, name: KeyId) {
        if self.sleepers.watching.is_empty() {
            return;
        }
        let watchers: Vec<WorkId> = self
            .sleepers
            .watching
            .range((name, WorkId(0))..=(name, WorkId(u32::MAX)))
            .map(|(_, watcher)| *watcher)
            .collect();
        watchers.into_iter().for_each(|watcher| self.wake_one(watcher));
    }

    pub(super) fn wake_over_quota(&mut self, role: RoleId) {
        if self.order.is_bounded(role) {
            let waiting = self.sleepers.by_level.iter().map(|(_, _, work)| *work);
            let of_role = |work: &WorkId| self.works.get(*work).role == role && self.works.get(*work).over_quota;
            waiting.filter(of_role).collect::<Vec<_>>().into_iter().for_each(|work| self.wake_one(work));
        }
    }

    /// Wakes whoever one of the changed slots would hold now, and whose time to look again has come.
    pub(super) fn wake(&mut self, now: Now) {
        if !self.sleepers.by_level.is_empty() {
            let mut dirty = std::mem::take(&mut self.dirty);
            dirty.sort_unstable();
            dirty.dedup();
            if dirty.len() > MANY_CHANGED {
                self.wake_for_room(&dirty);
            } else {
                dirty.iter().for_each(|slot| self.wake_for(*slot));
            }
            self.dirty = dirty;
        }
        self.dirty.clear();
        while let Some((due, work)) = self.sleepers.retries.first().copied()
            && due <= now.mono_ms
        {
            self.wake_one(work);
        }
    }

    /// Wakes all whom one of the slots could hold as far as the most that any of them has free; those over their quota
    /// sleep on.
    fn wake_for_room(&mut self, dirty: &[SlotId]) {
        let is_open = |slot: &&SlotId| self.slots[**slot].takes_more() || self.is_only_avoided(**slot);
        let open = dirty.iter().filter(is_open).map(|slot| &self.slots[*slot]);
        let most = open.fold(Amounts::all(0), |most, row| Amounts::from_fn(|at| most[at].max(row.free[at])));
        let waiting = self.sleepers.by_level.iter().filter(|(_, shape, work)| {
            suffices(&most, &self.shapes.all[*shape].need) && !self.works.get(*work).over_quota
        });
        let waiting: Vec<(ShapeId, WorkId)> = waiting.map(|(_, shape, work)| (*shape, *work)).collect();
        for (shape, work) in waiting {
            self.shapes.all[shape].fits_nowhere = false;
            self.wake_one(work);
        }
    }

    /// The shape and number of each work that sleeps, by the cpu it asks for.
    pub(super) fn waiting(&self) -> Vec<(ShapeId, WorkId)> {
        self.sleepers.by_level.iter().map(|(_, shape, work)| (*shape, *work)).collect()
    }

    fn wake_for(&mut self, slot: SlotId) {
        if self.is_only_avoided(slot) {
            return self.wake_for_avoided(slot);
        }
        if !self.slots[slot].takes_more() {
            return;
        }
        let most = cpu_step(&self.slots[slot].free);
        let mut next = (0, ShapeId(0), WorkId(0));
        while let Some(sleeper) = self.sleepers.by_level.range(next..).next().copied()
            && sleeper.0 <= most
        {
            let (level, shape, work) = sleeper;
            self.prepare(shape);
            if self.misses_shape(slot, shape).is_some() {
                next = (level, ShapeId(shape.0 + 1), WorkId(0));
                continue;
            }
            self.shapes.all[shape].fits_nowhere = false;
            if self.misses(slot, work).is_none() {
                self.wake_one(work);
            }
            next = (level, shape, WorkId(work.0 + 1));
        }
    }

    /// Puts a work where it belongs in its role's queue, or out of it.
    pub(super) fn requeue(&mut self, number: WorkId) {
        let work = self.works.get_mut(number);
        let wanted = if work.asleep { None } else { work.wanted_ticket(number) };
        if work.ticket == wanted {
            return;
        }
        let (band, role) = (work.band, work.role);
        if let Some(ticket) = std::mem::replace(&mut work.ticket, wanted) {
            self.order.dequeue(band, role, &ticket);
        }
        if let Some(ticket) = wanted {
            self.order.enqueue(band, role, ticket);
        }
    }
}
