//! How much free gpu a placement strands, judged by what tasks have asked for lately: the expected amount that a typical
//! task could not use, and by how much a placement raises it (Weng et al., "Beware of Fragmentation", ATC 2023).
//! What was asked for lately is learnt while running and not derived from State: after a failover it is learnt anew.
//! Not here: what a placement costs besides.

use std::collections::BTreeMap;

use dawn_proto::Dimension::{Cpu, Gpu, Memory};

use super::super::amounts::{Amounts, subtract};
use super::super::fleet::{DEVICE, Devices};

/// Kinds of demand remembered.
const REMEMBERED: usize = 256;
/// Kinds that a placement is judged by: the most frequent.
const TYPICAL: usize = 24;
/// Demands after which the typical ones are chosen anew.
const REFRESH: u32 = 64;
/// All typical kinds together weigh this.
const WHOLE: u64 = 1024;

#[derive(Clone, Debug, Default)]
pub struct Typical {
    /// By cpu, memory and gpu: how often asked for.
    seen: BTreeMap<(i64, i64, i64), u64>,
    since: u32,
    /// With weights that sum up to about `WHOLE`.
    kinds: Vec<(Amounts, i64)>,
}

impl Typical {
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// A task was asked for. Only those that want gpu matter.
    pub fn see(&mut self, need: &Amounts) {
        if need[Gpu] <= 0 {
            return;
        }
        *self.seen.entry((need[Cpu], need[Memory], need[Gpu])).or_default() += 1;
        if self.seen.len() > REMEMBERED {
            self.seen.values_mut().for_each(|count| *count /= 2);
            self.seen.retain(|_, count| *count > 0);
        }
        self.since += 1;
        if self.since >= REFRESH || self.kinds.is_empty() {
            self.refresh();
        }
    }

    fn refresh(&mut self) {
        self.since = 0;
        let mut by_count: Vec<(u64, Amounts)> = self
            .seen
            .iter()
            .map(|((cpu, memory, gpu), count)| (*count, Amounts::only([(Cpu, *cpu), (Memory, *memory), (Gpu, *gpu)])))
            .collect();
        by_count.sort_unstable_by(|a, b| b.cmp(a));
        by_count.truncate(TYPICAL);
        let all: u64 = by_count.iter().map(|(count, _)| count).sum();
        let weight = |count: u64| (count * WHOLE / all.max(1)) as i64;
        self.kinds = by_count.into_iter().map(|(count, need)| (need, weight(count))).collect();
    }

    /// Free gpu thousandths that typical tasks could not use, times `WHOLE`.
    fn stranded(&self, free: &Amounts, devices: &[u16]) -> i64 {
        let all: i64 = devices.iter().map(|free| i64::from(*free)).sum();
        if all == 0 {
            return 0;
        }
        let of = |(need, weight): &(Amounts, i64)| {
            let least = need[Gpu].min(DEVICE as i64);
            let usable = devices.iter().filter(|free| i64::from(**free) >= least);
            let (count, sum) = usable.fold((0, 0), |(count, sum), free| (count + 1, sum + i64::from(*free)));
            let runs =
                free[Cpu] >= need[Cpu] && free[Memory] >= need[Memory] && count * least >= need[Gpu] && count > 0;
            weight * if runs { all - sum } else { all }
        };
        self.kinds.iter().map(of).sum()
    }

    /// How much more would be stranded with `need` taken from what is free, times `WHOLE`. What is used is not stranded.
    pub fn rise(&self, free: &Amounts, devices: &Devices, need: &Amounts) -> i64 {
        let before = self.stranded(free, devices.free());
        let mut after = devices.clone();
        after.assign(need[Gpu] as u64);
        let mut left = *free;
        subtract(&mut left, need);
        self.stranded(&left, after.free()) - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cpu: i64, memory: i64, gpu: i64) -> Amounts {
        Amounts::only([(Cpu, cpu), (Memory, memory), (Gpu, gpu)])
    }

    #[test]
    fn a_share_strands_less_beside_another_share() {
        let mut typical = Typical::default();
        (0..200).for_each(|_| typical.see(&of(1000, 1, 1000)));
        let free = of(64_000, 64, 2000);
        let (empty, mut begun) = (Devices::new(2000), Devices::new(2000));
        begun.assign(300);
        let need = of(1000, 1, 500);
        assert!(typical.rise(&of(64_000, 64, 1700), &begun, &need) < typical.rise(&free, &empty, &need));
    }

    #[test]
    fn cpu_taken_beside_free_gpus_strands_them() {
        let mut typical = Typical::default();
        (0..200).for_each(|_| typical.see(&of(4000, 1, 1000)));
        let devices = Devices::new(4000);
        assert!(typical.rise(&of(5000, 64, 4000), &devices, &of(2000, 1, 0)) > 0);
        assert_eq!(typical.rise(&of(9000, 64, 4000), &devices, &of(2000, 1, 0)), 0);
    }
}
