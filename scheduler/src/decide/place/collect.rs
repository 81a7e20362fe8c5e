//! Finding candidates for a work: where its wishes point first, then the tightest fits.

use super::Placer;
use super::agents::{Amounts, CPU, GPU, MEMORY};
use super::attributes::HOST;
use super::index::walk_all;
use super::rules::Count;
use super::shape::Path;
use super::work::Work;

/// Candidates compared beyond what a turn's tasks need.
const MORE: usize = 16;
/// More tasks than these are not counted on from one agent.
const MOST_TIMES: i64 = 64;
/// Agents near a neighbour that are looked at, at most.
const NEAR: usize = 4096;
/// Candidates that the job would rather not have are kept up to this many times what is wanted.
const UNWELCOME: usize = 64;

/// How many tasks would find cpu and memory.
fn times(free: &Amounts, need: &Amounts) -> usize {
    let times = |at: usize| if need[at] > 0 { free[at] / need[at] } else { i64::MAX };
    times(CPU).min(times(MEMORY)).clamp(1, MOST_TIMES) as usize
}

impl Placer {
    /// Slots that can take `tasks` tasks of the work, and some more to compare, with what each would cost; if any exists,
    /// at least one.
    pub(super) fn collect(&mut self, number: u32, tasks: usize, candidates: &mut Vec<(i64, u32)>) {
        let wanted = tasks + MORE;
        let work = self.works.get(number);
        let shape = &self.shapes.all[work.shape as usize];
        let (mut fits_shape, mut welcome, mut room) = (false, 0, 0);
        if work.rules.is_empty() {
            let mut visit = |slot: u32| {
                if self.fits_shape(slot as usize, shape) {
                    fits_shape = true;
                    if self.misses_rules(slot as usize, work).is_none() {
                        candidates.push((self.cost(slot as usize, work), slot));
                        let free = &self.slots[slot as usize].free;
                        // The index knows nothing of gpus: more are compared where some are at stake.
                        welcome += usize::from(free[GPU] <= 0);
                        room += if tasks > 1 { times(free, &shape.need) } else { 1 };
                    }
                }
                (welcome < MORE || welcome < wanted && room < tasks) && candidates.len() < UNWELCOME * wanted
            };
            self.walk(work, &mut visit);
        } else {
            fits_shape = self.collect_by_rules(work, wanted, candidates);
        }
        if !fits_shape {
            let shape = work.shape as usize;
            self.shapes.all[shape].fits_nowhere = true;
        }
    }

    /// Every slot that may hold the work's demand, until told to stop.
    fn walk(&self, work: &Work, visit: &mut impl FnMut(u32) -> bool) -> bool {
        let shape = &self.shapes.all[work.shape as usize];
        match &shape.path {
            Path::Slots(slots) => slots.iter().all(|slot| visit(*slot)),
            Path::All => self.index.all.walk(&shape.sought, &shape.class_ok, visit),
            Path::Classes(classes) => {
                let grids = classes.iter().filter_map(|class| self.index.by_class.get(*class as usize));
                let grids: Vec<_> = grids.filter(|cells| cells.len() > 0).collect();
                walk_all(&grids, &shape.sought, &shape.class_ok, visit)
            }
        }
    }

    /// Whether any slot had room for the shape, as far as it looked.
    fn collect_by_rules(&self, work: &Work, wanted: usize, candidates: &mut Vec<(i64, u32)>) -> bool {
        let shape = &self.shapes.all[work.shape as usize];
        let (mut fits_shape, mut welcome, mut until) = (false, 0, wanted);
        let mut visit = |slot: u32, until: usize| {
            if self.fits_shape(slot as usize, shape) {
                fits_shape = true;
                if self.misses_rules(slot as usize, work).is_none() {
                    let wishes = self.cost_of_wishes(slot as usize, work);
                    candidates.push((self.cost(slot as usize, work), slot));
                    welcome += usize::from(wishes <= 0);
                }
            }
            welcome < until && candidates.len() < UNWELCOME * until
        };
        if let Some((near, required)) = self.near_neighbours(work) {
            near.iter().all(|slot| visit(*slot, until));
            if required && near.len() < NEAR {
                // Nowhere else is allowed; nothing is learnt about the shape.
                return true;
            }
            until += wanted;
        }
        if let Some(classes) = self.wished_classes(work) {
            let grids: Vec<_> = classes.iter().filter_map(|class| self.index.by_class.get(*class as usize)).collect();
            walk_all(&grids, &shape.sought, &shape.class_ok, &mut |slot| visit(slot, until));
            until += wanted;
        }
        self.walk(work, &mut |slot| visit(slot, until));
        // The same slot may have been found on two ways.
        candidates.sort_unstable();
        candidates.dedup();
        fits_shape
    }

    /// Slots near the tasks of the job this one is drawn to most, and whether it must be near them.
    fn near_neighbours(&self, work: &Work) -> Option<(Vec<u32>, bool)> {
        let drawn = work.rules.neighbours.iter().filter(|neighbour| neighbour.weight > 0);
        let strongest = drawn.max_by_key(|neighbour| (neighbour.required, neighbour.weight))?;
        let Count { tally, tasks, .. } = &self.counts.all[strongest.count as usize];
        let required = strongest.required && !(strongest.own && *tasks == 0);
        let values = tally.sorted().into_iter().map(|(value, _)| value);
        if strongest.attribute == HOST {
            return Some((values.take(NEAR).collect(), required));
        }
        let column = self.attributes.get(strongest.attribute);
        Some((values.flat_map(|value| column.members(value)).copied().take(NEAR).collect(), required))
    }

    /// Classes that match the shape and the strongest wish about an attribute, if that one makes classes.
    fn wished_classes(&self, work: &Work) -> Option<Vec<u32>> {
        let wishes = work.rules.wishes.iter().filter(|(weight, _)| *weight > 0);
        let (_, matcher) = wishes.max_by_key(|(weight, _)| *weight)?;
        let column = self.attributes.get(matcher.attribute);
        let narrow = column.narrow?;
        let shape = &self.shapes.all[work.shape as usize];
        let wished = |class: &u32| {
            let cell = self.attributes.classes[*class as usize][narrow];
            shape.class_ok[*class as usize] && matcher.matches(column, cell)
        };
        Some((0..shape.class_ok.len() as u32).filter(wished).collect())
    }
}
