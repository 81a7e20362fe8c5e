//! What two things that are kept for people cost: the numbers of a job (`model/tally.rs`) each change of a task, and the question
//! whether an instance can come back (`decide/place/comeback.rs`) each tick of an update. Beside each stands what it is part of.

use std::sync::Arc;
use std::time::Duration;

use dawn_proto::v1::{JobKind, Reason, UpdateKind, UpdateState};
use dawn_proto::{SpecId, TaskId, TaskState, Timestamp};
use dawn_scheduler::decide::place::PlaceSettings;
use dawn_scheduler::model::{
    AgentNo, Attributes, JobId, JobSpec, JobVersioned, Mutation, PortRanges, Spec, TaskAssigned, TaskForgotten,
    TaskMade, TaskMoved, Update, UpdateChange, UpdateMutation,
};

use super::cluster::{Cluster, cpu_time, job, resources};
use super::table::row;

const AT: Timestamp = Timestamp(1_700_000_000_000);
const REPEATS: u32 = 50;

pub fn run() {
    row(&["a life: made, assigned, starting, running, failed", "each"]);
    for instances in [1, 1_000, 100_000] {
        row(&[&format!("of a job of {instances} instances"), &micros(life(instances))]);
    }
    row(&["a tick that stops one instance for an update", "asked", "place one"]);
    for agents in [1_000, 50_000] {
        for (what, cpu_milli) in
            [("no more than before", 500), ("more, and fits", 900), ("more, and fits nowhere", 9_000)]
        {
            let (asked, placed) = tick(agents, cpu_milli);
            row(&[&format!("{agents} nodes, it asks for {what}"), &micros(asked), &micros(placed)]);
        }
    }
}

fn micros(each: Duration) -> String {
    format!("{:.1} µs", each.as_secs_f64() * 1e6)
}

fn cluster(agents: u32) -> Cluster {
    let mut cluster = Cluster::new(&PlaceSettings::default());
    for _ in 0..agents {
        cluster.agent(resources(8_000, 16_384), Attributes::new(), PortRanges::default());
    }
    cluster
}

fn service(instances: u32, cpu_milli: u64) -> JobSpec {
    JobSpec { kind: JobKind::Service, ..job("www/prod/web", instances, resources(cpu_milli, 100)) }
}

fn moved(task: TaskId, to: TaskState, reason: Reason) -> Mutation {
    Mutation::TaskMoved(TaskMoved { task, to, reason, message: "".into(), exit: None, ended: None })
}

/// The state alone goes along with it.
fn life(instances: u32) -> Duration {
    let mut cluster = cluster(1);
    cluster.submit(service(instances, 1));
    let lives = 20_000;
    let before = cpu_time();
    for number in 0..lives {
        let instance = number % instances;
        let task = cluster.state.tasks_of(JobId(0)).newest(Timestamp(0), instance).expect("it was made");
        let (agent, next, spec) = (AgentNo(0), cluster.state.next_task, SpecId(0));
        cluster
            .state
            .apply_one(&Mutation::TaskAssigned(TaskAssigned { task, agent, ports: [].into(), devices: [].into() }), AT);
        for to in [TaskState::Starting, TaskState::Running, TaskState::Failed] {
            cluster.state.apply_one(&moved(task, to, Reason::None), AT);
        }
        let (attempt, failures, restarts, reason) = (2, 1, 1, Reason::Backoff);
        let (job, run_at, ready_at) = (JobId(0), Timestamp(0), None);
        cluster.state.apply_one(
            &Mutation::TaskMade(TaskMade {
                task: next,
                job,
                spec,
                instance,
                attempt,
                failures,
                restarts,
                run_at,
                ready_at,
                reason,
            }),
            AT,
        );
        cluster.state.apply_one(&Mutation::TaskForgotten(TaskForgotten { task }), AT);
    }
    (cpu_time() - before) / lives
}

/// What it takes to ask whether an instance can come back, and to place one more of it.
fn tick(agents: u32, cpu_milli: u64) -> (Duration, Duration) {
    let mut cluster = cluster(agents);
    cluster.submit(service(agents, 500));
    while cluster.place(100_000).placed > 0 {}
    let job = JobId(0);
    let placed: Vec<TaskId> = cluster.state.tasks.keys().copied().collect();
    for to in [TaskState::Starting, TaskState::Running] {
        placed.iter().for_each(|task| cluster.apply(&moved(*task, to, Reason::None)));
    }
    let to = Arc::new(Spec::new(cluster.state.next_spec, 2, service(agents, cpu_milli)));
    let update = update(&to);
    let (author, message) = (String::new(), String::new());
    cluster.apply(&Mutation::JobVersioned(JobVersioned { job, spec: to, author, message }));
    for what in [UpdateChange::Begun(Box::new(update)), UpdateChange::Advanced([0].into_iter().collect())] {
        cluster.apply(&Mutation::Update(UpdateMutation { job, what }));
    }
    let mut asked = Duration::ZERO;
    for _ in 0..REPEATS {
        let mut mutations = vec![moved(placed[0], TaskState::Restarting, Reason::Updated)];
        let before = cpu_time();
        cluster.placer.keep_up(&cluster.state, &mut mutations, cluster.now);
        asked += cpu_time() - before;
    }
    cluster.submit(JobSpec { key: "www/prod/more".parse().expect("a key"), ..service(REPEATS, 500) });
    let one = cluster.place(usize::MAX);
    (asked / REPEATS, one.deciding / REPEATS)
}

fn update(to: &Spec) -> Update {
    Update {
        number: 1,
        kind: UpdateKind::Change,
        to: to.id,
        from_version: 1,
        to_version: 2,
        policy: to.job.update.clone(),
        author: String::new(),
        message: String::new(),
        instances: (0..to.job.instances).collect(),
        before: vec![(0, to.job.instances - 1, Some(SpecId(0)))],
        began: AT,
        first_task: TaskId(0),
        state: UpdateState::RollingForward,
        advanced: Default::default(),
        passed: Default::default(),
        gave_up: Default::default(),
        failures: Default::default(),
        promoted: false,
        group: 0,
        pulsed: AT,
        progress: AT,
        events: Default::default(),
    }
}
