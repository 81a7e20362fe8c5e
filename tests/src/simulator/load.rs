//! What people ask of the simulated cluster, and what they were promised. They ask again until they are answered.

use std::collections::BTreeMap;

use dawn_proto::JobKey;
use dawn_proto::v1::{self, JobKind, Misfire, Overlap, Tier, UpdateStrategy, constraint};
use dawn_scheduler::model::{Answer, Bounds, Command, LossCommand, Refusal};
use dawn_scheduler::wire;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::agenda::Happening;
use super::nodes::NodeEvent;
use super::{Word, World};

/// Something somebody asks at a moment.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Run {
        number: usize,
    },
    Kill {
        number: usize,
    },
    /// A service is asked for with another command.
    Change {
        number: usize,
        lasts_ms: u64,
    },
    /// Thousandths of cpu that the second role may hold.
    Quota {
        cpu_milli: u64,
    },
    /// An operator says that a machine is gone for good.
    Gone {
        machine: usize,
    },
    ReleaseBrake,
}

/// A job that may be asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub key: JobKey,
    pub spec: v1::JobSpec,
    /// Its submission was acknowledged.
    pub acknowledged: bool,
    pub killed: bool,
}

#[derive(Default)]
pub(super) struct Load {
    pub jobs: Vec<Wanted>,
    asked: BTreeMap<u64, Ask>,
    count: u64,
    /// Thousandths of cpu of all services: they must all fit in the end.
    services_milli: u64,
}

impl Load {
    pub fn waits_for(&self, number: u64) -> bool {
        self.asked.contains_key(&number)
    }

    /// What is asked and not answered.
    pub fn unanswered(&self) -> impl Iterator<Item = &Ask> {
        self.asked.values()
    }

    pub fn answered(&mut self, number: u64, answer: Option<Result<Answer, Refusal>>) {
        // Without an answer, or while nothing is written, it is asked again.
        let Some(answer) = answer else { return };
        if matches!(answer, Err(Refusal::NoWrites { .. })) {
            return;
        }
        match (self.asked.remove(&number), answer) {
            (Some(Ask::Run { number }), Ok(_)) => self.jobs[number].acknowledged = true,
            // Ended by itself, or by a try whose answer was lost.
            (Some(Ask::Kill { number }), Ok(_) | Err(Refusal::JobEnded { .. })) => self.jobs[number].killed = true,
            _ => {}
        }
    }
}

const SERVICES: usize = 6;
const BATCHES: usize = 6;
const POLICIES: [Overlap; 4] = [Overlap::CancelNew, Overlap::KillExisting, Overlap::Allow, Overlap::Queue];
/// The last one: one task on each machine of a rack.
const DAEMON: usize = SERVICES + BATCHES + POLICIES.len();
/// After it one that starts nowhere: its root file system is not there.
const BROKEN: usize = DAEMON + 1;
const MISFIRES: [Misfire; 3] = [Misfire::Skip, Misfire::Once, Misfire::All];
/// Of all services at most, of four machines with four each; and of two, where most burn down.
const MOST_SERVICES_MILLI: u64 = 8_000;
const MOST_SERVICES_OF_FEW_MILLI: u64 = 3_000;
/// An operator looks at the cluster so long after the fire, and again as often.
const OPERATOR_LOOKS_MS: u64 = 8_000;
const OPERATOR_LOOKS: u64 = 5;
const RELEASE_MS: u64 = 20_000;
const AGAIN_MS: u64 = 4_000;

impl World {
    /// Jobs of all kinds at random moments; some are killed later.
    pub(super) fn plan_load(&mut self) {
        let busy = self.scenario.busy_ms;
        for number in 0..=BROKEN {
            let spec = self.random_spec(number);
            let key = spec.key.as_ref().and_then(|key| JobKey::try_from(key).ok()).expect("a valid key");
            self.load.jobs.push(Wanted { key, spec, acknowledged: false, killed: false });
            let cron = (SERVICES + BATCHES..DAEMON).contains(&number);
            let at = self.within(500, if cron { 20_000 } else { busy / 2 });
            self.agenda.add(at, Happening::Ask { ask: Ask::Run { number } });
            if self.chance.random_bool(0.25) {
                let at = self.within(at, busy);
                self.agenda.add(at, Happening::Ask { ask: Ask::Kill { number } });
            } else if number < SERVICES || number == DAEMON {
                // Some of the new versions end too soon to be healthy.
                let lasts_ms = if self.chance.random_bool(0.3) { 300 } else { self.within(20_001, 400_000) };
                let at = self.within(busy / 2, busy);
                self.agenda.add(at, Happening::Ask { ask: Ask::Change { number, lasts_ms } });
            }
        }
        for _ in 0..2 {
            let (at, cpu_milli) = (self.within(0, busy), self.within(20, 120) * 100);
            self.agenda.add(at, Happening::Ask { ask: Ask::Quota { cpu_milli } });
        }
        // In the end everything that was let in is to run.
        self.agenda.add(busy, Happening::Ask { ask: Ask::Quota { cpu_milli: 1_000_000 } });
        self.plan_operator();
    }

