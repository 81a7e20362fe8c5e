//! A small cluster: its state and a placer that follows it, and random things that happen to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dawn_proto::v1::{Comparison, JobKind, NodeState, Reason, RestartOn, Tier};
use dawn_proto::{AgentId, JobKey, Resources, SpecId, TaskId, TaskState, Timestamp};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::decide::place::{PlaceSettings, Placer};
use crate::model::{
    Affinity, AgentAvoided, AgentForgotten, AgentMoved, AgentNo, AgentSeen, Attributes, BlameMutation, Constraint,
    FaultOf, FlowSpec, JobId, JobMade, JobSpec, JobVersioned, KeptOff, Mutation, Near, Now, PortDemand, PortRanges,
    RestartPolicy, Rule, Spec, Spread, State, TakenPorts, TaskMade, TaskMoved,
};

use super::twin::Seen;

pub const GIB: u64 = 1 << 30;

pub struct World {
    pub state: State,
    pub placer: Placer,
    pub settings: PlaceSettings,
    pub connected: BTreeSet<AgentNo>,
    pub now: Now,
    pub random: SmallRng,
    /// Of agents seen from now on.
    pub max_tasks: u32,
    pub taken_ports: TakenPorts,
}

pub fn resources(cpu_milli: u64, memory_gib: u64) -> Resources {
    Resources { cpu_milli, memory_bytes: memory_gib * GIB, disk_bytes: 0, ..Resources::default() }
}

pub fn job(key: &str, instances: u32, demand: Resources) -> JobSpec {
    JobSpec {
        key: key.parse().unwrap(),
        kind: JobKind::Batch,
        instances,
        tier: Tier::Production,
        priority: 0,
        demand,
        ports: Vec::new(),
        constraints: Vec::new(),
        affinities: Vec::new(),
        spreads: Vec::new(),
        dedicated: None,
        restart: RestartPolicy {
            on: RestartOn::Failure,
            max_failures: 1,
            initial_backoff_ms: 0,
            max_backoff_ms: 0,
            stable_after_ms: 0,
        },
        cron: None,
        partition_wait: false,
        partition_delay_ms: 0,
        max_run_time_ms: None,
        disruption_budget: None,
        grace_period_ms: 5_000,
        ladder_ms: 0,
        at_most_one: false,
        has_root_fs: false,
        has_artifacts: false,
        flow: FlowSpec::default(),
        update: crate::wire::update_policy(None),
        sla: None,
        wire: Vec::new().into(),
    }
}

pub fn limit(attribute: &str, most: u32) -> Constraint {
    Constraint { attribute: attribute.into(), rule: Rule::Limit(most) }
}

