//! What people ask of the simulated cluster, and what they were promised.

use std::collections::BTreeMap;

use dawn_proto::JobKey;
use dawn_proto::v1::{self, JobKind, Tier};
use dawn_scheduler::model::{Answer, Command, Event, Refusal, ReplyTo};
use dawn_scheduler::wire;
use rand::Rng;

use super::World;
use super::agenda::Happening;

/// Something somebody asks at a moment.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Run { number: usize },
    Kill { number: usize },
}

/// A job that may be asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub key: JobKey,
    pub spec: v1::JobSpec,
    /// Its submission was acknowledged.
    pub acknowledged: bool,
    pub kill_asked: bool,
    pub killed: bool,
}

#[derive(Default)]
pub(super) struct Load {
    pub jobs: Vec<Wanted>,
    asked: BTreeMap<ReplyTo, Ask>,
    count: u64,
}

impl Load {
    pub fn answered(&mut self, to: ReplyTo, answer: Result<Answer, Refusal>) {
        match (self.asked.remove(&to), answer) {
            (Some(Ask::Run { number }), Ok(_)) => self.jobs[number].acknowledged = true,
            (Some(Ask::Kill { number }), Ok(_)) => self.jobs[number].killed = true,
            _ => {}
        }
    }
}

const JOBS: usize = 12;

impl World {
    /// Jobs of both kinds at random moments; some are killed later.
    pub(super) fn plan_load(&mut self) {
        for number in 0..JOBS {
            let spec = self.random_spec(number);
            let key = JobKey::new("role", "env", &format!("job{number}")).expect("a valid key");
            let wanted = Wanted { key, spec, acknowledged: false, kill_asked: false, killed: false };
            self.load.jobs.push(wanted);
            let busy = self.scenario.busy_ms;
            let at = self.within(500, busy / 2);
            self.agenda.add(at, Happening::Ask { ask: Ask::Run { number } });
            if self.chance.random_bool(0.3) {
                let at = self.within(at, busy);
                self.agenda.add(at, Happening::Ask { ask: Ask::Kill { number } });
            }
        }
    }

    fn random_spec(&mut self, number: usize) -> v1::JobSpec {
        let service = number % 2 == 0;
        let lasts = if service { self.within(20_000, 400_000) } else { self.within(10, 20_000) };
        let code = if service || self.chance.random_bool(0.2) { 1 } else { 0 };
        let argv = ["run".to_string(), lasts.to_string(), "exit".into(), code.to_string()];
        let process = v1::ProcessSpec { name: "main".into(), argv: argv.into(), ..Default::default() };
        let resources = v1::Resources {
            cpu_milli: self.within(1, 8) * 100,
            memory_bytes: 64 << 20,
            disk_bytes: 64 << 20,
            ..Default::default()
        };
        let ports = if service { vec![v1::PortSpec { name: "http".into(), fixed: 0 }] } else { Vec::new() };
        let task = v1::TaskSpec {
            processes: vec![process],
            resources: Some(resources),
            ports,
            grace_period_ms: 2_000,
            ..Default::default()
        };
        let restart = v1::RestartPolicy {
            on: 0,
            max_failures: if service { 0 } else { 5 },
            initial_backoff_ms: 200,
            max_backoff_ms: 5_000,
            stable_after_ms: 10_000,
        };
        let key = v1::JobKey { role: "role".into(), env: "env".into(), name: format!("job{number}") };
        let mut spec = v1::JobSpec {
            key: Some(key),
            instances: u32::try_from(self.within(1, 4)).unwrap_or(1),
            task: Some(task),
            priority: 10,
            restart: Some(restart),
            partition: Some(v1::PartitionPolicy { wait: false, delay_ms: 2_000 }),
            ..Default::default()
        };
        spec.at_most_one = number.is_multiple_of(3);
        spec.set_kind(if service { JobKind::Service } else { JobKind::Batch });
        spec.set_tier(if service { Tier::Production } else { Tier::BatchTier });
        spec
    }

    pub(super) fn ask(&mut self, ask: Ask) -> Result<(), String> {
        if !self.leader.is_up() {
            let delay = self.within(100, 1_000);
            self.after(delay, Happening::Ask { ask });
            return Ok(());
        }
        let (author, message) = ("somebody".to_string(), String::new());
        let command = match ask {
            Ask::Run { number } => {
                let spec = wire::parse_job_spec(self.load.jobs[number].spec.clone());
                let spec = Box::new(spec.map_err(|errors| format!("a spec of the load is refused: {errors:?}"))?);
                Command::Submit { spec, author, message }
            }
            Ask::Kill { number } => {
                self.load.jobs[number].kill_asked = true;
                let key = self.load.jobs[number].key.clone();
                Command::Kill { key, instances: Vec::new(), author, message }
            }
        };
        self.load.count += 1;
        let reply = ReplyTo(self.load.count);
        self.load.asked.insert(reply, ask);
        self.leader_event(Event::Command { reply, command });
        Ok(())
    }
}
