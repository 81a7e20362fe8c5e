//! Daemons killed in turn under load: at the end exactly what was asked for lives, and nothing was ever there twice.

use std::collections::BTreeSet;

use dawn_proto::JobKey;
use dawn_proto::v1::TaskState;
use dawn_tests::cluster::{Cluster, Doubles, Patience, Plan, Process, batch, marked, processes, service, variable};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Rounds of one schedule: each kills something and lets it come back.
const ROUNDS: usize = 9;
const INSTANCES: usize = 6;

/// Executors of the cluster.
fn executors(cluster: &Cluster) -> Vec<Process> {
    let folder = cluster.folder().to_string_lossy().into_owned();
    let ours = |process: &Process| process.command.contains(" executor ") && process.command.contains(&folder);
    processes().into_iter().filter(ours).collect()
}

fn disturb(cluster: &Cluster, chance: &mut SmallRng, story: &mut Vec<String>) {
    let what = *["scheduler", "agent", "executor", "task", "pause", "both"].choose(chance).expect("not empty");
    let agent = chance.random_range(0..cluster.agents.len());
    story.push(format!("{what} {agent}"));
    match what {
        "scheduler" => cluster.scheduler.kill_9(),
        "agent" => cluster.agents[agent].kill_9(),
        "both" => {
            cluster.scheduler.kill_9();
            cluster.agents[agent].kill_9();
        }
        "pause" => cluster.agents[agent].pause(),
        "executor" => {
            if let Some(victim) = executors(cluster).choose(chance) {
                cluster.shoot(victim);
            }
        }
        _ => {
            let service = JobKey::new("nobody", "test", "web").expect("a key");
            if let Some(victim) = marked(&cluster.mark(&service)).choose(chance) {
                cluster.shoot(victim);
            }
        }
    }
}

fn heal(cluster: &Cluster) {
    for daemon in cluster.agents.iter().chain([&cluster.scheduler]) {
        daemon.resume();
        if !daemon.is_alive() {
            daemon.kill_9();
            daemon.start();
        }
    }
    cluster.scheduler_answers();
}

/// Waits until every instance runs once, as one process, and nothing else does.
fn exactly_what_was_asked_for(cluster: &Cluster, job: &JobKey) {
    cluster.eventually("exactly the asked-for instances live", Patience::LONG, || {
        let tasks = cluster.api.tasks(job).map_err(|status| status.to_string())?;
        let running: Vec<_> = tasks.iter().filter(|task| task.state() == TaskState::Running).collect();
        let living = tasks.iter().filter(|task| !task.state().is_terminal()).count();
        let instances: BTreeSet<usize> = running.iter().map(|task| task.instance as usize).collect();
        let asked: BTreeSet<String> = running.iter().map(|task| format!("t{}", task.id)).collect();
        let processes = marked(&cluster.mark(job));
        let seen: BTreeSet<String> = processes.iter().filter_map(|one| variable(one.pid, "DAWN_TASK_ID")).collect();
        let counted = running.len() == INSTANCES && living == INSTANCES && processes.len() == INSTANCES;
        if counted && instances == (0..INSTANCES).collect() && seen == asked {
            return Ok(());
        }
        Err(format!("{living} living, running {asked:?}, processes {seen:?} ({})", processes.len()))
    });
}

fn run_schedule(seed: u64) {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let mut chance = SmallRng::seed_from_u64(seed);
    let mut story = Vec::new();
    let instances = u32::try_from(INSTANCES).expect("a handful");
    let web = cluster.submit(service("web").instances(instances).backoff_ms(50, 200));
    cluster.running(&web, INSTANCES);
    let watch = Doubles::watch(cluster.mark(&web));
    let mut batches = Vec::new();
    for round in 0..ROUNDS {
        batches.push(
            cluster.submit(batch(&format!("load{round}")).instances(2).shell("echo $DAWN_INSTANCE").max_failures(9)),
        );
        disturb(&cluster, &mut chance, &mut story);
        heal(&cluster);
    }
    println!("seed {seed}: {}", story.join(", "));
    cluster.agents_are_up(2);
    exactly_what_was_asked_for(&cluster, &web);
    for job in &batches {
        cluster.tasks_in(job, TaskState::Finished, 2, Patience::LONG);
    }
    assert_eq!(watch.end(), [] as [String; 0], "seen twice (seed {seed}: {story:?})\n{}", cluster.last_words());
    cluster.end();
}

#[test]
fn what_was_asked_for_lives_after_every_daemon_was_killed_in_turn() {
    run_schedule(1);
}

#[test]
fn and_under_another_schedule() {
    run_schedule(2);
}

#[test]
fn a_scheduler_killed_again_and_again_changes_nothing() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").instances(4));
    let before = cluster.running(&job, 4);
    let pids = cluster.processes_of(&job, 4);
    for _ in 0..4 {
        cluster.scheduler.kill_9();
        cluster.scheduler.start();
        cluster.scheduler_answers();
        cluster.agents_are_up(1);
    }
    assert_eq!(cluster.running(&job, 4), before, "same tasks, same histories");
    assert_eq!(cluster.processes_of(&job, 4), pids, "same processes");
    cluster.end();
}

#[test]
fn an_agent_killed_again_and_again_finds_its_executors() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").instances(4));
    let before: Vec<u64> = cluster.running(&job, 4).iter().map(|task| task.id).collect();
    let pids = cluster.processes_of(&job, 4);
    for _ in 0..3 {
        cluster.agents[0].kill_9();
        cluster.agents[0].start();
    }
    let victim = &pids[0];
    let dying = variable(victim.pid, "DAWN_TASK_ID").expect("tasks know their id");
    cluster.shoot(victim);
    let dead = cluster.tasks_in(&job, TaskState::Failed, 1, Patience::STEP).remove(0);
    assert_eq!(format!("t{}", dead.id), dying, "the end of a re-attached task is seen");
    let after: Vec<u64> = cluster.running(&job, 4).iter().map(|task| task.id).collect();
    assert_eq!(after.iter().filter(|id| before.contains(id)).count(), 3, "{before:?} became {after:?}");
    cluster.end();
}
