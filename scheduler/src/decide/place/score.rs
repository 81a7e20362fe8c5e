//! How well a task would sit on an agent: lower is better. Fullness without stranding, then what the job wishes.
//! Not here: rules, which are no matter of degree.

use dawn_proto::Dimension::{self, Cpu, Disk, Gpu, Memory};

use super::amounts::Amounts;
use super::catalogue::Level;
use super::catalogue::Work;
use super::fit::View;
use super::fleet::{FREE, Slot};
use super::numbers::{CountId, SlotId, ValueId};

/// What is stranded outweighs what is left: this many parts of a thousandth of gpu cost one.
const STRANDED: i64 = 32;
/// One coarse step of what is left free.
const STEP: i64 = 512;
/// How much is left, of cpu and memory together, and how far they are apart, in one step.
const STEP_LEFT: f32 = FREE * 0.125;
const STEP_APART: f32 = FREE * 0.125;
/// A demand below this part of the agent is a small one: what it evens out stays within a step.
const SMALL: f32 = FREE * 0.1;
/// A task of the same service on the host already.
const SHARED_HOST: i64 = 6144;
/// One point of a wish's weight (1-100).
const WISH: i64 = 192;
/// One point of a spread level's weight, for a whole share of the job's tasks.
const SPREAD: i64 = 96;
/// Parts in which a share is counted here: a percent has a hundred.
const PARTS: u64 = 10_000;

/// What a demand leaves free on an agent, as parts of what the agent has; disk and gpu of the largest agent's.
///
/// In coarse steps: how much is left, and how far cpu and memory are apart, because what is left of one beyond the other
/// can't be used. Among agents of one step a small task evens out the two; a large one takes whichever comes first.
#[inline]
pub(super) fn room_left(row: &Slot, need: &Amounts, scale: &Amounts) -> i64 {
    // Multiplied and divided only, each correctly rounded: the same on every machine.
    let left = |at: Dimension| (row.free[at] - need[at]).max(0) as f32;
    let rare = |at: Dimension| left(at) * FREE / scale[at] as f32;
    let disk = if need[Disk] > 0 { rare(Disk) * 0.25 } else { 0.0 };
    if row.free[Gpu] > 0 {
        // Gpus not asked for weigh more: they are stranded without the cpu beside them.
        let gpu = rare(Gpu) * if need[Gpu] == 0 { 4.0 } else { 1.0 };
        return (2.0 * rare(Cpu).max(rare(Memory)) + disk + gpu) as i64;
    }
    let [of_cpu, of_memory] = row.part;
    let parts = |amounts: &Amounts| [amounts[Cpu].max(0) as f32 * of_cpu, amounts[Memory].max(0) as f32 * of_memory];
    let [cpu, memory] = [left(Cpu) * of_cpu, left(Memory) * of_memory];
    let apart = (cpu - memory).abs();
    // Never negative: cutting off rounds down.
    let steps = ((cpu + memory) * (1.0 / STEP_LEFT)) as i64 + (apart * (1.0 / STEP_APART)) as i64;
    let [needs_cpu, needs_memory] = parts(need);
    let mut fine = disk;
    if needs_cpu.max(needs_memory) < SMALL {
        let [cpu_before, memory_before] = parts(&row.free);
        fine += (apart - (cpu_before - memory_before).abs()) * 0.5;
    }
    steps * STEP + fine as i64
}

impl View<'_> {
    #[inline]
    pub(super) fn cost(self, slot: SlotId, work: &Work) -> i64 {
        let room = self.cost_of_room(slot, work);
        if work.rules.is_empty() { room } else { room + self.cost_of_wishes(slot, work) }
    }

    /// The same among agents of one value of the first spread: that level, which they share, left aside.
    #[inline]
    pub(super) fn cost_in_value(self, slot: SlotId, work: &Work) -> i64 {
        self.cost_of_room(slot, work) + self.cost_of_levels(slot, work, 1)
    }

    #[inline]
    pub(super) fn cost_of_room(self, slot: SlotId, work: &Work) -> i64 {
        let need = &self.catalogue.shape(work.shape).need;
        let mut fit = room_left(self.fleet.slot(slot), need, self.fleet.scale());
        if self.fleet.slot(slot).free[Gpu] > 0 && !self.catalogue.typical().is_empty() {
            fit += self.catalogue.typical().rise(&self.fleet.slot(slot).free, &self.fleet.detail(slot).devices, need)
                / STRANDED;
        }
        fit
    }

    /// What the job's wishes say.
    pub(super) fn cost_of_wishes(self, slot: SlotId, work: &Work) -> i64 {
        self.cost_of_levels(slot, work, 0)
    }

    /// What they say without the spreads before the `first` of them.
    fn cost_of_levels(self, slot: SlotId, work: &Work, first: usize) -> i64 {
        let near = |count: CountId| self.catalogue.counts().get(count).near(self.catalogue.attributes(), slot);
        let mut cost = 0;
        for (weight, matcher) in &work.rules.wishes {
            let column = self.catalogue.attributes().get(matcher.attribute);
            if matcher.matches(column, column.cell(slot)) {
                cost -= i64::from(*weight) * WISH;
            }
        }
        for neighbour in work.rules.neighbours.iter().filter(|neighbour| !neighbour.required) {
            if near(neighbour.count) > 0 {
                cost -= i64::from(neighbour.weight) * WISH;
            }
        }
        for spread in work.rules.spreads.iter().skip(first) {
            cost += self.of_share(slot, work, spread, i64::from(spread.weight) * SPREAD);
        }
        if let Some(count) = work.rules.apart {
            cost += i64::from(near(count)).min(8) * SHARED_HOST;
        }
        cost
    }

    /// What a spread's attribute adds: `whole` for each share of the job's tasks that the agent's value holds, and the part
    /// of one in proportion.
    fn of_share(self, slot: SlotId, work: &Work, spread: &Level, whole: i64) -> i64 {
        let count = i64::from(self.catalogue.counts().get(spread.count).near(self.catalogue.attributes(), slot));
        let column = self.catalogue.attributes().get(spread.attribute);
        let instances = i64::from(work.spec.job.instances);
        if spread.shares.is_empty() {
            // A share is at least one task.
            return count * whole * column.values_held() as i64 / instances.max(column.values_held() as i64);
        }
        let cell = column.cell(slot);
        let share = |value: &ValueId| spread.target(*value, &column.held, PARTS);
        match column.values(&cell).iter().map(share).min().unwrap_or(0) as i64 {
            0 => (count + 1) * whole,
            share => count * whole * PARTS as i64 / (share * instances).max(PARTS as i64),
        }
    }
}
