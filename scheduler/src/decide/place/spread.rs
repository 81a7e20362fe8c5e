//! Spreading a job's tasks over an attribute's values: the value that is furthest below its share is next, and in it the
//! agent that costs least. Further levels weigh in as costs. Not here: what further levels cost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::catalogue::Path;
use super::catalogue::Work;
use super::fit::View;
use super::numbers::{AttributeId, ClassId, SlotId, ValueId, WorkId};
use super::{Placer, Step};

/// Parts in which a share is counted.
const WHOLE: u64 = 1_000_000;
/// A value of more agents than this is looked through by the index, not one by one.
const FEW_AGENTS: usize = 256;

/// After so many values without room, beyond one for each task, the index is quicker: what fits anywhere is compared.
const BARREN: usize = 8;

/// Agents of a value compared for one task, when nothing but their free room tells them apart.
const COMPARED: usize = 6;
/// The same for jobs whose tasks keep off each other's hosts.
const COMPARED_HOSTS: usize = 12;
/// Candidates kept for a value, at least: with further levels those must differ in more than their room.
const LEAST_POOL: usize = 8;
const LEAST_POOL_OF_LEVELS: usize = 256;

/// The values in the order in which they are due, while tasks are put into them. Values are named by their distance from
/// a start that differs by job, so that jobs do not all begin with the same one.
struct Due {
    attribute: AttributeId,
    start: usize,
    values: usize,
    /// By how full a value would be, then by distance.
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    /// Even shares: how far values without a task have been handed out.
    unused: usize,
    /// By distance; empty: even.
    shares: Vec<u64>,
}

impl Due {
    fn new(view: View<'_>, work: &Work) -> Due {
        let level = &work.rules.spreads[0];
        let attributes = view.catalogue.attributes();
        let held = &attributes.get(level.attribute).held;
        let count = view.catalogue.counts().get(level.count);
        let values = held.len();
        let start = (work.spec.id.0.wrapping_mul(0x9E37_79B9) % values.max(1) as u64) as usize;
        let (heap, unused, shares) = (BinaryHeap::new(), 0, Vec::new());
        let mut due = Due { attribute: level.attribute, start, values, heap, unused, shares };
        if level.shares.is_empty() {
            // Those without a task come by distance, as long as there are some.
            for (value, count) in count.by_value(attributes) {
                if let Ok(at) = held.binary_search(&value) {
                    due.push((at + values - start) % values, count);
                }
            }
            return due;
        }
        let target = |at: usize| level.target(due.value(view, at), held, WHOLE);
        due.shares = (0..values).map(target).collect();
        (0..values).for_each(|at| due.push(at, count.of_value(attributes, due.value(view, at))));
        due
    }

    fn value(&self, view: View<'_>, at: usize) -> ValueId {
        view.catalogue.attributes().get(self.attribute).held[(self.start + at) % self.values]
    }

    fn push(&mut self, at: usize, count: u32) {
        let share = self.shares.get(at).copied().unwrap_or(WHOLE);
        // By half a task more (Sainte-Laguë): by a whole one, large shares would get what many small ones round down to.
        let fullness = (2 * u64::from(count) + 1) * WHOLE / share.max(1);
        self.heap.push(Reverse((fullness, at as u32)));
    }

    /// The next value due, and how it is named. It is gone until it is pushed again.
    fn next(&mut self, view: View<'_>, count: impl Fn(ValueId) -> u32) -> Option<(usize, ValueId)> {
        while self.shares.is_empty() && self.unused < self.values {
            self.unused += 1;
            let value = self.value(view, self.unused - 1);
            if count(value) == 0 {
                return Some((self.unused - 1, value));
            }
        }
        let Reverse((_, at)) = self.heap.pop()?;
        Some((at as usize, self.value(view, at as usize)))
    }
}

