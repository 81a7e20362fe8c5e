//! Executors are forked from one process, which may die by itself and does with its agent.

use dawn_tests::cluster::{Cluster, Patience, Plan, Process, parent, processes, service};

/// What the agent has started: the one that forks, and those that watch tasks.
fn children(cluster: &Cluster) -> (Vec<Process>, Vec<Process>) {
    let agent = cluster.agents[0].pid().expect("it runs");
    let ours = processes().into_iter().filter(|process| process.command.contains(" executor "));
    ours.filter(|process| parent(process.pid) == Some(agent)).partition(|one| one.command.contains("--zygote"))
}

#[test]
fn executors_are_forked_from_one_process_that_may_die() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").instances(3));
    cluster.running(&job, 3);
    let (zygotes, executors) = children(&cluster);
    assert_eq!((zygotes.len(), executors.len()), (1, 3), "{zygotes:?} {executors:?}");
    let folder = cluster.folder().to_string_lossy().into_owned();
    for executor in &executors {
        assert!(executor.command.contains(&folder) && executor.command.ends_with("/plan"), "{executor:?}");
    }

    cluster.shoot(&zygotes[0]);
    let later = cluster.submit(service("later"));
    cluster.running(&later, 1);
    let (others, executors) = children(&cluster);
    assert_eq!((others.len(), executors.len()), (1, 4), "{others:?} {executors:?}");
    assert_ne!(others, zygotes, "another forks from now on");
    assert!(cluster.running(&job, 3).iter().all(|task| task.attempt == 1), "nobody misses it");

    cluster.agents[0].kill_9();
    cluster.eventually("it ends with its agent", Patience::STEP, || {
        let lives = processes().contains(&others[0]);
        if lives { Err(format!("{:?} lives", others[0])) } else { Ok(()) }
    });
    cluster.agents[0].start();
    cluster.agents_are_up(1);
    let tasks = [cluster.running(&job, 3), cluster.running(&later, 1)].concat();
    assert!(tasks.iter().all(|task| task.attempt == 1), "{tasks:?}");
    cluster.end();
}
