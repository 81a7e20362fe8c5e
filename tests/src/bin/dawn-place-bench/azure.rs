//! VM arrivals of a public cloud replayed: what is rejected at some cell sizes, and the smallest cell that rejects nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use dawn_proto::TaskId;
use dawn_scheduler::decide::place::PlaceSettings;
use dawn_scheduler::model::Attributes;

use crate::cluster::{Cluster, job, resources};
use crate::plain::{POLICIES, Pair, Plain, Policy, fewest};
use crate::table::row;
use crate::traces::unpacked;

const SIZES: [u32; 3] = [12_000, 10_500, 10_000];
/// What the reference scorer rejects at those sizes.
const REFERENCE: [(Policy, [usize; 3]); 2] =
    [(Policy::FirstFit, [181, 1893, 3485]), (Policy::BestFit, [0, 1041, 6241])];

/// One arrival.
struct Vm {
    at_s: u64,
    batch: u64,
    cores: u64,
    mib: u64,
    leaves_s: Option<u64>,
}

impl Vm {
    fn kind(&self) -> (u64, u64, u64, u64) {
        (self.at_s, self.batch, self.cores, self.mib)
    }
}

fn read(folder: &Path) -> Vec<Vm> {
    let text = unpacked("gzip", &["-dc"], &folder.join("azure_v1_dev_test.csv.gz")).unwrap_or_default();
    let parse = |line: &str| -> Option<Vm> {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells.get(at)?.parse::<f64>().ok();
        let (at_s, low, high) = (number(1)? as u64, number(5)? as u64, number(6)? as u64);
        let (cores, mib) = (number(3)? as u64, (number(4)? * 1024.0) as u64);
        let leaves_s = (*cells.get(7)? == "0").then_some(at_s + (low + high) / 2);
        (cores <= 16 && mib <= 64 * 1024).then_some(Vm { at_s, batch: number(2)? as u64, cores, mib, leaves_s })
    };
    text.lines().skip(1).filter_map(parse).collect()
}

/// Machines in the order small, small, big.
fn machine(at: u32) -> (u64, u64) {
    if at % 3 == 2 { (16, 64) } else { (8, 16) }
}

/// A cell under some policy.
trait Cell {
    type Held: Copy + Ord;
    /// Whether VMs that arrive together are one job.
    const BATCHES: bool;
    fn arrive(&mut self, cores: u64, mib: u64, count: usize) -> Vec<Option<Self::Held>>;
    fn leave(&mut self, held: Self::Held);
}

impl Cell for Plain {
    type Held = (u32, Pair);
    const BATCHES: bool = false;

    fn arrive(&mut self, cores: u64, mib: u64, count: usize) -> Vec<Option<Self::Held>> {
        let need = [cores as i64 * 1000, mib as i64];
        (0..count).map(|_| Some((self.place(need)?, need))).collect()
    }

    fn leave(&mut self, (machine, need): Self::Held) {
        self.give_back(machine, need);
    }
}

impl Cell for Cluster {
    type Held = TaskId;
    const BATCHES: bool = true;

    fn arrive(&mut self, cores: u64, mib: u64, count: usize) -> Vec<Option<TaskId>> {
        let first = self.state.next_task;
        self.submit(job(&format!("tenant/azure/job{}", first.0), count as u32, resources(cores * 1000, mib)));
        let decided = self.placer.place(&self.state, self.now, usize::MAX);
        decided.iter().for_each(|mutation| self.apply(mutation));
        let mut place = |task: TaskId| {
            let placed = self.state.tasks[&task].held_on().is_some();
            if !placed {
                self.end(task);
            }
            placed.then_some(task)
        };
        (first.0..first.0 + count as u64).map(|task| place(TaskId(task))).collect()
    }

    fn leave(&mut self, held: TaskId) {
        self.end(held);
    }
}

/// VMs and their cores that found no room.
fn rejected<C: Cell>(vms: &[Vm], mut cell: C, stop_at_first: bool) -> (usize, u64) {
    let (mut leaving, mut rejected, mut cores) = (BinaryHeap::new(), 0, 0);
    let mut at = 0;
    while at < vms.len() && !(stop_at_first && rejected > 0) {
        let first = &vms[at];
        while let Some(Reverse((leaves_s, held))) = leaving.peek().copied()
            && leaves_s <= first.at_s
        {
            leaving.pop();
            cell.leave(held);
        }
        let alike = vms[at..].iter().take_while(|vm| vm.kind() == first.kind()).count();
        let together = if C::BATCHES { alike } else { 1 };
        for (vm, held) in vms[at..].iter().zip(cell.arrive(first.cores, first.mib, together)) {
            match (held, vm.leaves_s) {
                (None, _) => (rejected, cores) = (rejected + 1, cores + vm.cores),
                (Some(held), Some(leaves_s)) => leaving.push(Reverse((leaves_s, held))),
                (Some(_), None) => {}
            }
        }
        at += together;
    }
    (rejected, cores)
}

fn plain(policy: Policy, machines: u32) -> Plain {
    let pair = |(cores, gib): (u64, u64)| [cores as i64 * 1000, gib as i64 * 1024];
    Plain::new(policy, (0..machines).map(|at| pair(machine(at))).collect())
}

fn dawn(machines: u32) -> Cluster {
    let mut cluster = Cluster::new(&PlaceSettings { preemption: false, ..PlaceSettings::default() });
    for (cores, gib) in (0..machines).map(machine) {
        cluster.agent(resources(cores * 1000, gib * 1024), Attributes::new(), Vec::new());
    }
    cluster
}

pub fn run(folder: &Path) {
    let vms = read(folder);
    println!("\nazure: {} VMs; rejected (cores of those) by cell size", vms.len());
    row(&["policy", "12,000", "10,500", "10,000"]);
    let shown = |(rejected, cores): (usize, u64)| format!("{rejected} ({cores})");
    for (name, policy) in POLICIES {
        let found = SIZES.map(|machines| rejected(&vms, plain(policy, machines), false));
        row(&[name, &shown(found[0]), &shown(found[1]), &shown(found[2])]);
        if let Some((_, reference)) = REFERENCE.iter().find(|(other, _)| *other == policy) {
            let agrees = found.map(|(rejected, _)| rejected) == *reference;
            println!("  {} the reference scorer's {reference:?}", if agrees { "equals" } else { "DIFFERS FROM" });
        }
    }
    let [first, second, third] = SIZES.map(|machines| shown(rejected(&vms, dawn(machines), false)));
    row(&["Dawn", &first, &second, &third]);
}

/// The smallest cell, in steps of 25 machines, that rejects nothing.
pub fn compact(folder: &Path) {
    let vms = read(folder);
    println!("\nazure: the smallest cell that rejects nothing (volume bound about 9,830)");
    let show = |name: &str, machines: Option<u32>| {
        row(&[name, &machines.map_or("above 13,000".into(), |machines| machines.to_string())]);
    };
    for (name, policy) in &POLICIES[..2] {
        show(name, fewest(9_800, 13_000, 25, |machines| rejected(&vms, plain(*policy, machines), true).0 == 0));
    }
    show("Dawn", fewest(9_800, 13_000, 25, |machines| rejected(&vms, dawn(machines), true).0 == 0));
}
