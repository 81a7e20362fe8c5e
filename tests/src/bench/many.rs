//! One agent with many tasks: how fast they start, what they and the agent cost when nothing happens, how long a restarted
//! agent takes to have them all again.

use std::time::{Duration, Instant};

use dawn_proto::v1::{self, TaskState};

use super::Figure;
use super::live::{at_ms, big, small};
use crate::cluster::{Cluster, Patience, Process, processes, service};

/// Clock ticks a second, of `/proc/pid/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// Tasks that are told to stop at the same time.
const KILLED_AT_ONCE: usize = 250;

/// What is measured with so many tasks.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub tasks: u32,
    /// How long the idle agent is watched.
    pub idle: Duration,
    /// With a TCP health check each second.
    pub health: bool,
}

/// Starts, memory, idle cpu and re-attachment, in one run.
pub fn many(sizes: Sizes) -> Option<Vec<Figure>> {
    let cluster = Cluster::start(big())?;
    let mut figures = Vec::new();
    let spec = small(service("many").instances(sizes.tasks)).with(|job| {
        if sizes.health {
            let probe = v1::health_check::Probe::Shell("true".into());
            let check = v1::HealthCheck { probe: Some(probe), interval_ms: 10_000, ..Default::default() };
            job.task.as_mut().expect("it has one").health = Some(check);
        }
    });
    let job = cluster.submit(spec);
    let count = usize::try_from(sizes.tasks).expect("it fits");
    let tasks = cluster.tasks_in(&job, TaskState::Running, count, Patience::minutes(20));
    let first = tasks.iter().filter_map(|task| at_ms(task, TaskState::Assigned)).min()?;
    let last = tasks.iter().filter_map(|task| at_ms(task, TaskState::Running)).max()?;
    let took = Duration::from_millis(u64::try_from(last - first).ok()?);
    let with = if sizes.health { ", each with a health check every 10 s" } else { "" };
    figures.push(Figure::rate(format!("{count} tasks from assigned to running{with}"), count, took));
    let each = |task: &v1::Task| {
        let ms = at_ms(task, TaskState::Running)? - at_ms(task, TaskState::Assigned)?;
        Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
    };
    figures.push(Figure::latencies(
        format!("the same, one task, {count} at once"),
        tasks.iter().filter_map(each).collect(),
    ));
    let agent = cluster.agents[0].pid()?;
    let executors = executors(&cluster);
    let private: Vec<u64> = executors.iter().filter_map(|process| private_kib(process.pid)).collect();
    let mean = private.iter().sum::<u64>() / (private.len() as u64).max(1);
    figures.push(Figure {
        what: format!("private memory with {count} tasks"),
        value: format!("agent {} KiB, an executor {mean} KiB on average", private_kib(agent)?),
    });
    let before = ticks(agent, &executors);
    let begun = Instant::now();
    // The span is what is measured.
    while let Some(left) = sizes.idle.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
    let after = ticks(agent, &executors);
    let share = |ticks: u64| ticks as f64 / TICKS_PER_SECOND / begun.elapsed().as_secs_f64() * 100.0;
    figures.push(Figure {
        what: format!("idle cpu with {count} tasks{with}, over {} s", sizes.idle.as_secs()),
        value: format!(
            "agent {:.2} % of a core, all executors {:.2} %",
            share(after.0 - before.0),
            share(after.1 - before.1)
        ),
    });
    figures.push(reattach(&cluster, &job, count));
    let begun = Instant::now();
    kill_in_parts(&cluster, &job, count);
    figures.push(Figure {
        what: format!("{count} tasks{with} killed, {KILLED_AT_ONCE} at once: until all are gone"),
        value: format!("{:.2} s", begun.elapsed().as_secs_f64()),
    });
    cluster.end();
    Some(figures)
}

/// The kernel ends namespaces one after the other: thousands at once would leave the machine to nobody else.
fn kill_in_parts(cluster: &Cluster, job: &dawn_proto::JobKey, count: usize) {
    for first in (0..count).step_by(KILLED_AT_ONCE) {
        let end = count.min(first + KILLED_AT_ONCE);
        let instances = format!("{job}/{first}-{}", end - 1);
        cluster.dawn(&["job", "kill", &instances]).succeeded();
        cluster.eventually("these are gone", Patience::minutes(5), || {
            let all = cluster.api.tasks(job).map_err(|status| status.to_string())?;
            let living = all.iter().filter(|task| !task.state().is_terminal()).count();
            if living <= count - end { Ok(()) } else { Err(format!("{living} live")) }
        });
    }
}

/// Killed and started again: until the scheduler has heard of every task from it.
fn reattach(cluster: &Cluster, job: &dawn_proto::JobKey, count: usize) -> Figure {
    cluster.agents[0].kill_9();
    let begun = Instant::now();
    cluster.agents[0].start();
    cluster.eventually("all are attached", Patience::minutes(5), || {
        let found = cluster.agents[0].log().matches("verdict=Watch").count();
        if found >= count { Ok(()) } else { Err(format!("{found} of {count}")) }
    });
    cluster.agents_are_up(1);
    cluster.running(job, count);
    Figure {
        what: format!("agent killed and started again with {count} tasks: until it is up and has them all"),
        value: format!("{:.2} s", begun.elapsed().as_secs_f64()),
    }
}

fn executors(cluster: &Cluster) -> Vec<Process> {
    let folder = cluster.folder().to_string_lossy().into_owned();
    let ours = |process: &Process| process.command.contains(" executor ") && process.command.contains(&folder);
    processes().into_iter().filter(ours).collect()
}

/// Memory that is nobody else's.
fn private_kib(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    Some(lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

/// Processor time used by the agent, and by all executors together.
fn ticks(agent: i32, executors: &[Process]) -> (u64, u64) {
    (ticks_of(agent), executors.iter().map(|process| ticks_of(process.pid)).sum())
}

fn ticks_of(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_string()).unwrap_or_default();
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
