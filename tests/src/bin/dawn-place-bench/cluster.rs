//! A cluster held in memory: the state, the placer that follows it, and clocks around each.

use std::sync::Arc;
use std::time::Duration;

use dawn_proto::v1::{JobKind, Reason, RestartOn, Tier};
use dawn_proto::{AgentId, Resources, TaskId, TaskState, Timestamp};
use dawn_scheduler::decide::place::{PlaceSettings, Placer};
use dawn_scheduler::model::{
    AgentSeen, Attributes, Constraint, FlowSpec, JobMade, JobSpec, JobVersioned, Mutation, Now, PortRanges,
    RestartPolicy, Rule, Spec, State, TaskForgotten, TaskMade, TaskMoved,
};

pub const GIB: u64 = 1 << 30;

/// What a measured stretch of placing came to.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub placed: usize,
    pub victims: usize,
    /// In `place` alone.
    pub deciding: Duration,
    /// In `place`, `State::apply_one` and `observe`.
    pub applied: Duration,
    /// Of each call of `place`, with how many it decided.
    pub calls: Vec<(Duration, usize)>,
}

impl Measured {
    pub fn add(&mut self, other: Measured) {
        self.placed += other.placed;
        self.victims += other.victims;
        self.deciding += other.deciding;
        self.applied += other.applied;
        self.calls.extend(other.calls);
    }

    pub fn rate(&self) -> f64 {
        self.placed as f64 / self.deciding.as_secs_f64().max(1e-9)
    }

    pub fn rate_applied(&self) -> f64 {
        self.placed as f64 / self.applied.as_secs_f64().max(1e-9)
    }

    /// Microseconds per decision at a quantile over calls.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        let mut per: Vec<f64> = self
            .calls
            .iter()
            .filter(|(_, decided)| *decided > 0)
            .map(|(took, decided)| took.as_secs_f64() * 1e6 / *decided as f64)
            .collect();
        per.sort_by(f64::total_cmp);
        per.get(((per.len() as f64 - 1.0) * quantile).max(0.0) as usize).copied().unwrap_or(0.0)
    }
}

/// Time this thread has had on a cpu: a busy machine does not count.
pub fn cpu_time() -> Duration {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    nix::time::clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

pub struct Cluster {
    pub state: State,
    pub placer: Placer,
    pub now: Now,
}

pub fn resources(cpu_milli: u64, memory_mib: u64) -> Resources {
    Resources { cpu_milli, memory_bytes: memory_mib << 20, ..Resources::default() }
}

pub fn job(key: &str, instances: u32, demand: Resources) -> JobSpec {
    JobSpec {
        key: key.parse().expect("keys of the benchmark are valid"),
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
        grace_period_ms: 10_000,
        ladder_ms: 0,
        at_most_one: false,
        has_root_fs: false,
        has_artifacts: false,
        flow: FlowSpec::default(),
        update: dawn_scheduler::wire::update_policy(None),
        sla: None,
        wire: Vec::new().into(),
    }
}

pub fn limit(attribute: &str, most: u32) -> Constraint {
    Constraint { attribute: attribute.into(), rule: Rule::Limit(most) }
}

impl Cluster {
    pub fn new(settings: &PlaceSettings) -> Cluster {
        let state = State::default();
        let placer = Placer::rebuild(&state, settings);
        Cluster { state, placer, now: Now { wall: Timestamp(1_700_000_000_000), mono_ms: 1 } }
    }

    pub fn apply(&mut self, mutation: &Mutation) {
        self.state.apply_one(mutation, self.now.wall);
        self.placer.observe(&self.state, mutation);
    }

    pub fn agent(&mut self, total: Resources, attributes: Attributes, ports: PortRanges) {
        let agent = self.state.next_agent;
        let id = AgentId::new(&format!("n{}", agent.0)).expect("valid");
        let (hostname, version, isolation, boot_id) = Default::default();
        self.apply(&Mutation::AgentSeen(Box::new(AgentSeen {
            agent,
            id,
            hostname,
            version,
            isolation,
            boot_id,
            total,
            attributes,
            ports,
            max_tasks: 5_000,
            taken_ports: [].into(),
            offer_epoch: 1,
        })));
        self.placer.connected(&self.state, agent, true);
    }

    pub fn submit(&mut self, spec: JobSpec) {
        let (job, id, instances) = (self.state.next_job, self.state.next_spec, spec.instances);
        self.apply(&Mutation::JobMade(JobMade { job, key: spec.key.clone() }));
        let spec = Arc::new(Spec::new(id, 1, spec));
        self.apply(&Mutation::JobVersioned(JobVersioned { job, spec, author: String::new(), message: String::new() }));
        for instance in 0..instances {
            let task = self.state.next_task;
            let (run_at, ready_at, reason) = (Timestamp(0), None, Reason::None);
            let (attempt, failures, restarts) = (1, 0, 0);
            self.apply(&Mutation::TaskMade(TaskMade {
                task,
                job,
                spec: id,
                instance,
                attempt,
                failures,
                restarts,
                run_at,
                ready_at,
                reason,
            }));
        }
    }

    pub fn finish(&mut self, task: TaskId) {
        let (to, reason) = (TaskState::Finished, Reason::None);
        self.apply(&Mutation::TaskMoved(TaskMoved { task, to, reason, message: "".into(), exit: None, ended: None }));
    }

    /// Ends a task and forgets it.
    pub fn end(&mut self, task: TaskId) {
        self.finish(task);
        self.apply(&Mutation::TaskForgotten(TaskForgotten { task }));
    }

    /// Ends every task that is being preempted.
    pub fn end_dying(&mut self) {
        let dying = self.state.tasks.values().filter(|task| task.state() == TaskState::Preempting);
        let dying: Vec<TaskId> = dying.map(|task| task.id).collect();
        dying.into_iter().for_each(|task| self.end(task));
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now = Now { wall: self.now.wall.plus_ms(ms), mono_ms: self.now.mono_ms + ms };
    }

    /// Calls `place` until it decides nothing more, `budget` assignments a call.
    pub fn place(&mut self, budget: usize) -> Measured {
        let mut measured = Measured::default();
        loop {
            let begun = cpu_time();
            let decided = self.placer.place(&self.state, self.now, budget);
            let took = cpu_time() - begun;
            decided.iter().for_each(|mutation| self.apply(mutation));
            measured.applied += cpu_time() - begun;
            measured.deciding += took;
            let placed = decided.iter().filter(|mutation| matches!(mutation, Mutation::TaskAssigned(_))).count();
            measured.placed += placed;
            measured.victims += decided.iter().filter(|mutation| matches!(mutation, Mutation::TaskMoved(_))).count();
            measured.calls.push((took, decided.len()));
            if decided.is_empty() {
                return measured;
            }
        }
    }
}