impl Placer {
    /// Places up to `most` tasks of a work that spreads; how many it could on agents that have the attribute.
    pub(super) fn place_spread(&mut self, number: WorkId, most: usize, step: &mut Step) -> usize {
        let mut due = Due::new(self.view(), self.catalogue.work(number));
        let rules = &self.catalogue.work(number).rules;
        let (attribute, count) = (rules.spreads[0].attribute, rules.spreads[0].count);
        let least = if rules.spreads.len() > 1 { LEAST_POOL_OF_LEVELS } else { LEAST_POOL };
        let wanted = (2 * most / due.values.max(1)).clamp(least, 1024);
        let mut pools: Vec<(ValueId, Vec<(i64, SlotId)>)> = Vec::new();
        let (mut placed, mut barren) = (0, 0);
        while placed < most {
            let tasks =
                |value: ValueId| self.catalogue.counts().get(count).of_value(self.catalogue.attributes(), value);
            let Some((at, value)) = due.next(self.view(), tasks) else { break };
            let best = if self.catalogue.attributes().get(attribute).members(value).len() <= FEW_AGENTS {
                self.view().best_of_few(number, attribute, value)
            } else {
                self.view().best_of_pool(number, attribute, value, wanted, &mut pools)
            };
            // A value that has nothing left has nothing left for this turn.
            let Some(slot) = best else {
                barren += 1;
                if barren > BARREN + most {
                    break;
                }
                continue;
            };
            self.assign(slot, number, step);
            placed += 1;
            let tasks = self.catalogue.counts().get(count).of_value(self.catalogue.attributes(), value);
            due.push(at, tasks);
        }
        placed
    }
}

impl View<'_> {
    fn best_of_few(self, number: WorkId, attribute: AttributeId, value: ValueId) -> Option<SlotId> {
        let work = self.catalogue.work(number);
        let members = self.catalogue.attributes().get(attribute).members(value).iter();
        let sought = &self.catalogue.shape(work.shape).sought;
        // The index is nearer than the slots: most that are full are passed over without a look at them.
        let fitting = members.filter(|slot| self.fleet.index().may_hold(**slot, sought) && self.fits(**slot, work));
        let alike = work.rules.spreads.len() == 1 && work.rules.wishes.is_empty() && work.rules.neighbours.is_empty();
        if alike && work.rules.apart.is_none() {
            // They share the value that the job spreads over: only their room differs.
            let costs = fitting.take(COMPARED).map(|slot| (self.cost_of_room(*slot, work), *slot));
            return costs.min().map(|(_, slot)| slot);
        }
        let compared = if alike { COMPARED_HOSTS } else { usize::MAX };
        fitting.take(compared).map(|slot| (self.cost_in_value(*slot, work), *slot)).min().map(|(_, slot)| slot)
    }

    /// The best of some candidates found once and used up in order. What one costs only rises while the job's tasks come
    /// near it: the best is whoever still costs what the others did when they were found.
    fn best_of_pool(
        self,
        number: WorkId,
        attribute: AttributeId,
        value: ValueId,
        wanted: usize,
        pools: &mut Vec<(ValueId, Vec<(i64, SlotId)>)>,
    ) -> Option<SlotId> {
        let at = pools.iter().position(|(of, _)| *of == value).unwrap_or_else(|| {
            pools.push((value, Vec::new()));
            pools.len() - 1
        });
        loop {
            while let Some((cost, slot)) = pools[at].1.pop() {
                if self.misses(slot, number).is_some() {
                    continue;
                }
                let now = self.cost_in_value(slot, self.catalogue.work(number));
                let pool = &mut pools[at].1;
                if now <= cost || pool.last().is_none_or(|(next, _)| now <= *next) {
                    return Some(slot);
                }
                let place = pool.partition_point(|other| *other > (now, slot));
                pool.insert(place, (now, slot));
            }
            self.collect_in_value(number, attribute, value, wanted, &mut pools[at].1);
            if pools[at].1.is_empty() {
                return None;
            }
            pools[at].1.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    fn collect_in_value(
        self,
        number: WorkId,
        attribute: AttributeId,
        value: ValueId,
        wanted: usize,
        found: &mut Vec<(i64, SlotId)>,
    ) {
        let work = self.catalogue.work(number);
        let shape = self.catalogue.shape(work.shape);
        let (column, from) = (self.catalogue.attributes().get(attribute), shape.first(self.fleet.index().raised()));
        let mut visit = |slot: SlotId| {
            let cell = column.cell(slot);
            if column.values(&cell).contains(&value) && self.fits(slot, work) {
                found.push((self.cost_in_value(slot, work), slot));
            }
            found.len() < wanted
        };
        match (&shape.path, column.narrow) {
            (Path::Slots(slots), _) => _ = slots.iter().all(|slot| visit(*slot)),
            (_, Some(narrow)) => {
                let of_value = |class: &ClassId| {
                    shape.class_ok[*class]
                        && column.values(&self.catalogue.attributes().classes[*class][narrow]).contains(&value)
                };
                let classes: Vec<ClassId> = shape.class_ok.numbers().filter(of_value).collect();
                self.fleet.index().walk_classes(from, &classes, &shape.sought, &mut visit);
            }
            (_, None) => _ = self.fleet.index().walk(from, &shape.sought, &shape.class_ok, &mut visit),
        }
    }
}
