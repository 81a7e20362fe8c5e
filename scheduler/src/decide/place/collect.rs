//! Finding candidates for a work: where its wishes point first, then the tightest fits. Not here: what a candidate costs.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use dawn_proto::Dimension::{self, Cpu, Gpu, Memory};

use super::Placer;
use super::amounts::Amounts;
use super::catalogue::Count;
use super::catalogue::Path;
use super::catalogue::Work;
use super::catalogue::{HOST, Matcher};
use super::fit::View;
use super::fleet::Index;
use super::fleet::Slot;
use super::numbers::{AttributeId, ClassId, CountId, SlotId, ValueId, WorkId};

/// Candidates compared beyond what a turn's tasks need.
const MORE: usize = 64;
/// The same for tasks that are large beside an agent: few agents have such room, and a whole one is soon broken.
const MORE_FOR_LARGE: usize = 512;
/// A task is large that needs one in so many of the largest agent's cpu or memory.
const LARGE: i64 = 10;
/// The same for jobs with rules, where each costs more to compare.
const MORE_BY_RULES: usize = 16;
/// More tasks than these are not counted on from one agent.
const MOST_TIMES: i64 = 64;
/// Agents compared for each task that a limit lets in.
const CROWD: u32 = 4;
/// Agents near a neighbour that are looked at, at most.
const NEAR: usize = 4096;
/// Candidates that the job would rather not have are kept up to this many times what is wanted.
const UNWELCOME: usize = 64;

/// No slot: after all of them.
const NOWHERE: SlotId = SlotId(u32::MAX);

/// Candidates kept in a row that share a value of which a limit lets few be used.
#[derive(Default)]
struct Crowd {
    cell: Option<ValueId>,
    /// More that are worth it.
    left: u32,
}

impl Crowd {
    /// Slots of one value are often beside each other: only so many of them are worth comparing as the limit lets in.
    fn is_full(&mut self, view: View<'_>, work: &Work, slot: SlotId) -> bool {
        let about = |count: CountId| view.catalogue.counts().about(count).1;
        let Some(limit) = work.rules.limits.iter().find(|limit| about(limit.count) != HOST) else { return false };
        let cell = Some(view.catalogue.attributes().get(about(limit.count)).cell(slot));
        if self.cell != cell {
            let near = view.catalogue.counts().get(limit.count).near(view.catalogue.attributes(), slot);
            self.left = limit.most.saturating_sub(near).saturating_mul(CROWD).max(1);
            self.cell = cell;
        }
        let is_full = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_full
    }
}

/// How many tasks would find cpu and memory, and be taken.
fn times(row: &Slot, need: &Amounts) -> usize {
    let times = |at: Dimension| if need[at] > 0 { row.free[at] / need[at] } else { i64::MAX };
    times(Cpu).min(times(Memory)).min(row.tasks_free.into()).clamp(1, MOST_TIMES) as usize
}

impl Placer {
    /// Slots that can take `tasks` tasks of the work, and some more to compare, with what each would cost; if any exists,
    /// at least one.
    pub(super) fn collect(&mut self, number: WorkId, tasks: usize, candidates: &mut Vec<(i64, SlotId)>) {
        let first = self.view().collect(number, tasks, candidates);
        let (shape, raised) = (self.catalogue.work(number).shape, self.fleet.index().raised());
        // Only a walk in slot order has seen all that come before; by lists a group is seen class by class.
        let begin = match self.catalogue.shape(shape).path {
            Path::All => first,
            Path::Classes(_) => Index::group_of(first),
            Path::Slots(_) => SlotId(0),
        };
        self.catalogue.found(shape, raised, begin, first == NOWHERE);
    }
}

