//! The mix of `dawn-place-bench` as it comes over the wire: agents of several shapes in 200 attribute classes and racks of
//! 40; jobs with a Pareto tail of sizes, 40 % constrained, 30 % one per host, 30 % rack limit, 30 % soft spread.

use dawn_proto::v1::{self, JobKind, Tier};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const ROLES: u32 = 50;
const RACK: u32 = 40;
/// So much of the cpus is asked for by all tasks together: everything fits.
const FILLED: f64 = 0.6;
/// The catalogue's mean task, thousandths of a cpu.
const MEAN_MILLI: f64 = 1650.0;
/// And of an agent's shape.
const MEAN_CORES: f64 = 64.0;

pub struct Mix {
    random: SmallRng,
    agents: u32,
    jobs: u32,
    scale: f64,
}

fn set(values: Vec<String>) -> v1::constraint::Rule {
    v1::constraint::Rule::OneOf(v1::ValueSet { values })
}

impl Mix {
    pub fn new(agents: u32, tasks: u32) -> Mix {
        let cpu_milli = f64::from(agents) * MEAN_CORES * 1000.0;
        let scale = (cpu_milli * FILLED / f64::from(tasks.max(1)) / MEAN_MILLI).min(1.0);
        Mix { random: SmallRng::seed_from_u64(1), agents, jobs: 0, scale }
    }

    /// What an agent says at its first registration.
    pub fn register(&mut self, agent: u32) -> v1::Register {
        let random = &mut self.random;
        let (cores, gib) = *[(32, 128), (64, 256), (64, 512), (96, 384)].choose(random).expect("some");
        let rack = agent / RACK;
        let mut attributes = vec![("rack".to_string(), format!("rack{rack}"))];
        for (name, values) in [("zone", 5), ("generation", 10), ("disk", 2), ("arch", 2)] {
            let value = if name == "zone" { rack % values } else { random.random_range(0..values) };
            attributes.push((name.to_string(), format!("{name}{value}")));
        }
        let total = v1::Resources {
            cpu_milli: cores * 1000,
            memory_bytes: gib << 30,
            disk_bytes: 2000 << 30,
            ..Default::default()
        };
        let attributes =
            attributes.into_iter().map(|(name, value)| v1::Attribute { name, values: vec![value] }).collect();
        let ports = vec![v1::PortRange { first: 31_000, last: 32_000 }];
        v1::Register {
            agent_id: format!("n{agent}"),
            hostname: format!("node-{agent}.example"),
            version: "bench".into(),
            offer: Some(v1::Offer { epoch: 1, total: Some(total), attributes, ports, ..Default::default() }),
            isolation: "none".into(),
            boot_id: "boot".into(),
            ..Default::default()
        }
    }

    /// The next job, of at most so many instances.
    pub fn job(&mut self, at_most: u32) -> v1::JobSpec {
        let random = &mut self.random;
        // Pareto, alpha 1.3, from 3: mean about 12.
        let uniform: f64 = random.random_range(1e-9..1.0f64);
        let most = at_most.min(5000).min(self.agents / 10).max(1);
        let instances = ((3.0 / uniform.powf(1.0 / 1.3)) as u32).clamp(1, most);
        let catalogue = [(250, 512), (500, 1024), (500, 4096), (1000, 2048), (1000, 6144), (2000, 4096), (4000, 16384)];
        let (cpu, memory_mib) = *catalogue.choose(random).expect("some");
        let part = |amount: u64| ((amount as f64 * self.scale) as u64).max(1);
        let mut job = job(&format!("role{}", self.jobs % ROLES), &format!("job{}", self.jobs), instances);
        let resources =
            v1::Resources { cpu_milli: part(cpu), memory_bytes: part(memory_mib << 20), ..Default::default() };
        job.task.get_or_insert_default().resources = Some(resources);
        self.jobs += 1;
        job.tier = if random.random_bool(0.5) { Tier::Production } else { Tier::Batch }.into();
        job.priority = random.random_range(0..10) * 10;
        let mut rule = |attribute: &str, rule| {
            job.constraints.push(v1::Constraint { attribute: attribute.into(), rule: Some(rule) });
        };
        if random.random_bool(0.4) {
            let (name, values) =
                *[("zone", 5), ("generation", 10), ("disk", 2), ("arch", 2)].choose(random).expect("some");
            let wanted = (0..1 + values / 4).map(|_| format!("{name}{}", random.random_range(0..values))).collect();
            rule(name, set(wanted));
        }
        if random.random_bool(0.3) {
            rule("host", v1::constraint::Rule::Limit(1 + instances * 20 / self.agents.max(1)));
        }
        if random.random_bool(0.3) {
            let racks = (self.agents / RACK).max(1);
            rule("rack", v1::constraint::Rule::Limit(2 + instances * 8 / racks));
        }
        if random.random_bool(0.3) {
            let attribute = if random.random_bool(0.5) { "rack" } else { "zone" }.into();
            job.spreads.push(v1::Spread { attribute, weight: 50, ..Default::default() });
        }
        job
    }
}

/// A batch job of `/bin/true`.
pub fn job(role: &str, name: &str, instances: u32) -> v1::JobSpec {
    let process = v1::ProcessSpec { name: "main".into(), argv: vec!["/bin/true".into()], ..Default::default() };
    let small = v1::Resources { cpu_milli: 1, memory_bytes: 1 << 20, ..Default::default() };
    v1::JobSpec {
        key: Some(v1::JobKey { role: role.into(), env: "bench".into(), name: name.into() }),
        kind: JobKind::Batch.into(),
        instances,
        task: Some(v1::TaskSpec { processes: vec![process], resources: Some(small), ..Default::default() }),
        tier: Tier::Production.into(),
        ..Default::default()
    }
}
