//! The same work through a real cluster: starts per second on one agent, and the time from submission to running.

use std::time::{Duration, Instant};

use dawn_proto::v1::{self, TaskState};

use super::Figure;
use crate::cluster::{AgentPlan, Cluster, Patience, Plan, Spec, batch, service};

/// Not less: a smaller quota throttles the very start of a task, which is then measured instead.
const TINY_MILLI: u64 = 20;

/// One agent that says it has room for thousands.
pub fn big() -> Plan {
    let big = AgentPlan { cpus: "128".into(), memory: "64GiB".into(), disk: "64GiB".into(), ..AgentPlan::default() };
    Plan { agents: vec![big], ..Plan::default() }
}

/// Little, so that thousands fit.
pub fn small(spec: Spec) -> Spec {
    let small = spec.cpu_milli(TINY_MILLI).memory_mib(8);
    small.with(|job| {
        job.task.as_mut().and_then(|task| task.resources.as_mut()).expect("it has some").disk_bytes = 1 << 20
    })
}

/// The time of a task's first transition to `state`, in milliseconds.
pub fn at_ms(task: &v1::Task, state: TaskState) -> Option<i64> {
    task.history.iter().find(|step| step.state() == state).map(|step| step.at_ms)
}

/// `count` tasks that run /bin/true on one agent: from the first assignment to the last end. Their files stay below TMPDIR.
pub fn starts(count: u32) -> Option<Figure> {
    let cluster = Cluster::start(big())?;
    let job = cluster.submit(small(batch("starts").instances(count).argv(&["/bin/true"])));
    let done = usize::try_from(count).expect("it fits");
    let tasks = cluster.tasks_in(&job, TaskState::Finished, done, Patience::minutes(5));
    let first = tasks.iter().filter_map(|task| at_ms(task, TaskState::Assigned)).min()?;
    let last = tasks.iter().filter_map(|task| at_ms(task, TaskState::Finished)).max()?;
    cluster.end_with_files();
    let took = Duration::from_millis(u64::try_from(last - first).ok()?);
    Some(Figure::rate("tasks of /bin/true on one agent, executor and journal included", done, took))
}

/// `count` services submitted one after the other: from the call to the client's knowing that it runs.
pub fn latency(count: usize) -> Option<Figure> {
    let cluster = Cluster::start(big())?;
    let mut times = Vec::new();
    for number in 0..count {
        let spec = small(service(&format!("latency{number}")));
        let begun = Instant::now();
        let job = cluster.submit(spec);
        let running = |status: &v1::JobStatus| status.summary.as_ref().is_some_and(|summary| summary.running == 1);
        cluster.api.watch(&job, running).unwrap_or_else(|status| panic!("{job}: {status}\n{}", cluster.last_words()));
        times.push(begun.elapsed());
        cluster.kill(&job);
    }
    cluster.end();
    Some(Figure::latencies("submit to running, seen by the client", times))
}

/// Room for one task and `count` waiting for it: from a task's end, as the scheduler knows it, to the next one's running.
pub fn reuse(count: u32) -> Option<Figure> {
    let one = AgentPlan { cpus: "1".into(), ..AgentPlan::default() };
    let cluster = Cluster::start(Plan { agents: vec![one], ..Plan::default() })?;
    let job = cluster.submit(batch("reuse").instances(count).cpu_milli(1_000).argv(&["/bin/true"]));
    let done = usize::try_from(count).expect("it fits");
    let mut tasks = cluster.tasks_in(&job, TaskState::Finished, done, Patience::minutes(5));
    cluster.end();
    tasks.sort_by_key(|task| at_ms(task, TaskState::Assigned));
    let gap = |pair: &[v1::Task]| {
        let gap = at_ms(&pair[1], TaskState::Running)? - at_ms(&pair[0], TaskState::Finished)?;
        Some(Duration::from_millis(u64::try_from(gap).unwrap_or(0)))
    };
    Some(Figure::latencies(
        "resources freed to the next task running on them",
        tasks.windows(2).filter_map(gap).collect(),
    ))
}