impl View<'_> {
    /// The candidates; the first slot that has room for the shape is the answer.
    fn collect(self, number: WorkId, tasks: usize, candidates: &mut Vec<(i64, SlotId)>) -> SlotId {
        let work = self.catalogue.work(number);
        let shape = self.catalogue.shape(work.shape);
        let is_large =
            [Cpu, Memory].into_iter().any(|at| shape.need[at].saturating_mul(LARGE) >= self.fleet.scale()[at]);
        let more = if is_large { MORE_FOR_LARGE } else { MORE };
        let (mut first, mut welcome, mut room) = (NOWHERE, 0, 0);
        if work.rules.is_empty() {
            let mut visit = |slot: SlotId| {
                if self.fits_shape(slot, shape) {
                    first = first.min(slot);
                    if self.misses_rules(slot, work).is_none() {
                        candidates.push((self.cost(slot, work), slot));
                        let row = self.fleet.slot(slot);
                        // The index knows nothing of gpus: more are compared where some are at stake.
                        welcome += usize::from(row.free[Gpu] <= 0);
                        room += if tasks > 1 { times(row, &shape.need) } else { 1 };
                    }
                }
                (welcome < more || welcome < tasks + more && room < tasks)
                    && candidates.len() < UNWELCOME * (tasks + more)
            };
            self.walk(work, &mut visit);
        } else {
            first = self.collect_by_rules(work, tasks + MORE_BY_RULES, candidates);
        }
        first
    }

    /// Every slot that may hold the work's demand, until told to stop.
    fn walk(self, work: &Work, visit: &mut impl FnMut(SlotId) -> bool) -> bool {
        let shape = self.catalogue.shape(work.shape);
        let from = shape.first(self.fleet.index().raised());
        match &shape.path {
            Path::Slots(slots) => slots.iter().all(|slot| visit(*slot)),
            Path::All => self.fleet.index().walk(from, &shape.sought, &shape.class_ok, visit),
            Path::Classes(classes) => self.fleet.index().walk_classes(from, classes, &shape.sought, visit),
        }
    }

    /// The first slot that had room for the shape, as far as it looked; `NOWHERE`: none, 0: not known.
    fn collect_by_rules(self, work: &Work, wanted: usize, candidates: &mut Vec<(i64, SlotId)>) -> SlotId {
        let shape = self.catalogue.shape(work.shape);
        let (mut first, mut welcome, mut until, mut crowd) = (NOWHERE, 0, wanted, Crowd::default());
        let mut visit = |slot: SlotId, until: usize| {
            if self.fits_shape(slot, shape) {
                first = first.min(slot);
                if self.misses_rules(slot, work).is_none() && !crowd.is_full(self, work, slot) {
                    let wishes = self.cost_of_wishes(slot, work);
                    candidates.push((self.cost_of_room(slot, work) + wishes, slot));
                    welcome += usize::from(wishes <= 0);
                }
            }
            welcome < until && candidates.len() < UNWELCOME * until
        };
        if let Some((near, required)) = self.near_neighbours(work) {
            near.iter().all(|slot| visit(*slot, until));
            if required && near.len() < NEAR {
                // Nowhere else is allowed; nothing is learnt about the shape.
                return SlotId(0);
            }
            until += wanted;
        }
        if let Some(slots) = self.wished_slots(work) {
            slots.iter().all(|slot| visit(*slot, until));
            until += wanted;
        }
        let groups = self.wished_classes(work);
        groups.iter().all(|classes| {
            self.fleet.index().walk_classes(SlotId(0), classes, &shape.sought, &mut |slot| visit(slot, until))
        });
        until += if groups.is_empty() { 0 } else { wanted };
        self.walk(work, &mut |slot| visit(slot, until));
        if until > wanted {
            // The same slot may have been found on two ways.
            candidates.sort_unstable();
            candidates.dedup();
        }
        first
    }

    /// Slots near the tasks of the job this one is drawn to most, and whether it must be near them.
    fn near_neighbours(self, work: &Work) -> Option<(Vec<SlotId>, bool)> {
        let drawn = work.rules.neighbours.iter().filter(|neighbour| neighbour.weight > 0);
        let strongest = drawn.max_by_key(|neighbour| (neighbour.required, neighbour.weight))?;
        let Count { tally, tasks, .. } = self.catalogue.counts().get(strongest.count);
        let required = strongest.required && !(strongest.own && *tasks == 0);
        let values = tally.sorted().into_iter().map(|(value, _)| value);
        if strongest.attribute == HOST {
            return Some((values.take(NEAR).map(SlotId).collect(), required));
        }
        let column = self.catalogue.attributes().get(strongest.attribute);
        Some((values.flat_map(|value| column.members(ValueId(value))).copied().take(NEAR).collect(), required))
    }

    /// Slots with the values that the strongest wish names, if its attribute has too many values to make classes.
    fn wished_slots(self, work: &Work) -> Option<Vec<SlotId>> {
        let is_wide = |attribute: AttributeId| self.catalogue.attributes().get(attribute).narrow.is_none();
        let wishes = work.rules.wishes.iter().filter(|(weight, wish)| *weight > 0 && is_wide(wish.attribute));
        let (_, matcher) = wishes.max_by_key(|(weight, _)| *weight)?;
        let column = self.catalogue.attributes().get(matcher.attribute);
        let values = match matcher.only() {
            Some(named) => named.to_vec(),
            None => column.held.iter().copied().filter(|value| matcher.matches(column, *value)).take(NEAR).collect(),
        };
        Some(values.into_iter().flat_map(|value| column.members(value)).copied().take(NEAR).collect())
    }

    /// Classes that match the shape, those of the greatest sum of weights first; each group has one sum. Without the last,
    /// which is what others are preferred to.
    fn wished_classes(self, work: &Work) -> Vec<Vec<ClassId>> {
        let narrow = |matcher: &Matcher| self.catalogue.attributes().get(matcher.attribute).narrow;
        let wishes = work.rules.wishes.iter();
        let wishes: Vec<_> =
            wishes.filter_map(|(weight, matcher)| Some((i64::from(*weight), matcher, narrow(matcher)?))).collect();
        if wishes.is_empty() {
            return Vec::new();
        }
        let shape = self.catalogue.shape(work.shape);
        let mut groups: BTreeMap<Reverse<i64>, Vec<ClassId>> = BTreeMap::new();
        for class in shape.class_ok.numbers().filter(|class| shape.class_ok[*class]) {
            let cells = &self.catalogue.attributes().classes[class];
            let holds = |matcher: &Matcher, at: usize| {
                matcher.matches(self.catalogue.attributes().get(matcher.attribute), cells[at])
            };
            let held = wishes.iter().filter(|(_, matcher, at)| holds(matcher, *at));
            let sum: i64 = held.map(|(weight, ..)| *weight).sum();
            groups.entry(Reverse(sum)).or_default().push(class);
        }
        groups.pop_last();
        groups.into_values().collect()
    }
}
