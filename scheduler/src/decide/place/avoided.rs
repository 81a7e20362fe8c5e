//! Agents that everybody avoids, and those that one job keeps off. An avoided agent is used all the same by what fits on no
//! other: by a daemon's task of its own, and where every other agent that could hold a task is avoided too, gone or kept off,
//! or closed to it by a limit or an affinity.

use dawn_proto::SpecId;

use crate::model::{JobId, KeptOff, State};

use super::agents::{AVOIDED, CONNECTED, COPIED, CORDONED, UP};
use super::numbers::{ShapeId, SlotId, WorkId};
use super::work::{LastResort, Work};
use super::{Placer, Step};

impl Placer {
    /// Brings up to date what the predicate asks of a work: its shape's answers, and whether it goes to avoided agents.
    pub(super) fn prepare_for(&mut self, number: WorkId) {
        self.prepare(self.works.get(number).shape);
        if self.avoided.is_empty() {
            return;
        }
        let work = self.works.get(number);
        let by_rules = self.is_ruled(work);
        let is_known = |known: &LastResort| known.fleet == self.fleet && !known.by_rules && !by_rules;
        if work.last_resort.as_ref().is_some_and(is_known) {
            return;
        }
        let shape = &self.shapes.all[work.shape];
        let could = |slot: SlotId| {
            self.slots[slot].is_open()
                && self.misses_rules(slot, work).is_none()
                && self.misses_when_empty(slot, shape).is_none()
        };
        let is_last = self.is_pinned(number) || !self.slots.numbers().any(could);
        self.works.get_mut(number).last_resort = Some(LastResort { fleet: self.fleet, by_rules, is_last });
    }

    /// Whether it depends on where other tasks are, which agents a task of the work may go to.
    fn is_ruled(&self, work: &Work) -> bool {
        let rules = &work.rules;
        !rules.limits.is_empty()
            || rules.neighbours.iter().any(|neighbour| neighbour.required)
            || self.counts.is_refused(work.name)
    }

    /// Whether a task of the work goes to an avoided agent. Prepared first.
    pub(super) fn goes_to_avoided(&self, work: &Work) -> bool {
        work.last_resort.as_ref().is_some_and(|known| known.is_last && known.fleet == self.fleet)
    }

    /// Whether launches of the work go to the agent, as far as its state tells. Prepared first.
    pub(super) fn is_open_for(&self, slot: SlotId, work: &Work) -> bool {
        self.slots[slot].is_open() || self.is_only_avoided(slot) && self.goes_to_avoided(work)
    }

    /// Whether it would be open if it were not avoided.
    pub(super) fn is_only_avoided(&self, slot: SlotId) -> bool {
        self.slots[slot].bits & (UP | CONNECTED | AVOIDED | CORDONED) == UP | CONNECTED | AVOIDED
    }

    /// Places up to `most` tasks of a work on avoided agents, if it goes there; how many it could.
    pub(super) fn place_on_avoided(&mut self, number: WorkId, most: usize, step: &mut Step) -> usize {
        if self.avoided.is_empty() || most == 0 {
            return 0;
        }
        self.prepare_for(number);
        let mut placed = 0;
        if self.goes_to_avoided(self.works.get(number)) {
            let slots: Vec<SlotId> = self.avoided.iter().map(|(_, slot)| *slot).collect();
            for slot in slots {
                while placed < most && self.misses(slot, number).is_none() {
                    self.assign(slot, number, step);
                    placed += 1;
                }
            }
        }
        placed
    }

    /// Something came free on an avoided agent: wakes those who have no other and whom it could hold.
    pub(super) fn wake_for_avoided(&mut self, slot: SlotId) {
        let mut before = None;
        for (shape, number) in self.waiting() {
            if before != Some(shape) && !self.might_hold_if_open(slot, shape) {
                continue;
            }
            before = Some(shape);
            self.prepare_for(number);
            if self.misses(slot, number).is_none() {
                self.shapes.all[shape].fits_nowhere = false;
                self.wake_one(number);
            }
        }
    }

    fn might_hold_if_open(&mut self, slot: SlotId, shape: ShapeId) -> bool {
        self.prepare(shape);
        self.miss_beyond_bits(slot, &self.shapes.all[shape]).is_none()
    }

    /// What the state says that tasks of a spec keep off.
    pub(super) fn kept_off(state: &State, job: JobId, spec: SpecId) -> Vec<SlotId> {
        let all = state.jobs.get(&job).map(|job| &job.kept_off[..]).unwrap_or_default();
        let of_spec = all.iter().filter(|kept| kept.spec == spec && kept.keeps_off());
        let mut slots: Vec<SlotId> = of_spec.map(|kept: &KeptOff| SlotId::of_agent(kept.agent)).collect();
        slots.sort_unstable();
        slots
    }

    /// A spec's tasks keep off other agents than before.
    pub(super) fn kept_off_changed(&mut self, state: &State, job: JobId, spec: SpecId) {
        let Some(number) = self.works.of(spec) else { return };
        let now = Self::kept_off(state, job, spec);
        let work = self.works.get_mut(number);
        if work.kept_off != now {
            (work.kept_off, work.last_resort) = (now, None);
            self.wake_one(number);
        }
    }

    /// No agent is known to be claimed by two machines any more.
    pub(super) fn no_copies(&mut self) {
        let copied = self.slots.numbers().filter(|slot| self.slots[*slot].bits & COPIED != 0);
        copied.collect::<Vec<_>>().into_iter().for_each(|slot| self.change_bits(slot, 0, COPIED));
    }

    /// Nothing is held against the agent any more, by nobody.
    pub(super) fn forgiven(&mut self, state: &State, slot: SlotId) {
        self.avoid(slot.agent(), None);
        self.change_bits(slot, 0, COPIED);
        let works = self.works.numbers().map(|number| self.works.get(number)).filter(|work| work.keeps_off(slot));
        let specs: Vec<_> = works.map(|work| (work.job, work.spec.id)).collect();
        specs.into_iter().for_each(|(job, spec)| self.kept_off_changed(state, job, spec));
    }
}
