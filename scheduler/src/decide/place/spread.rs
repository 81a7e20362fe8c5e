//! Spreading a job's tasks over an attribute's values: the value that is furthest below its share is next, and in it the
//! agent that costs least. Further levels weigh in as costs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::index::walk_all;
use super::shape::Path;
use super::work::Work;
use super::{Placer, Step};

/// Parts in which a share is counted.
const WHOLE: u64 = 1_000_000;
/// A value of more agents than this is looked through by the index, not one by one.
const FEW_AGENTS: usize = 256;

/// The values in the order in which they are due, while tasks are put into them.
struct Due {
    /// By how full a value would be; then in a turn order that differs by job.
    heap: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Values, from a start that differs by job, so that jobs do not all begin with the same one.
    turn: Vec<u32>,
    /// Even shares: how far values without a task have been handed out.
    unused: usize,
    even: bool,
    shares: Vec<u64>,
}

impl Due {
    fn new(placer: &Placer, work: &Work) -> Due {
        let level = &work.rules.spreads[0];
        let column = placer.attributes.get(level.attribute);
        let tally = &placer.counts.all[level.count as usize].tally;
        let held: Vec<u32> =
            (0..column.value_count() as u32).filter(|value| !column.members(*value).is_empty()).collect();
        let start =
            if held.is_empty() { 0 } else { (work.spec.id.0.wrapping_mul(0x9E37_79B9) % held.len() as u64) as usize };
        let turn: Vec<u32> = held[start..].iter().chain(&held[..start]).copied().collect();
        let named: u64 = level.shares.values().map(|share| u64::from(*share)).sum();
        let others = turn.iter().filter(|value| !level.shares.contains_key(value)).count().max(1) as u64;
        let rest = 100u64.saturating_sub(named) * (WHOLE / 100) / others;
        let share = |value: &u32| level.shares.get(value).map_or(rest, |share| u64::from(*share) * (WHOLE / 100));
        let even = level.shares.is_empty();
        let shares = if even { Vec::new() } else { turn.iter().map(share).collect() };
        let mut due = Due { heap: BinaryHeap::new(), turn, unused: 0, even, shares };
        for at in 0..due.turn.len() as u32 {
            let count = tally.get(due.turn[at as usize]);
            // Those without a task come from the turn itself, as long as there are some.
            if !even || count > 0 {
                due.push(at, count);
            }
        }
        due
    }

    fn push(&mut self, at: u32, count: u32) {
        let share = if self.even { WHOLE } else { self.shares[at as usize] };
        let fullness = (u64::from(count) + 1) * WHOLE / share.max(1);
        self.heap.push(Reverse((fullness, at, self.turn[at as usize])));
    }

    /// The next value due and its place in the turn. It is gone until it is pushed again.
    fn next(&mut self, count: impl Fn(u32) -> u32) -> Option<(u32, u32)> {
        while self.even && self.unused < self.turn.len() {
            let at = self.unused as u32;
            self.unused += 1;
            if count(self.turn[at as usize]) == 0 {
                return Some((at, self.turn[at as usize]));
            }
        }
        self.heap.pop().map(|Reverse((_, at, value))| (at, value))
    }
}

impl Placer {
    /// Places up to `most` tasks of a work that spreads; how many it could on agents that have the attribute.
    pub(super) fn place_spread(&mut self, number: u32, most: usize, step: &mut Step) -> usize {
        let mut due = Due::new(self, self.works.get(number));
        let level = &self.works.get(number).rules.spreads[0];
        let (attribute, count) = (level.attribute, level.count as usize);
        let wanted = (2 * most / due.turn.len().max(1)).clamp(8, 1024);
        let mut pools: Vec<(u32, Vec<(i64, u32)>)> = Vec::new();
        let mut placed = 0;
        while placed < most {
            let Some((at, value)) = due.next(|value| self.counts.all[count].tally.get(value)) else { break };
            let best = if self.attributes.get(attribute).members(value).len() <= FEW_AGENTS {
                self.best_of_few(number, attribute, value)
            } else {
                self.best_of_pool(number, attribute, value, wanted, &mut pools)
            };
            // A value that has nothing left has nothing left for this turn.
            let Some(slot) = best else { continue };
            self.assign(slot as usize, number, step);
            placed += 1;
            due.push(at, self.counts.all[count].tally.get(value));
        }
        placed
    }

    fn best_of_few(&self, number: u32, attribute: u32, value: u32) -> Option<u32> {
        let work = self.works.get(number);
        let members = self.attributes.get(attribute).members(value).iter();
        let fitting = members.filter(|slot| self.misses(**slot as usize, number).is_none());
        fitting.map(|slot| (self.cost(*slot as usize, work), *slot)).min().map(|(_, slot)| slot)
    }

    /// The best of some candidates found once and used up in order.
    fn best_of_pool(
        &self,
        number: u32,
        attribute: u32,
        value: u32,
        wanted: usize,
        pools: &mut Vec<(u32, Vec<(i64, u32)>)>,
    ) -> Option<u32> {
        let at = pools.iter().position(|(of, _)| *of == value).unwrap_or_else(|| {
            pools.push((value, Vec::new()));
            pools.len() - 1
        });
        loop {
            while let Some((_, slot)) = pools[at].1.pop() {
                if self.misses(slot as usize, number).is_none() {
                    return Some(slot);
                }
            }
            self.collect_in_value(number, attribute, value, wanted, &mut pools[at].1);
            if pools[at].1.is_empty() {
                return None;
            }
            pools[at].1.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    fn collect_in_value(&self, number: u32, attribute: u32, value: u32, wanted: usize, found: &mut Vec<(i64, u32)>) {
        let work = self.works.get(number);
        let shape = &self.shapes.all[work.shape as usize];
        let column = self.attributes.get(attribute);
        let mut visit = |slot: u32| {
            let cell = column.cell(slot as usize);
            if column.values(&cell).contains(&value) && self.misses(slot as usize, number).is_none() {
                found.push((self.cost(slot as usize, work), slot));
            }
            found.len() < wanted
        };
        match (&shape.path, column.narrow) {
            (Path::Slots(slots), _) => _ = slots.iter().all(|slot| visit(*slot)),
            (_, Some(narrow)) => {
                let of_value = |class: &usize| {
                    shape.class_ok[*class] && column.values(&self.attributes.classes[*class][narrow]).contains(&value)
                };
                let classes = (0..shape.class_ok.len()).filter(of_value);
                let grids: Vec<_> = classes.filter_map(|class| self.index.by_class.get(class)).collect();
                walk_all(&grids, shape.level, &mut visit);
            }
            (_, None) => _ = self.index.all.walk(shape.level, &mut visit),
        }
    }
}