pub fn one_of(attribute: &str, values: &[&str]) -> Constraint {
    let values = values.iter().map(|value| value.to_string()).collect();
    Constraint { attribute: attribute.into(), rule: Rule::OneOf(values) }
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with(seed, PlaceSettings::default())
    }

    pub fn with(seed: u64, settings: PlaceSettings) -> World {
        let state = State::default();
        let placer = Placer::rebuild(&state, &settings);
        let now = Now { wall: Timestamp(1_000_000), mono_ms: 0 };
        World {
            state,
            placer,
            settings,
            connected: BTreeSet::new(),
            now,
            random: SmallRng::seed_from_u64(seed),
            max_tasks: 5_000,
            taken_ports: TakenPorts::new(),
        }
    }

    /// What there is, without the placer.
    pub fn seen(&self) -> Seen<'_> {
        Seen { state: &self.state, connected: &self.connected, now: self.now }
    }

    pub fn apply(&mut self, mutation: Mutation) {
        self.state.apply_one(&mutation, self.now.wall);
        self.placer.observe(&self.state, &mutation);
    }

    pub fn connect(&mut self, agent: AgentNo, yes: bool) {
        if yes {
            self.connected.insert(agent)
        } else {
            self.connected.remove(&agent)
        };
        self.placer.connected(&self.state, agent, yes);
    }

    /// An agent with these attributes, written "rack=r1 zone=a", up and connected.
    pub fn agent(&mut self, total: Resources, attributes: &str, ports: PortRanges) -> AgentNo {
        let agent = self.state.next_agent;
        self.see(agent, total, attributes, ports);
        self.connect(agent, true);
        agent
    }

    pub fn see(&mut self, agent: AgentNo, total: Resources, attributes: &str, ports: PortRanges) {
        let mut parsed = Attributes::new();
        for (name, value) in attributes.split_whitespace().filter_map(|pair| pair.split_once('=')) {
            parsed.insert(name.into(), value.split(',').map(str::to_string).collect());
        }
        self.apply(Mutation::AgentSeen(Box::new(AgentSeen {
            agent,
            id: AgentId::new(&format!("node-{}", agent.0)).unwrap(),
            hostname: format!("node-{}", agent.0),
            version: String::new(),
            isolation: String::new(),
            boot_id: String::new(),
            total,
            attributes: parsed,
            ports,
            max_tasks: self.max_tasks,
            taken_ports: self.taken_ports.clone(),
            offer_epoch: 1,
        })));
    }

    /// Submits a job, or a new version of it, and makes its tasks, pending.
    pub fn submit(&mut self, spec: JobSpec) -> (JobId, Vec<TaskId>) {
        let job = match self.state.indexes().job_by_key.get(&spec.key) {
            Some(job) => *job,
            None => {
                let job = self.state.next_job;
                self.apply(Mutation::JobMade(JobMade { job, key: spec.key.clone() }));
                job
            }
        };
        let (id, instances) = (self.state.next_spec, spec.instances);
        let spec = Arc::new(Spec::new(id, id.0 as u32 + 1, spec));
        self.apply(Mutation::JobVersioned(JobVersioned { job, spec, author: String::new(), message: String::new() }));
        (job, (0..instances).map(|instance| self.make_task(job, id, instance, Reason::None)).collect())
    }

    pub fn make_task(&mut self, job: JobId, spec: SpecId, instance: u32, reason: Reason) -> TaskId {
        let task = self.state.next_task;
        self.apply(Mutation::TaskMade(TaskMade {
            task,
            job,
            spec,
            instance,
            attempt: 1,
            failures: 0,
            restarts: 0,
            run_at: Timestamp(0),
            ready_at: None,
            reason,
        }));
        task
    }

    pub fn move_to(&mut self, task: TaskId, to: TaskState) {
        self.apply(Mutation::TaskMoved(TaskMoved {
            task,
            to,
            reason: Reason::None,
            message: "".into(),
            exit: None,
            ended: None,
        }));
    }

    /// Places without bound and applies; what was decided.
    pub fn place(&mut self) -> Vec<Mutation> {
        let decided = self.placer.place(&self.state, self.now, usize::MAX);
        decided.iter().for_each(|mutation| self.apply(mutation.clone()));
        decided
    }

    pub fn pass(&mut self, ms: u64) {
        self.now.wall = self.now.wall.plus_ms(ms);
        self.now.mono_ms += ms;
    }

    pub fn agent_of(&self, task: TaskId) -> Option<AgentNo> {
        self.state.tasks[&task].held_on()
    }

    pub fn random_agent(&mut self) {
        let random = &mut self.random;
        let mut total = resources(random.random_range(0..9) * 1000, random.random_range(0..17));
        total.disk_bytes = random.random_range(0..4) * 10 * GIB;
        total.gpu_milli = [0, 0, 1000, 4000][random.random_range(0..4)];
        if random.random_bool(0.3) {
            total.custom_milli.insert("licence".into(), random.random_range(1..4) * 1000);
        }
        let mut attributes = format!("rack=r{} zone=z{}", random.random_range(0..4), random.random_range(0..2));
        attributes += ["", " kernel=6.1.0", " kernel=5.10", " disk=ssd,nvme"].choose(random).unwrap();
        attributes += ["", "", "", " dedicated=db"].choose(random).unwrap();
        let ports = if random.random_bool(0.8) { vec![(8000, 8003), (9000, 9000)] } else { Vec::new() };
        self.max_tasks = [0, 1, 2, 3, 5_000, 5_000, 5_000, 5_000][random.random_range(0..8)];
        // A new one, or another offer of one that is there.
        let known: Vec<AgentNo> = self.state.agents.keys().copied().collect();
        match known.choose(&mut self.random).copied() {
            Some(agent) if self.random.random_bool(0.3) => self.see(agent, total, &attributes, ports),
            _ => _ = self.agent(total, &attributes, ports),
        }
    }

    pub fn random_job(&mut self) {
        let random = &mut self.random;
        let key = format!("role{}/test/job{}", random.random_range(0..3), random.random_range(0..30));
        let mut demand = resources(random.random_range(0..9) * 500, random.random_range(0..6));
        demand.disk_bytes = random.random_range(0..2) * 3 * GIB;
        demand.gpu_milli = [0, 0, 0, 0, 300, 700, 1000, 2000][random.random_range(0..8)];
        if random.random_bool(0.15) {
            demand.custom_milli.insert("licence".into(), 1000);
        }
        let mut spec = job(&key, random.random_range(1..7), demand);
        spec.kind = [JobKind::Service, JobKind::Batch][random.random_range(0..2)];
        spec.tier = [Tier::Production, Tier::Batch, Tier::Batch, Tier::Revocable][random.random_range(0..4)];
        spec.priority = random.random_range(0..4) * 10;
        spec.disruption_budget = [None, Some(1), Some(2)][random.random_range(0..3)];
        spec.dedicated = random.random_bool(0.1).then(|| "db".to_string());
        for name in ["http", "admin"].iter().take(random.random_range(0..3)) {
            let fixed = random.random_bool(0.2).then_some(if *name == "http" { 9000 } else { 8001 });
            spec.ports.push(PortDemand { name: (*name).into(), fixed });
        }
        for _ in 0..random.random_range(0..3) {
            spec.constraints.push(random_constraint(random));
        }
        for _ in 0..random.random_range(0..2) {
            let affinity = random_affinity(random);
            spec.affinities.push(affinity);
        }
        for attribute in ["zone", "rack", "host"].iter().take([0, 0, 1, 2][random.random_range(0..4)]) {
            let share_percent =
                if random.random_bool(0.3) { BTreeMap::from([("z0".to_string(), 80)]) } else { BTreeMap::new() };
            spec.spreads.push(Spread { attribute: (*attribute).into(), share_percent, weight: 50 });
        }
        self.submit(spec);
    }

    fn random_task(&mut self, wanted: impl Fn(TaskState) -> bool) -> Option<TaskId> {
        let tasks: Vec<TaskId> =
            self.state.tasks.values().filter(|task| wanted(task.state())).map(|task| task.id).collect();
        tasks.choose(&mut self.random).copied()
    }

    /// One thing happens that placement did not decide.
    pub fn random_event(&mut self) {
        match self.random.random_range(0..12) {
            0 | 1 => self.random_agent(),
            2..=4 => self.random_job(),
            5 => {
                if let Some(task) = self.random_task(|state| !state.is_terminal()) {
                    self.move_to(task, TaskState::Killed);
                }
            }
            6 | 7 => {
                if let Some(task) = self.random_task(|state| state.is_placed()) {
                    let to = [TaskState::Finished, TaskState::Failed, TaskState::Lost][self.random.random_range(0..3)];
                    self.move_to(task, to);
                }
            }
            8 => {
                if let Some(task) = self.random_task(|state| state == TaskState::Assigned) {
                    self.move_to(task, TaskState::Running);
                }
            }
            9 => {
                if let Some(task) = self.random_task(|state| state.is_placed() && !state.is_stopping()) {
                    let to = [TaskState::Killing, TaskState::Draining, TaskState::Partitioned]
                        [self.random.random_range(0..3)];
                    self.move_to(task, to);
                }
            }
            10 => self.random_agent_event(),
            _ => self.pass(self.random.clone().random_range(0..40_000)),
        }
    }

    /// Some job keeps off the agent, or no longer.
    fn random_keeping_off(&mut self, agent: AgentNo) {
        let jobs: Vec<JobId> = self.state.jobs.keys().copied().collect();
        let Some(job) = jobs.choose(&mut self.random).copied() else { return };
        let Some(spec) = self.state.current_spec(&self.state.jobs[&job]).map(|spec| spec.id) else { return };
        let fault_of = [FaultOf::Unknown, FaultOf::Agent, FaultOf::Agent, FaultOf::Job][self.random.random_range(0..4)];
        let mutation = match self.random.random_bool(0.7) {
            true => {
                let (reason, until) = (Reason::SandboxFailed, self.now.wall.plus_ms(60_000));
                BlameMutation::KeptOff { job, kept: KeptOff { agent, spec, reason, fault_of, failures: 1, until } }
            }
            false => BlameMutation::LetIn { job, agent, spec },
        };
        self.apply(Mutation::Blame(mutation));
    }

    fn random_agent_event(&mut self) {
        let known: Vec<AgentNo> = self.state.agents.keys().copied().collect();
        let Some(agent) = known.choose(&mut self.random).copied() else { return };
        match self.random.random_range(0..7) {
            5 => self.random_keeping_off(agent),
            6 => {
                let (author, message) = (String::new(), String::new());
                self.apply(Mutation::Blame(BlameMutation::Forgiven { agent, author, message }));
            }
            0 => self.apply(Mutation::AgentMoved(AgentMoved { agent, to: NodeState::Unreachable })),
            1 => self.apply(Mutation::AgentMoved(AgentMoved { agent, to: NodeState::Up })),
            2 => {
                let until = self.random.random_bool(0.5).then(|| self.now.wall.plus_ms(20_000));
                self.apply(Mutation::AgentAvoided(AgentAvoided { agent, until, why: "failed".into(), times: 1 }));
            }
            3 => self.connect(agent, !self.connected.contains(&agent)),
            _ => {
                let held: Vec<TaskId> =
                    self.state.indexes().tasks_on.get(&agent).into_iter().flatten().copied().collect();
                self.apply(Mutation::AgentMoved(AgentMoved { agent, to: NodeState::Down }));
                held.into_iter().for_each(|task| self.move_to(task, TaskState::Lost));
                if self.random.random_bool(0.5) {
                    self.connect(agent, false);
                    self.apply(Mutation::AgentForgotten(AgentForgotten { agent }));
                }
            }
        }
    }
}