    /// What an operator says is refused as long as the scheduler does not see it, so it is said again.
    fn plan_operator(&mut self) {
        for look in 1..=OPERATOR_LOOKS {
            let at = self.scenario.busy_ms + look * OPERATOR_LOOKS_MS;
            let gone = self.machines.len() - self.scenario.burnt..self.machines.len();
            match self.scenario.word {
                Word::Nothing => {}
                Word::Down => {
                    gone.for_each(|machine| self.agenda.add(at, Happening::Ask { ask: Ask::Gone { machine } }))
                }
                Word::Release => self.agenda.add(at, Happening::Ask { ask: Ask::ReleaseBrake }),
            }
        }
    }

    fn random_spec(&mut self, number: usize) -> v1::JobSpec {
        let kind = match number {
            _ if number < SERVICES => JobKind::Service,
            _ if number < SERVICES + BATCHES => JobKind::Batch,
            DAEMON => JobKind::Daemon,
            BROKEN => JobKind::Batch,
            _ => JobKind::Cron,
        };
        let service = kind.runs_for_ever();
        let (lasts, cpu_milli, instances) = match kind {
            JobKind::Service => (self.within(20_000, 400_000), self.within(1, 12) * 100, self.within(1, 4)),
            JobKind::Batch => (self.within(10, 15_000), self.within(2, 15) * 100, self.within(1, 4)),
            JobKind::Daemon => (self.within(20_000, 400_000), 100, 1),
            _ => (self.within(1_000, 90_000), 100, self.within(1, 2)),
        };
        // One on a host at most: two of the four must not be able to fill up before it.
        let (cpu_milli, instances) = match constraints(number).first().and_then(|one| one.rule.as_ref()) {
            Some(constraint::Rule::Limit(_)) if service => (cpu_milli.min(500), instances.min(2)),
            _ => (cpu_milli, instances),
        };
        let most_milli = if self.scenario.burnt > 1 { MOST_SERVICES_OF_FEW_MILLI } else { MOST_SERVICES_MILLI };
        let fits = self.load.services_milli + cpu_milli * instances <= most_milli;
        let (cpu_milli, instances) = if service && !fits { (100, 1) } else { (cpu_milli, instances) };
        self.load.services_milli += if service { cpu_milli * instances } else { 0 };
        let code = if service || self.chance.random_bool(0.2) { 1 } else { 0 };
        let role = match number {
            BROKEN => "broken",
            _ if number % 3 == 1 && kind != JobKind::Daemon => "other",
            _ => "role",
        };
        let key = v1::JobKey { role: role.into(), env: "env".into(), name: format!("job{number}") };
        let mut spec = v1::JobSpec {
            key: Some(key),
            instances: u32::try_from(instances).unwrap_or(1),
            task: Some(task(lasts, code, cpu_milli, service)),
            priority: *[10, 50].choose(&mut self.chance).unwrap_or(&10),
            restart: Some(restart(service)),
            partition: Some(v1::PartitionPolicy { wait: false, delay_ms: 2_000 }),
            disruption_budget: if number % 4 == 2 { 1 } else { 0 },
            ..Default::default()
        };
        if number == BROKEN {
            let source = Some(v1::root_fs::Source::Tarball("/images/tpyo.tgz".into()));
            spec.task.as_mut().expect("a task").root_fs = Some(v1::RootFs { source, tag: String::new() });
        }
        spec.update = service.then(|| self.update_policy());
        spec.set_kind(kind);
        spec.set_tier(if service { Tier::Production } else { Tier::Batch });
        spec.constraints = constraints(number);
        if kind == JobKind::Cron {
            let misfire = *MISFIRES.choose(&mut self.chance).unwrap_or(&Misfire::Skip);
            spec.cron = Some(cron(POLICIES[number - SERVICES - BATCHES], misfire));
        }
        let overlaps = spec.cron.as_ref().is_some_and(|cron| cron.overlap() == Overlap::Allow);
        spec.at_most_one = number.is_multiple_of(3) && !overlaps;
        spec
    }

    /// Without surge: no instance ever lives twice.
    fn update_policy(&mut self) -> v1::UpdatePolicy {
        let strategies = [UpdateStrategy::RollingQueue, UpdateStrategy::Batches, UpdateStrategy::Canary];
        let strategy = *strategies.choose(&mut self.chance).unwrap_or(&UpdateStrategy::RollingQueue);
        v1::UpdatePolicy {
            strategy: strategy.into(),
            group_sizes: vec![if self.chance.random_bool(0.5) { 2 } else { 1 }],
            canaries: u32::from(strategy == UpdateStrategy::Canary),
            watch_ms: Some(1_000),
            max_instance_failures: u32::from(self.chance.random_bool(0.5)),
            progress_deadline_ms: 60_000,
            ..Default::default()
        }
    }

