//! Job specs as scenarios write them: small, and every process marked so that the kernel can be asked about it.

use dawn_proto::{JobKey, v1};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A job to be submitted.
#[derive(Clone, Debug)]
pub struct Spec(pub v1::JobSpec);

const MIB: u64 = 1 << 20;
/// What one variable of an environment may have, about.
const VARIABLE_BYTES: usize = 100_000;

/// A job of user `nobody` with one small process that sleeps for ever.
fn job(name: &str, kind: v1::JobKind, tier: v1::Tier) -> Spec {
    let resources =
        v1::Resources { cpu_milli: 100, memory_bytes: 32 * MIB, disk_bytes: 16 * MIB, ..Default::default() };
    let task = v1::TaskSpec { resources: Some(resources), grace_period_ms: 2_000, ..Default::default() };
    let key = v1::JobKey { role: "nobody".into(), env: "test".into(), name: name.into() };
    let restart = v1::RestartPolicy {
        on: 0,
        max_failures: u32::from(kind != v1::JobKind::Service),
        initial_backoff_ms: 200,
        max_backoff_ms: 5_000,
        stable_after_ms: 60_000,
    };
    let job = v1::JobSpec {
        key: Some(key),
        instances: 1,
        task: Some(task),
        priority: 10,
        restart: Some(restart),
        ..Default::default()
    };
    let mut spec = Spec(job);
    spec.0.set_kind(kind);
    spec.0.set_tier(tier);
    spec.argv(&["sleep", "100000"])
}

pub fn service(name: &str) -> Spec {
    job(name, v1::JobKind::Service, v1::Tier::Production)
}

pub fn batch(name: &str) -> Spec {
    job(name, v1::JobKind::Batch, v1::Tier::Batch)
}

/// A cron job in UTC.
pub fn cron(name: &str, schedule: &str) -> Spec {
    let mut spec = job(name, v1::JobKind::Cron, v1::Tier::Batch);
    spec.0.cron = Some(v1::CronPolicy { schedule: schedule.into(), ..Default::default() });
    spec
}

impl Spec {
    fn task(&mut self) -> &mut v1::TaskSpec {
        self.0.task.get_or_insert_default()
    }

    fn resources(&mut self) -> &mut v1::Resources {
        self.task().resources.get_or_insert_default()
    }

    /// Changes the message itself, for what has no word of its own here.
    pub fn with(mut self, change: impl FnOnce(&mut v1::JobSpec)) -> Spec {
        change(&mut self.0);
        self
    }

    /// An environment of so many bytes, which shrink when packed, or don't. Another `seed` is another text.
    pub fn large(mut self, bytes: usize, shrinks: bool, seed: u64) -> Spec {
        let mut chance = SmallRng::seed_from_u64(seed);
        let mut letter = || if shrinks { 'x' } else { char::from(chance.random_range(b'!'..=b'~')) };
        for (number, from) in (0..bytes).step_by(VARIABLE_BYTES).enumerate() {
            let text = (from..bytes.min(from + VARIABLE_BYTES)).map(|_| letter()).collect();
            self.task().env.insert(format!("LARGE{number}"), text);
        }
        self
    }

    pub fn instances(self, instances: u32) -> Spec {
        self.with(|job| job.instances = instances)
    }

    pub fn tier(self, tier: v1::Tier) -> Spec {
        self.with(|job| job.set_tier(tier))
    }

    /// Its only process: this program.
    pub fn argv(mut self, argv: &[&str]) -> Spec {
        let argv = argv.iter().map(|arg| arg.to_string()).collect();
        self.task().processes = vec![v1::ProcessSpec { name: "main".into(), argv, ..Default::default() }];
        self
    }

    /// Its only process: this shell command.
    pub fn shell(mut self, command: &str) -> Spec {
        let shell = command.into();
        self.task().processes = vec![v1::ProcessSpec { name: "main".into(), shell, ..Default::default() }];
        self
    }

    pub fn cpu_milli(mut self, cpu_milli: u64) -> Spec {
        self.resources().cpu_milli = cpu_milli;
        self
    }

    pub fn memory_mib(mut self, memory_mib: u64) -> Spec {
        self.resources().memory_bytes = memory_mib * MIB;
        self
    }

    /// A named port; `fixed` 0 lets the scheduler choose.
    pub fn port(mut self, name: &str, fixed: u16) -> Spec {
        self.task().ports.push(v1::PortSpec { name: name.into(), fixed: fixed.into() });
        self
    }

    pub fn grace_ms(mut self, grace_period_ms: u64) -> Spec {
        self.task().grace_period_ms = grace_period_ms;
        self
    }

    /// Failures before an instance is given up.
    pub fn max_failures(self, max_failures: u32) -> Spec {
        self.with(|job| job.restart.get_or_insert_default().max_failures = max_failures)
    }

    pub fn backoff_ms(self, initial_ms: u64, max_ms: u64) -> Spec {
        self.with(|job| {
            let restart = job.restart.get_or_insert_default();
            (restart.initial_backoff_ms, restart.max_backoff_ms) = (initial_ms, max_ms);
        })
    }

    /// The key and the message, with the cluster's mark in the environment of every process.
    pub fn marked(mut self, cluster: &str) -> (JobKey, v1::JobSpec) {
        let wire = self.0.key.clone().expect("specs here are made with a key");
        let key = JobKey::try_from(&wire).unwrap_or_else(|error| panic!("{error}"));
        self.task().env.insert("CLUSTER_MARK".into(), format!("{cluster}:{key}"));
        (key, self.0)
    }
}

/// Tasks in a line each, with their whole history.
pub fn tell(tasks: &[v1::Task]) -> String {
    let step = |step: &v1::Transition| match step.message.as_str() {
        "" => step.state().plain_name().to_string(),
        message => format!("{} ({}: {message})", step.state().plain_name(), step.reason().plain_name()),
    };
    let line = |task: &v1::Task| {
        let history: Vec<String> = task.history.iter().map(step).collect();
        format!("t{} instance {} on {:?}: {}", task.id, task.instance, task.hostname, history.join(" -> "))
    };
    if tasks.is_empty() { "no tasks".into() } else { tasks.iter().map(line).collect::<Vec<_>>().join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specs_are_valid_as_they_are_made() {
        for spec in [service("a"), batch("b"), cron("c", "* * * * *")] {
            let (_, spec) = spec.marked("cluster");
            dawn_proto::validate::job_spec(spec).unwrap_or_else(|errors| panic!("{errors:?}"));
        }
    }
}
