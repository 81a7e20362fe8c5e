//! Tasks that do what they must not: each is stopped, named, and harms nobody else.

use dawn_proto::JobKey;
use dawn_proto::v1::{self, Reason, TaskState};
use dawn_tests::cluster::{Cluster, Patience, Plan, Spec, batch, limits_of, marked, service, usage};

const MIB: u64 = 1 << 20;

/// A well-behaved neighbour, and the pid it must still have at the end.
fn neighbour(cluster: &Cluster) -> (JobKey, i32) {
    let key = cluster.submit(service("neighbour"));
    cluster.running(&key, 1);
    let pid = cluster.processes_of(&key, 1)[0].pid;
    (key, pid)
}

fn still_there(cluster: &Cluster, (key, pid): &(JobKey, i32)) {
    let pids: Vec<i32> = cluster.processes_of(key, 1).iter().map(|process| process.pid).collect();
    assert_eq!(pids, [*pid], "the neighbour was disturbed");
}

/// Submits a job of one attempt and returns its last transition.
fn fails(cluster: &Cluster, spec: Spec) -> v1::Transition {
    let job = cluster.submit(spec);
    let task = cluster.tasks_in(&job, TaskState::Failed, 1, Patience::STEP).remove(0);
    cluster.processes_of(&job, 0);
    task.history.last().expect("a history").clone()
}

#[test]
fn what_cannot_start_is_named() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let user = "no-such-user-here";
    let last = fails(&cluster, batch("stranger").with(|job| job.task.as_mut().expect("one").user = user.into()));
    assert_eq!(last.reason(), Reason::UnknownUser, "{last:?}");
    assert!(last.message.contains(user), "{last:?}");

    let last = fails(&cluster, batch("missing").argv(&["/no/such/binary", "--flag"]));
    assert_eq!(last.reason(), Reason::ExecFailed, "{last:?}");
    assert!(last.message.contains("/no/such/binary"), "{last:?}");

    let last = fails(&cluster, batch("forbidden").argv(&["/etc/passwd"]));
    assert_eq!(last.reason(), Reason::ExecFailed, "{last:?}");
    cluster.end();
}

#[test]
fn a_command_that_exits_at_once_is_backed_off() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("crash-loop").argv(&["false"]).backoff_ms(400, 1_600));
    let mut ended = cluster.eventually("five lives have ended", Patience::STEP, || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let ended: Vec<v1::Task> = tasks.into_iter().filter(|task| task.state() == TaskState::Failed).collect();
        if ended.len() >= 5 { Ok(ended) } else { Err(format!("{} lives", ended.len())) }
    });
    ended.sort_by_key(|task| task.attempt);
    for (pair, least_ms) in ended.windows(2).zip([400, 800, 1_600, 1_600]) {
        let end = pair[0].history.last().expect("a history").at_ms;
        let start = pair[1].history.iter().find(|step| step.state() == TaskState::Assigned).expect("it ran").at_ms;
        // Up to a tenth of a backoff is left out by chance, so that many don't come back together.
        assert!(
            start - end >= least_ms * 9 / 10,
            "attempt {} came {} ms after the last end",
            pair[1].attempt,
            start - end
        );
    }
    cluster.kill(&job);
    cluster.end();
}

#[test]
fn a_memory_hog_dies_alone_and_the_limit_is_told() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let neighbour = neighbour(&cluster);
    // tail keeps the one endless line in memory.
    let last = fails(&cluster, batch("hog").argv(&["tail", "/dev/zero"]).memory_mib(40));
    assert_eq!(last.reason(), Reason::OutOfMemory, "{last:?}");
    assert!(last.message.contains("40"), "the limit of 40 MiB is told: {last:?}");
    still_there(&cluster, &neighbour);
    cluster.end();
}

#[test]
fn a_fork_bomb_stays_under_its_limit_and_can_be_killed() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let neighbour = neighbour(&cluster);
    // bash retries a refused fork for some seconds, so the bomb stands at its limit.
    let bomb = service("bomb").argv(&["bash", "-c", "while :; do sleep 100000 & done"]);
    let bomb = cluster.submit(bomb.with(|job| job.task.as_mut().expect("one").max_pids = 30));
    let mark = cluster.mark(&bomb);
    let pid = cluster.eventually("the bomb is at its limit", Patience::STEP, || {
        let processes = marked(&mark);
        assert!(processes.len() <= 30, "{} processes", processes.len());
        if processes.len() >= 28 { Ok(processes[0].pid) } else { Err(format!("{} processes", processes.len())) }
    });
    assert_eq!(limits_of(pid).pids, Some(30));
    still_there(&cluster, &neighbour);
    cluster.kill(&bomb);
    cluster.end();
}

#[test]
fn a_process_that_ignores_sigterm_has_its_grace_and_no_more() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let stubborn = service("stubborn").shell("trap '' TERM; echo ready; while :; do sleep 100000; done");
    let job = cluster.submit(stubborn.grace_ms(1_200));
    let task = cluster.running(&job, 1).remove(0);
    cluster.eventually("the trap is set", Patience::STEP, || match cluster.log(&task, "main", false).as_str() {
        "ready\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.kill(&job);
    let task = cluster.tasks_in(&job, TaskState::Killed, 1, Patience::STEP).remove(0);
    let at = |state| task.history.iter().find(|step| step.state() == state).expect("it was there").at_ms;
    let took = at(TaskState::Killed) - at(TaskState::Killing);
    assert!((1_000..10_000).contains(&took), "killed after {took} ms");
    cluster.end();
}

#[test]
fn a_polite_process_is_not_kept_waiting() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let polite = service("polite").shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    let job = cluster.submit(polite.grace_ms(15_000));
    let task = cluster.running(&job, 1).remove(0);
    cluster.eventually("the trap is set", Patience::STEP, || match cluster.log(&task, "main", false).as_str() {
        "ready\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.kill(&job);
    let task = cluster.tasks_in(&job, TaskState::Killed, 1, Patience::STEP).remove(0);
    let at = |state| task.history.iter().find(|step| step.state() == state).expect("it was there").at_ms;
    assert!(at(TaskState::Killed) - at(TaskState::Killing) < 10_000, "it ended before its grace did");
    assert_eq!(cluster.log(&task, "main", false), "ready\nbye\n", "it was asked, and its last word is kept");
    cluster.end();
}

#[test]
fn endless_output_is_bounded_on_disk() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let policy = v1::LogPolicy { file_size_bytes: MIB, files: 3 };
    let talker = service("talker").argv(&["yes", "all work and no play"]).cpu_milli(500);
    let job = cluster.submit(talker.with(|job| job.task.as_mut().expect("one").logs = Some(policy)));
    cluster.running(&job, 1);
    let pid = cluster.processes_of(&job, 1)[0].pid;
    cluster.eventually("it has written 30 MiB", Patience::STEP, || {
        let written = dawn_tests::cluster::written_bytes(pid);
        let on_disk = usage(&cluster.folder().join("node0"));
        assert!(on_disk < 5 * MIB, "{on_disk} bytes on disk after {written}");
        if written > 30 * MIB { Ok(()) } else { Err(format!("{written} bytes")) }
    });
    cluster.kill(&job);
    cluster.end();
}