fn random_constraint(random: &mut SmallRng) -> Constraint {
    let strings = |values: &[&str]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
    let (attribute, rule) = match random.random_range(0..10) {
        0 => ("rack", Rule::OneOf(strings(&["r0", "r1"]))),
        1 => ("zone", Rule::NoneOf(strings(&["z0"]))),
        2 => ("kernel", Rule::Exists),
        3 => ("rack", Rule::Regex("r[0-2]".into())),
        4 => ("kernel", Rule::Version(Comparison::GreaterOrEqual, "6".into())),
        5 => ("disk", Rule::OneOf(strings(&["nvme"]))),
        6 => ("host", Rule::NoneOf(strings(&["node-0", "node-1"]))),
        7 => ("rack", Rule::Limit(random.random_range(1..3))),
        8 => ("zone", Rule::Limit(random.random_range(1..5))),
        _ => ("host", Rule::Limit(1)),
    };
    Constraint { attribute: attribute.into(), rule }
}

fn random_affinity(random: &mut SmallRng) -> Affinity {
    let weight = [-100, -10, 10, 100][random.random_range(0..4)];
    let near = if random.random_bool(0.3) {
        Near::Attribute(Constraint { attribute: "zone".into(), rule: Rule::OneOf(vec!["z1".into()]) })
    } else {
        let name = format!("role{}/test/job{}", random.random_range(0..3), random.random_range(0..30));
        let topology = ["host", "rack", ""].choose(random).unwrap().to_string();
        Near::Job { job: name.parse::<JobKey>().unwrap(), topology }
    };
    Affinity { weight, required: random.random_bool(0.4) && matches!(near, Near::Job { .. }), near }
}