    /// Asks whoever leads, as a client that knows them all does; again when there is no answer in time.
    pub(super) fn ask(&mut self, ask: Ask) -> Result<(), String> {
        let known = |number: &usize| self.load.jobs[*number].acknowledged;
        let too_early = matches!(&ask, Ask::Kill { number } | Ask::Change { number, .. } if !known(number));
        let leader = self.leading().filter(|_| !too_early);
        let Some(node) = leader else {
            let delay = self.within(100, 1_000);
            // A job that was refused is never killed or changed.
            if !too_early || self.now_ms < self.scenario.busy_ms {
                self.after(delay, Happening::Ask { ask });
            }
            return Ok(());
        };
        let (author, message) = ("somebody".to_string(), String::new());
        let command = match ask {
            Ask::Run { number } => {
                let spec = wire::parse_job_spec(self.load.jobs[number].spec.clone());
                let spec = Box::new(spec.map_err(|errors| format!("a spec of the load is refused: {errors:?}"))?);
                Command::Submit { spec, author, message }
            }
            Ask::Change { number, lasts_ms } => {
                let mut spec = self.load.jobs[number].spec.clone();
                let process = spec.task.as_mut().and_then(|task| task.processes.first_mut());
                process.ok_or("a service without a process")?.argv[1] = lasts_ms.to_string();
                let spec = wire::parse_job_spec(spec);
                let spec = Box::new(spec.map_err(|errors| format!("a changed spec is refused: {errors:?}"))?);
                Command::Submit { spec, author, message }
            }
            Ask::Kill { number } => {
                let key = self.load.jobs[number].key.clone();
                Command::Kill { key, instances: Vec::new(), author, message }
            }
            Ask::Quota { cpu_milli } => {
                let limit = Some(Bounds::only([(dawn_proto::Dimension::Cpu, cpu_milli)]));
                Command::SetQuota { role: "other".into(), guarantee: None, limit, weight: None, author }
            }
            Ask::Gone { machine } => {
                let agents = vec![self.machines[machine].agent_id()];
                Command::Loss(LossCommand::DeclareDown { agents, author, is_preview: false })
            }
            Ask::ReleaseBrake => {
                Command::Loss(LossCommand::ReleaseBrake { for_ms: RELEASE_MS, author, is_preview: false })
            }
        };
        self.load.count += 1;
        let number = self.load.count;
        self.note(|| format!("somebody asks scheduler {node}: {ask:?}"));
        self.load.asked.insert(number, ask);
        let delay = self.within(1, 20);
        self.plan(node, delay, NodeEvent::Command { number, command: Box::new(command) });
        self.after(AGAIN_MS, Happening::AskAgain { number });
        Ok(())
    }

    pub(super) fn ask_again(&mut self, number: u64) -> Result<(), String> {
        match self.load.asked.remove(&number) {
            Some(ask) => self.ask(ask),
            None => Ok(()),
        }
    }
}

fn task(lasts_ms: u64, code: i32, cpu_milli: u64, service: bool) -> v1::TaskSpec {
    let argv = ["run".to_string(), lasts_ms.to_string(), "exit".into(), code.to_string()];
    let process = v1::ProcessSpec { name: "main".into(), argv: argv.into(), ..Default::default() };
    let resources = v1::Resources { cpu_milli, memory_bytes: 64 << 20, disk_bytes: 64 << 20, ..Default::default() };
    let ports = if service { vec![v1::PortSpec { name: "http".into(), fixed: 0 }] } else { Vec::new() };
    v1::TaskSpec {
        processes: vec![process],
        resources: Some(resources),
        ports,
        grace_period_ms: 2_000,
        ..Default::default()
    }
}

fn restart(service: bool) -> v1::RestartPolicy {
    v1::RestartPolicy {
        on: 0,
        max_failures: if service { 0 } else { 3 },
        initial_backoff_ms: 200,
        max_backoff_ms: 5_000,
        stable_after_ms: 10_000,
    }
}

fn constraints(number: usize) -> Vec<v1::Constraint> {
    let rule = match number % 6 {
        4 => ("rack", constraint::Rule::OneOf(v1::ValueSet { values: vec!["r0".into()] })),
        5 => ("host", constraint::Rule::Limit(1)),
        _ => return Vec::new(),
    };
    vec![v1::Constraint { attribute: rule.0.into(), rule: Some(rule.1) }]
}

fn cron(overlap: Overlap, misfire: Misfire) -> v1::CronPolicy {
    v1::CronPolicy {
        schedule: "* * * * *".into(),
        overlap: overlap.into(),
        misfire: misfire.into(),
        misfire_limit: if misfire == Misfire::All { 2 } else { 0 },
        ..Default::default()
    }
}
