//! The wall clock of a scheduler's machine is set: two hours forward for good, and three days forward for a moment. What
//! runs lives on, what failed comes back in time, cron goes on, and operators are told.

use dawn_proto::JobKey;
use dawn_proto::v1::{TaskState, TickOutcome};
use dawn_tests::cluster::{Cluster, FakeClock, Patience, Plan, batch, cron, service, skip};

/// A cluster of one agent whose scheduler's wall clock can be set.
fn cluster() -> Option<(Cluster, FakeClock)> {
    if !nix::unistd::geteuid().is_root() {
        skip("needs root for control groups");
        return None;
    }
    let cluster = Cluster::lay_out(&Plan::of(1));
    let clock = FakeClock::of(&cluster.scheduler, cluster.folder())?;
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.agents.iter().for_each(|agent| agent.start());
    cluster.agents_are_up(1);
    Some((cluster, clock))
}

fn is_told(cluster: &Cluster, words: &str) {
    cluster.eventually(&format!("trouble tells of {words:?}"), Patience::minutes(3), || {
        let trouble = cluster.api.server_info().map_err(|status| status.to_string())?.troubles.join("\n");
        if trouble.contains(words) { Ok(()) } else { Err(trouble) }
    });
}

fn launched(cluster: &Cluster, job: &JobKey) -> usize {
    let ticks = cluster.job(job).cron.map(|cron| cron.ticks).unwrap_or_default();
    ticks.iter().filter(|tick| tick.outcome() == TickOutcome::Launched).count()
}

fn fires_again(cluster: &Cluster, job: &JobKey) {
    let before = launched(cluster, job);
    cluster.eventually("cron fires within two minutes", Patience(std::time::Duration::from_secs(125)), || {
        let now = launched(cluster, job);
        if now > before { Ok(()) } else { Err(format!("{now} runs were launched")) }
    });
}

/// What its tasks did so far.
fn lives(cluster: &Cluster, job: &JobKey) {
    let tasks = cluster.api.tasks(job).expect("tasks");
    assert!(tasks.len() == 1 && tasks[0].state() == TaskState::Running, "{tasks:?}\n{}", cluster.last_words());
}

#[test]
fn a_clock_that_is_set_forward_ends_nothing_and_stops_no_cron() {
    let Some((cluster, clock)) = cluster() else { return };
    let limited = cluster.submit(batch("limited").shell("sleep 900").with(|job| job.max_run_time_ms = 600_000));
    let due = cluster.submit(batch("due").shell("sleep 900").with(|job| job.deadline_ms = 600_000));
    let ticks = cluster.submit(cron("ticks", "* * * * *").shell("true"));
    [&limited, &due].into_iter().for_each(|job| _ = cluster.running(job, 1));

    clock.step(2 * 3_600);
    is_told(&cluster, "wall clock was set forward by 2h");
    fires_again(&cluster, &ticks);
    // It has stood for a minute, and the agent's clock does not agree.
    is_told(&cluster, "don't agree");
    [&limited, &due].into_iter().for_each(|job| lives(&cluster, job));

    // Another leader, which finds a last record that is two hours old by this clock.
    cluster.scheduler.terminate();
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.agents_are_up(1);
    is_told(&cluster, "ahead of the last record");
    fires_again(&cluster, &ticks);
    [&limited, &due].into_iter().for_each(|job| lives(&cluster, job));
    cluster.end();
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_leaves_no_service_waiting_and_no_cron_standing() {
    let Some((cluster, clock)) = cluster() else { return };
    let web = cluster.submit(service("web").shell("exec sleep 100000"));
    let ticks = cluster.submit(cron("ticks", "* * * * *").shell("true"));
    let first = cluster.running(&web, 1)[0].id;

    clock.step(3 * 86_400);
    is_told(&cluster, "wall clock was set forward by 3d");
    cluster.processes_of(&web, 1).iter().for_each(|process| cluster.shoot(process));
    cluster.eventually("its end is known", Patience::STEP, || {
        let tasks = cluster.api.tasks(&web).map_err(|status| status.to_string())?;
        let ended = tasks.iter().any(|task| task.id == first && task.state() == TaskState::Failed);
        if ended { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
    clock.step(0);
    let second = cluster.running(&web, 1)[0].id;
    assert!(second > first);
    fires_again(&cluster, &ticks);
    cluster.eventually("nothing is wrong any more", Patience::STEP, || {
        let trouble = cluster.api.server_info().map_err(|status| status.to_string())?.troubles.join("\n");
        if trouble.is_empty() { Ok(()) } else { Err(trouble) }
    });
    cluster.end();
}
