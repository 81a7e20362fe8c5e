//! The agent killed at every step of a launch and of a kill, as the files of the task tell the step: nothing runs twice,
//! nothing is left, and the end is told.

use std::fs;
use std::path::PathBuf;

use dawn_proto::JobKey;
use dawn_proto::v1::TaskState;
use dawn_tests::cluster::{Cluster, Patience, Plan, batch, marked, service};

/// What a launch makes, in order; the last is made after the end is acknowledged.
const LAUNCH: [&str; 8] = ["", "plan", "sandbox", "executor.lock", "executor.log", "events", "logs", "released"];

/// From this step on the next life of the agent carries the launch on.
const RESUMED: usize = 2;

/// Files of this name in the directories of all tasks.
fn found(cluster: &Cluster, name: &str) -> Vec<PathBuf> {
    let dirs = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let tasks = dirs(cluster.folder().to_path_buf()).flat_map(|agent| dirs(agent.join("tasks")));
    tasks.map(|task| task.join(name)).filter(|path| path.exists()).collect()
}

fn count(cluster: &Cluster, name: &str) -> usize {
    found(cluster, name).len()
}

/// Bytes of all event logs.
fn told(cluster: &Cluster) -> u64 {
    found(cluster, "events").iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum()
}

/// Ends the agent the moment `reached` holds, and starts it again.
fn strike(cluster: &Cluster, what: &str, mut reached: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Patience::STEP.0, "never came to {what}\n{}", cluster.last_words());
        std::thread::yield_now();
    }
    let lives = || cluster.agents[0].log().matches("agent starts").count();
    let before = lives();
    cluster.agents[0].kill_9();
    cluster.agents[0].start();
    // Before that it can't be asked to end: the signal would be its death.
    cluster.eventually("the agent's next life", Patience::START, || match lives() {
        now if now > before => Ok(()),
        now => Err(format!("{now} lives")),
    });
}

fn all_end(cluster: &Cluster, job: &JobKey, state: TaskState) {
    cluster.eventually("every task has ended", Patience::LONG, || {
        let tasks = cluster.api.tasks(job).map_err(|status| status.to_string())?;
        let ended = tasks.iter().filter(|task| task.state().is_terminal()).count();
        let fitting = tasks.iter().any(|task| task.state() == state);
        (ended == tasks.len() && fitting && marked(&cluster.mark(job)).is_empty())
            .then_some(())
            .ok_or(format!("{tasks:?}"))
    });
}

#[test]
fn an_agent_killed_at_every_step_of_a_launch_runs_each_task_once() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    for (number, step) in LAUNCH.into_iter().enumerate() {
        let before = count(&cluster, step);
        let job = cluster.submit(batch(&format!("step{number}")).shell("echo ran").max_failures(9).backoff_ms(10, 20));
        strike(&cluster, step, || count(&cluster, step) > before || step.is_empty());
        all_end(&cluster, &job, TaskState::Finished);
        let tasks = cluster.api.tasks(&job).expect("tasks");
        // Before, the plan may be torn: then another task takes its place.
        let is_resumed = number >= RESUMED;
        assert!(tasks.len() == 1 || !is_resumed, "the launch was not carried on at {step:?}: {tasks:?}");
        for task in tasks {
            // The agent may just be coming back.
            let said = cluster.eventually("its log", Patience::STEP, || {
                cluster.api.log(task.id, "main", false).map_err(|status| status.to_string())
            });
            let said = String::from_utf8_lossy(&said).into_owned();
            let runs = said.matches("ran").count();
            assert!(runs <= 1 && (task.state() != TaskState::Finished || runs == 1), "{step:?}: {task:?} {said:?}");
        }
    }
    cluster.end();
}

#[test]
fn an_agent_killed_at_every_step_of_a_kill_ends_the_task_all_the_same() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    for step in 0..4 {
        let line = "trap 'sleep 0.2; exit 0' TERM; while :; do sleep 0.05; done";
        let job = cluster.submit(service(&format!("step{step}")).shell(line).grace_ms(2_000));
        cluster.running(&job, 1);
        let (written, released) = (told(&cluster), count(&cluster, "released"));
        cluster.api.kill(&job).expect("the kill is taken");
        // At once, when the kill is begun, when a stage is entered after it, when the end is acknowledged.
        let reached = || match step {
            0 => true,
            1 => told(&cluster) > written,
            2 => told(&cluster) > written + 40,
            _ => count(&cluster, "released") > released,
        };
        strike(&cluster, &format!("step {step} of a kill"), reached);
        all_end(&cluster, &job, TaskState::Killed);
    }
    cluster.end();
}
