//! Cell compaction on made-up mixes: how few machines still hold the load, beside the plain policies and a lower bound.

use dawn_scheduler::decide::place::PlaceSettings;
use dawn_scheduler::model::Attributes;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::cluster::{Cluster, job, resources};
use crate::plain::{POLICIES, Pair, Plain, fewest};
use crate::table::row;

/// One job: what each of its tasks takes, and how many there are.
type Load = Vec<(Pair, u32)>;

/// Cores and GiB, taken in turn.
const MIXED: &[(i64, i64)] = &[(32, 128), (64, 256), (64, 512), (96, 384)];
const EQUAL: &[(i64, i64)] = &[(64, 256)];
const TASKS: u32 = 12_000;

fn machines(shapes: &[(i64, i64)], count: u32) -> Vec<Pair> {
    (0..count as usize).map(|at| shapes[at % shapes.len()]).map(|(cores, gib)| [cores * 1000, gib * 1024]).collect()
}

/// Jobs with a Pareto tail of sizes, of demands that `demand` draws.
fn load(seed: u64, demand: impl Fn(&mut SmallRng) -> Pair) -> Load {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut load, mut tasks) = (Load::new(), 0);
    while tasks < TASKS {
        let uniform: f64 = random.random_range(1e-9..1.0f64);
        let count = ((3.0 / uniform.powf(1.0 / 1.3)) as u32).min(1000).min(TASKS - tasks);
        load.push((demand(&mut random), count));
        tasks += count;
    }
    load.shuffle(&mut random);
    load
}

fn catalogue(random: &mut SmallRng) -> Pair {
    let all = [
        (250, 512),
        (500, 1024),
        (500, 4096),
        (1000, 2048),
        (1000, 6144),
        (2000, 4096),
        (2000, 12_288),
        (4000, 16_384),
    ];
    let (cpu, mib) = *all.choose(random).expect("some");
    [cpu, mib]
}

/// Tasks of up to half a machine, heavy in one dimension.
fn skewed(random: &mut SmallRng) -> Pair {
    let (low, high) = (random.random_range(1..8), random.random_range(8..32));
    if random.random_bool(0.5) { [high * 1000, low * 4096] } else { [low * 1000, high * 4096] }
}

/// Any size up to a third of a machine.
fn even(random: &mut SmallRng) -> Pair {
    [random.random_range(100..21_000), random.random_range(64..85_000)]
}

/// What no packing can do better than: in each dimension the machines must hold the sum.
fn lower_bound(shapes: &[(i64, i64)], load: &Load) -> u32 {
    let sum = |at: usize| load.iter().map(|(need, count)| need[at] * i64::from(*count)).sum::<i64>();
    let (mut left, mut count) = ([sum(0), sum(1)], 0);
    while left[0] > 0 || left[1] > 0 {
        let (cores, gib) = shapes[count as usize % shapes.len()];
        left = [left[0] - cores * 1000, left[1] - gib * 1024];
        count += 1;
    }
    count
}

fn dawn_fits(machines: &[Pair], load: &Load) -> bool {
    let mut cluster = Cluster::new(&PlaceSettings { preemption: false, ..PlaceSettings::default() });
    for [cpu, mib] in machines {
        cluster.agent(resources(*cpu as u64, *mib as u64), Attributes::new(), Vec::new());
    }
    load.iter().enumerate().all(|(at, ([cpu, mib], count))| {
        cluster.submit(job(&format!("role/pack/job{at}"), *count, resources(*cpu as u64, *mib as u64)));
        let decided = cluster.placer.place(&cluster.state, cluster.now, usize::MAX);
        decided.iter().for_each(|mutation| cluster.apply(mutation));
        cluster.state.indexes().pending.is_empty()
    })
}

pub fn run() {
    println!("\ncompaction: the fewest machines that hold {TASKS} tasks in order of arrival");
    row(&["mix", "bound", "first-fit", "best-fit", "random", "Dawn"]);
    type Mix = (&'static str, &'static [(i64, i64)], fn(&mut SmallRng) -> Pair);
    let mixes: [Mix; 4] = [
        ("catalogue, mixed machines", MIXED, catalogue),
        ("skewed, mixed machines", MIXED, skewed),
        ("skewed, equal machines", EQUAL, skewed),
        ("even sizes, equal machines", EQUAL, even),
    ];
    for (name, shapes, demand) in mixes {
        let load = load(7, demand);
        let bound = lower_bound(shapes, &load);
        let search = |fits: &mut dyn FnMut(u32) -> bool| {
            fewest(bound, bound * 2, 1, fits).map_or("more".into(), |machines| machines.to_string())
        };
        let mut cells = vec![name.to_string(), bound.to_string()];
        for (_, policy) in POLICIES {
            cells.push(search(&mut |count| {
                let mut plain = Plain::new(policy, machines(shapes, count));
                load.iter().all(|(need, count)| (0..*count).all(|_| plain.place(*need).is_some()))
            }));
        }
        cells.push(search(&mut |count| dawn_fits(&machines(shapes, count), &load)));
        row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
