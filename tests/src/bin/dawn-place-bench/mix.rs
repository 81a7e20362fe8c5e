//! The mix: 50,000 agents of several shapes in 200 attribute classes and 1,250 racks; jobs with a Pareto tail of sizes,
//! 40 % constrained, 30 % one per host, 30 % rack limit, 30 % soft spread.

use std::collections::BTreeMap;

use dawn_proto::TaskId;
use dawn_proto::v1::Tier;
use dawn_scheduler::decide::place::PlaceSettings;
use dawn_scheduler::model::{Attributes, Constraint, JobSpec, Rule, Spread};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::cluster::{Cluster, GIB, Measured, job, limit, resources};
use crate::table::row;

const ROLES: u32 = 50;
/// Assignments in one call of `place`: what the scheduler decides in one step.
const BUDGET: usize = 4096;

pub struct Mix {
    pub cluster: Cluster,
    random: SmallRng,
    jobs: u32,
    cpu_total: u64,
    cpu_asked: u64,
    /// Thousandths of the demand catalogue.
    scale: f64,
}

impl Mix {
    /// `live`: about how many tasks fill the cluster to 85 %.
    pub fn new(agents: u32, live: u32) -> Mix {
        let mut mix = Mix {
            cluster: Cluster::new(&PlaceSettings::default()),
            random: SmallRng::seed_from_u64(1),
            jobs: 0,
            cpu_total: 0,
            cpu_asked: 0,
            scale: 1.0,
        };
        for agent in 0..agents {
            let (cores, gib) = *[(32, 128), (64, 256), (64, 512), (96, 384)].choose(&mut mix.random).expect("some");
            let rack = agent / 40;
            let mut attributes = Attributes::new();
            for (name, values) in [("zone", 5), ("generation", 10), ("disk", 2), ("arch", 2)] {
                let value = if name == "zone" { rack % values } else { mix.random.random_range(0..values) };
                attributes.insert(name.into(), vec![format!("{name}{value}")]);
            }
            attributes.insert("rack".into(), vec![format!("rack{rack}")]);
            let mut total = resources(cores * 1000, gib * 1024);
            total.disk_bytes = 2000 * GIB;
            mix.cluster.agent(total, attributes, vec![(31_000, 32_000)]);
            mix.cpu_total += cores * 1000;
        }
        // The catalogue's mean task takes 1,650 thousandths of a cpu.
        mix.scale = mix.cpu_total as f64 * 0.85 / f64::from(live) / 1650.0;
        mix
    }

    fn spec(&mut self, instances: u32) -> JobSpec {
        let random = &mut self.random;
        let catalogue = [
            (250, 512),
            (500, 1024),
            (500, 4096),
            (1000, 2048),
            (1000, 6144),
            (2000, 4096),
            (2000, 12288),
            (4000, 16384),
        ];
        let (cpu, memory) = *catalogue.choose(random).expect("some");
        let part = |amount: u64| ((amount as f64 * self.scale) as u64).max(1);
        let mut spec = job(
            &format!("role{}/mix/job{}", self.jobs % ROLES, self.jobs),
            instances,
            resources(part(cpu), part(memory)),
        );
        spec.tier = if random.random_bool(0.5) { Tier::Production } else { Tier::Batch };
        spec.priority = random.random_range(0..10) * 10;
        if random.random_bool(0.4) {
            let (name, values) =
                *[("zone", 5), ("generation", 10), ("disk", 2), ("arch", 2)].choose(random).expect("some");
            let wanted = (0..1 + values / 4).map(|_| format!("{name}{}", random.random_range(0..values))).collect();
            spec.constraints.push(Constraint { attribute: name.into(), rule: Rule::OneOf(wanted) });
        }
        if random.random_bool(0.3) {
            spec.constraints.push(limit("host", 1));
        }
        if random.random_bool(0.3) {
            spec.constraints.push(limit("rack", 2 + instances / 200));
        }
        if random.random_bool(0.3) {
            let attribute = if random.random_bool(0.5) { "rack" } else { "zone" };
            spec.spreads.push(Spread { attribute: attribute.into(), share_percent: BTreeMap::new(), weight: 50 });
        }
        spec
    }

    fn submit(&mut self) {
        // Pareto, alpha 1.3, from 3: mean about 12.
        let uniform: f64 = self.random.random_range(1e-9..1.0f64);
        let instances = ((3.0 / uniform.powf(1.0 / 1.3)) as u32).min(5000);
        let spec = self.spec(instances);
        self.cpu_asked += spec.demand.cpu_milli * u64::from(instances);
        self.jobs += 1;
        self.cluster.submit(spec);
    }

    fn submit_to(&mut self, percent: u64) {
        while self.cpu_asked * 100 < self.cpu_total * percent {
            self.submit();
        }
    }

