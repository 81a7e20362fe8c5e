//! Agents that everybody avoids, and those that one job keeps off. An avoided agent is used all the same by what fits on no
//! other: by a daemon's task of its own, and where every other agent that could hold a task is avoided too, gone or kept off,
//! or closed to it by a limit or an affinity. Not here: who is avoided and why.

use dawn_proto::SpecId;

use crate::model::State;

use super::catalogue::{LastResort, Work};
use super::fit::View;
use super::fleet::COPIED;
use super::numbers::{ShapeId, SlotId, WorkId};
use super::{Placer, Step};

impl Placer {
    /// Brings up to date what the predicate asks of a work: its shape's answers, and whether it goes to avoided agents.
    pub(super) fn prepare_for(&mut self, number: WorkId) {
        self.prepare(self.catalogue.work(number).shape);
        if self.fleet.avoided().len() == 0 {
            return;
        }
        let work = self.catalogue.work(number);
        let by_rules = self.view().is_ruled(work);
        let is_known = |known: &LastResort| known.moves == self.fleet.moves() && !known.by_rules && !by_rules;
        if work.last_resort.as_ref().is_some_and(is_known) {
            return;
        }
        let shape = self.catalogue.shape(work.shape);
        let could = |slot: SlotId| {
            self.fleet.slot(slot).is_open()
                && self.view().misses_rules(slot, work).is_none()
                && self.view().misses_when_empty(slot, shape).is_none()
        };
        let is_last = self.view().is_pinned(number) || !self.fleet.numbers().any(could);
        let moves = self.fleet.moves();
        self.catalogue.set_last_resort(number, LastResort { moves, by_rules, is_last });
    }

    /// Places up to `most` tasks of a work on avoided agents, if it goes there; how many it could.
    pub(super) fn place_on_avoided(&mut self, number: WorkId, most: usize, step: &mut Step) -> usize {
        if self.fleet.avoided().len() == 0 || most == 0 {
            return 0;
        }
        self.prepare_for(number);
        let mut placed = 0;
        if self.view().goes_to_avoided(self.catalogue.work(number)) {
            let slots: Vec<SlotId> = self.fleet.avoided().collect();
            for slot in slots {
                while placed < most && self.view().misses(slot, number).is_none() {
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
        let sleeping: Vec<_> = self.queue.sleeping().collect();
        for (shape, number) in sleeping {
            if before != Some(shape) && !self.might_hold_if_open(slot, shape) {
                continue;
            }
            before = Some(shape);
            self.prepare_for(number);
            if self.view().misses(slot, number).is_none() {
                self.catalogue.doubt(shape);
                self.wake_one(number);
            }
        }
    }

    fn might_hold_if_open(&mut self, slot: SlotId, shape: ShapeId) -> bool {
        self.prepare(shape);
        self.view().miss_beyond_bits(slot, self.catalogue.shape(shape)).is_none()
    }

    /// A spec's tasks keep off other agents than before.
    pub(super) fn kept_off_changed(&mut self, state: &State, spec: SpecId) {
        if let Some(number) = self.catalogue.work_of(spec)
            && self.catalogue.see_kept_off(state, number)
        {
            self.wake_one(number);
        }
    }

    /// No agent is known to be claimed by two machines any more.
    pub(super) fn no_copies(&mut self) {
        let copied = self.fleet.numbers().filter(|slot| self.fleet.slot(*slot).bits & COPIED != 0);
        copied.collect::<Vec<_>>().into_iter().for_each(|slot| self.fleet.change_bits(slot, 0, COPIED));
    }

    /// Nothing is held against the agent any more, by nobody.
    pub(super) fn forgiven(&mut self, state: &State, slot: SlotId) {
        self.fleet.avoid(slot, None);
        self.fleet.change_bits(slot, 0, COPIED);
        let works =
            self.catalogue.works().map(|number| self.catalogue.work(number)).filter(|work| work.keeps_off(slot));
        let specs: Vec<_> = works.map(|work| work.spec.id).collect();
        specs.into_iter().for_each(|spec| self.kept_off_changed(state, spec));
    }
}

impl View<'_> {
    /// Whether it depends on where other tasks are, which agents a task of the work may go to.
    fn is_ruled(self, work: &Work) -> bool {
        let rules = &work.rules;
        !rules.limits.is_empty()
            || rules.neighbours.iter().any(|neighbour| neighbour.required)
            || self.catalogue.counts().is_refused(work.name)
    }

    /// Whether a task of the work goes to an avoided agent. Prepared first.
    pub(super) fn goes_to_avoided(self, work: &Work) -> bool {
        work.last_resort.as_ref().is_some_and(|known| known.is_last && known.moves == self.fleet.moves())
    }

    /// Whether launches of the work go to the agent, as far as its state tells. Prepared first.
    pub(super) fn is_open_for(self, slot: SlotId, work: &Work) -> bool {
        self.fleet.slot(slot).is_open() || self.fleet.is_only_avoided(slot) && self.goes_to_avoided(work)
    }
}
