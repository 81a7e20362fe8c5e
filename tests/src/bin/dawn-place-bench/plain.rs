//! The plain policies that packing is judged by: first-fit, best-fit and random over machines of cpu and memory. The same
//! choices as the traces' reference scorers make, so that their figures can be compared.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The first machine that has room.
    FirstFit,
    /// The machine on which the least would be left, as parts of the largest machine; of equals the first.
    BestFit,
    Random,
}

pub const POLICIES: [(&str, Policy); 3] =
    [("first-fit", Policy::FirstFit), ("best-fit", Policy::BestFit), ("random", Policy::Random)];

/// cpu in thousandths, memory in MiB.
pub type Pair = [i64; 2];

pub struct Plain {
    policy: Policy,
    free: Vec<Pair>,
    largest: Pair,
    /// Machines that are equally free: there are far fewer kinds than machines.
    kinds: BTreeMap<Pair, BTreeSet<u32>>,
    random: SmallRng,
}

impl Plain {
    pub fn new(policy: Policy, free: Vec<Pair>) -> Plain {
        let largest = free.iter().fold([1, 1], |most, one| [most[0].max(one[0]), most[1].max(one[1])]);
        let mut kinds: BTreeMap<Pair, BTreeSet<u32>> = BTreeMap::new();
        for (at, free) in free.iter().enumerate() {
            kinds.entry(*free).or_default().insert(at as u32);
        }
        Plain { policy, free, largest, kinds, random: SmallRng::seed_from_u64(1) }
    }

    /// Takes room for one on a machine, if any has it.
    pub fn place(&mut self, need: Pair) -> Option<u32> {
        let fits = |free: &Pair| free[0] >= need[0] && free[1] >= need[1];
        let fitting = self.kinds.range([need[0], i64::MIN]..).filter(|(free, _)| fits(free));
        let firsts = fitting.filter_map(|(free, machines)| Some((free, *machines.first()?)));
        let left = |free: &Pair| (free[0] - need[0]) * self.largest[1] + (free[1] - need[1]) * self.largest[0];
        let machine = match self.policy {
            Policy::FirstFit => firsts.map(|(_, machine)| machine).min(),
            Policy::BestFit => firsts.map(|(free, machine)| (left(free), machine)).min().map(|(_, machine)| machine),
            Policy::Random => {
                let all: Vec<u32> = (0..self.free.len() as u32).filter(|at| fits(&self.free[*at as usize])).collect();
                (!all.is_empty()).then(|| all[self.random.random_range(0..all.len())])
            }
        }?;
        self.change(machine, [-need[0], -need[1]]);
        Some(machine)
    }

    pub fn give_back(&mut self, machine: u32, need: Pair) {
        self.change(machine, need);
    }

    fn change(&mut self, machine: u32, by: Pair) {
        let free = &mut self.free[machine as usize];
        if let Some(machines) = self.kinds.get_mut(free) {
            machines.remove(&machine);
            if machines.is_empty() {
                self.kinds.remove(free);
            }
        }
        *free = [free[0] + by[0], free[1] + by[1]];
        self.kinds.entry(*free).or_default().insert(machine);
    }
}

/// The fewest machines, in steps of `step` between the bounds, for which `fits` says yes.
pub fn fewest(low: u32, high: u32, step: u32, mut fits: impl FnMut(u32) -> bool) -> Option<u32> {
    let (mut no, mut yes) = (0, (high - low) / step + 1);
    let mut found = None;
    while no < yes {
        let middle = (no + yes) / 2;
        let machines = low + middle * step;
        if machines <= high && fits(machines) {
            (found, yes) = (Some(machines), middle);
        } else {
            no = middle + 1;
        }
    }
    found
}