    fn random_live(&mut self, tasks: usize) -> Vec<TaskId> {
        let all: Vec<TaskId> = self.cluster.state.indexes().tasks_on.values().flatten().copied().collect();
        let mut some: Vec<TaskId> = (0..tasks).filter_map(|_| all.choose(&mut self.random).copied()).collect();
        some.sort_unstable();
        some.dedup();
        some
    }

    fn churn(&mut self, rounds: usize, tasks: usize) -> Measured {
        let mut sum = Measured::default();
        for _ in 0..rounds {
            for task in self.random_live(tasks) {
                let gone = &self.cluster.state.tasks[&task];
                self.cpu_asked -= self.cluster.state.spec_of(gone).job.demand.cpu_milli;
                self.cluster.end(task);
            }
            self.submit_to(85);
            sum.add(self.cluster.place(BUDGET));
        }
        sum
    }

    /// Jobs one after the other, each decided by itself: what a decision takes when nothing shares its cost.
    fn one_by_one(&mut self, jobs: usize) -> Measured {
        let mut sum = Measured::default();
        for _ in 0..jobs {
            self.submit();
            sum.add(self.cluster.place(BUDGET));
        }
        sum
    }

    /// Jobs that fit nowhere wait behind everything else.
    fn submit_unfit(&mut self, jobs: u32) {
        for _ in 0..jobs {
            let mut spec = self.spec(3);
            spec.demand.cpu_milli = 200_000 + u64::from(self.jobs % 17) * 1000;
            self.jobs += 1;
            self.cluster.submit(spec);
        }
    }

    fn saturated(&mut self, rounds: usize) -> Measured {
        let mut sum = Measured::default();
        for _ in 0..rounds {
            for task in self.random_live(20_000) {
                self.cluster.end(task);
            }
            sum.add(self.cluster.place(BUDGET));
        }
        sum
    }
}

pub fn run(agents: u32, live: u32) {
    println!("\nThe mix: {agents} agents, about {live} tasks at 85 %");
    row(&["stretch", "placed", "decided/s", "with apply/s", "p50 us", "p99 us", "victims"]);
    let show = |name: &str, measured: &Measured| {
        row(&[
            name,
            &measured.placed.to_string(),
            &format!("{:.0}", measured.rate()),
            &format!("{:.0}", measured.rate_applied()),
            &format!("{:.2}", measured.quantile_us(0.5)),
            &format!("{:.2}", measured.quantile_us(0.99)),
            &measured.victims.to_string(),
        ]);
    };
    let mut mix = Mix::new(agents, live);
    mix.submit_to(80);
    show("filling to 80 %", &mix.cluster.place(BUDGET));
    mix.submit_to(85);
    show("80-85 %", &mix.cluster.place(BUDGET));
    show("churn at 85 %", &mix.churn(10, live as usize / 100));
    show("the same, a job at a time", &mix.one_by_one(agents as usize / 25));
    mix.submit_to(90);
    show("85-90 %", &mix.cluster.place(BUDGET));
    mix.submit_to(103);
    mix.submit_unfit(2000);
    show("90 % to full", &mix.cluster.place(BUDGET));
    show("full, 2,000 unfit jobs", &mix.saturated(5));
    let tasks: usize = mix.cluster.state.tasks.len();
    let [of_agents, of_tasks, of_counts] = mix.cluster.placer.bytes();
    println!(
        "placer: {} bytes per agent, {} bytes per task and {} for its counts ({tasks} tasks)",
        of_agents / agents as usize,
        of_tasks / tasks.max(1),
        of_counts / tasks.max(1)
    );
    storm(&mut mix);
}

/// 20,000 production tasks onto the full cluster.
fn storm(mix: &mut Mix) {
    let first = mix.cluster.state.next_task;
    for at in 0..400 {
        let mut spec = job(
            &format!("storm{}/mix/job{at}", at % 10),
            50,
            resources((4000.0 * mix.scale) as u64, (8192.0 * mix.scale) as u64),
        );
        spec.priority = 500;
        mix.cluster.submit(spec);
    }
    let (mut measured, mut rounds, mut placed) = (Measured::default(), 0, 0);
    // One call takes so many victims at most, and looks again a second later; who is to go is gone by then.
    while placed < 20_000 && rounds < 20 {
        measured.add(mix.cluster.place(BUDGET));
        mix.cluster.end_dying();
        mix.cluster.pass_ms(1000);
        let storm = mix.cluster.state.tasks.range(first..);
        placed = storm.filter(|(_, task)| task.held_on().is_some()).count();
        rounds += 1;
    }
    println!(
        "preemption storm, 20,000 production tasks: {placed} placed after {} victims in {rounds} rounds a second apart, decided in {:.2} s ({:.2} s with apply)",
        measured.victims,
        measured.deciding.as_secs_f64(),
        measured.applied.as_secs_f64()
    );
}
