//! How well a task would sit on an agent: lower is better. Fullness without stranding, then what the job wishes.
//! Not here: rules, which are no matter of degree.

use super::Placer;
use super::agents::{Amounts, GPU};
use super::work::Work;

/// What one dimension left wholly free costs.
const FREE: f64 = 1024.0;
/// What is stranded outweighs what is left: this many parts of a thousandth of gpu cost one.
const STRANDED: i64 = 32;
/// A task of the same service on the host already.
const SHARED_HOST: i64 = 2048;
/// One point of a wish's weight (1-100).
const WISH: i64 = 64;
/// One point of a spread level's weight, for being one task over the even share.
const SPREAD: i64 = 32;

/// What a demand leaves free on an agent, as parts of the largest agent's.
#[inline]
pub(super) fn room_left(free: &Amounts, need: &Amounts, scale: &Amounts) -> i64 {
    // Multiplied and divided only, each correctly rounded: the same on every machine.
    let left = |at: usize| (free[at] - need[at]).max(0) as f64 * FREE / scale[at] as f64;
    // Gpus not asked for weigh more: they are stranded without the cpu beside them.
    let gpu = if need[GPU] == 0 { 4.0 } else { 1.0 };
    (left(0) + left(1) + left(2) * 0.25 + left(GPU) * gpu) as i64
}

impl Placer {
    #[inline]
    pub(super) fn cost(&self, slot: usize, work: &Work) -> i64 {
        let need = &self.shapes.all[work.shape as usize].need;
        let mut fit = room_left(&self.slots[slot].free, need, &self.scale);
        if self.slots[slot].free[GPU] > 0 && !self.typical.is_empty() {
            fit += self.typical.rise(&self.slots[slot].free, &self.details[slot].devices, need) / STRANDED;
        }
        if work.rules.is_empty() { fit } else { fit + self.cost_of_wishes(slot, work) }
    }

    /// What the job's wishes say.
    pub(super) fn cost_of_wishes(&self, slot: usize, work: &Work) -> i64 {
        let near = |count: u32| self.counts.all[count as usize].near(&self.attributes, slot);
        let mut cost = 0;
        for (weight, matcher) in &work.rules.wishes {
            let column = self.attributes.get(matcher.attribute);
            if matcher.matches(column, column.cell(slot)) {
                cost -= i64::from(*weight) * WISH;
            }
        }
        for neighbour in work.rules.neighbours.iter().filter(|neighbour| !neighbour.required) {
            if near(neighbour.count) > 0 {
                cost -= i64::from(neighbour.weight) * WISH;
            }
        }
        for spread in &work.rules.spreads {
            let values = self.attributes.get(spread.attribute).values_held().max(1) as i64;
            let even = (i64::from(work.spec.job.instances) / values).max(1);
            cost += i64::from(near(spread.count)) / even * i64::from(spread.weight) * SPREAD;
        }
        if let Some(count) = work.rules.apart {
            cost += i64::from(near(count)).min(8) * SHARED_HOST;
        }
        cost
    }
}
