//! The whole life of each kind of job, asked of the scheduler and of the kernel.

use std::collections::BTreeSet;

use dawn_proto::v1::{self, Reason, TaskState, TickOutcome, Tier};
use dawn_tests::cluster::{
    AgentPlan, Cluster, Patience, Plan, batch, cron, groups, limits_of, service, user_of, variable,
};

const MIB: u64 = 1 << 20;

#[test]
fn a_service_lives_in_its_own_groups_and_leaves_nothing() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let web = cluster.submit(service("web").instances(2).memory_mib(48).with(|job| {
        job.task.as_mut().expect("it has one").max_pids = 40;
    }));
    let tasks = cluster.running(&web, 2);
    let processes = cluster.processes_of(&web, 2);

    let named: BTreeSet<String> = tasks.iter().map(|task| format!("t{}", task.id)).collect();
    let seen: BTreeSet<String> = processes.iter().filter_map(|p| variable(p.pid, "DAWN_TASK_ID")).collect();
    assert_eq!(seen, named, "each running task is one process");
    for process in &processes {
        let limits = limits_of(process.pid);
        assert_eq!(limits.memory_bytes, Some(48 * MIB), "{process:?}");
        assert_eq!(limits.pids, Some(40), "{process:?}");
        assert_eq!(user_of(process.pid), Some("nobody".into()), "{process:?}");
        let own: Vec<_> = groups(process.pid).into_iter().filter(|(_, path)| cluster.owns(path)).collect();
        for controller in ["memory", "cpu", "pids"] {
            let found =
                own.iter().any(|(names, _)| names.is_empty() || names.split(',').any(|name| name == controller));
            assert!(found, "{process:?} has no {controller} group of its own: {own:?}");
        }
    }
    let folders: BTreeSet<_> =
        processes.iter().flat_map(|p| groups(p.pid)).filter(|(_, path)| cluster.owns(path)).collect();
    assert!(folders.iter().all(|(_, path)| path.is_dir()));

    cluster.kill(&web);
    for task in cluster.tasks_in(&web, TaskState::Killed, 2, Patience::STEP) {
        let last = task.history.last().expect("a history");
        assert_eq!(last.reason(), Reason::UserRequest, "{last:?}");
    }
    cluster.eventually("the tasks' groups are removed", Patience::STEP, || {
        let left: Vec<_> = folders.iter().filter(|(_, path)| path.exists()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    cluster.end();
}

#[test]
fn a_service_whose_process_dies_is_started_again_and_only_that_one() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let web = cluster.submit(service("web").instances(2));
    let before = cluster.running(&web, 2);
    let victim = cluster.processes_of(&web, 2).remove(0);
    let task = variable(victim.pid, "DAWN_TASK_ID").expect("tasks know their id");
    cluster.shoot(&victim);

    let dead = cluster.tasks_in(&web, TaskState::Failed, 1, Patience::STEP).remove(0);
    assert_eq!(format!("t{}", dead.id), task);
    assert_eq!(dead.history.last().map(v1::Transition::reason), Some(Reason::Signaled), "{dead:?}");

    let after = cluster.running(&web, 2);
    cluster.processes_of(&web, 2);
    let kept = after.iter().filter(|task| before.iter().any(|old| old.id == task.id)).count();
    assert_eq!(kept, 1, "the other one runs on");
    let again = after.iter().find(|task| task.instance == dead.instance).expect("its instance runs again");
    assert_eq!(again.attempt, 2);
    cluster.end();
}

#[test]
fn a_batch_job_computes_once_per_instance_and_ends() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let command = r#"sum=0; i=1; while [ $i -le 1000 ]; do sum=$((sum + i)); i=$((i + 1)); done
        echo "instance $DAWN_INSTANCE: $sum" | tee result; echo on stderr >&2"#;
    let sums = cluster.submit(batch("sums").instances(3).shell(command));
    let tasks = cluster.tasks_in(&sums, TaskState::Finished, 3, Patience::STEP);
    assert_eq!(tasks.iter().map(|task| (task.instance, task.attempt)).collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 1)]);
    for task in &tasks {
        let log = cluster.log(task, "main", false);
        assert_eq!(log, format!("instance {}: 500500\n", task.instance));
        assert_eq!(cluster.log(task, "main", true), "on stderr\n");
    }
    let mut results = cluster.files_named("result");
    results.sort();
    assert_eq!(results, ["instance 0: 500500\n", "instance 1: 500500\n", "instance 2: 500500\n"]);
    let status = cluster.job(&sums);
    let summary = status.summary.expect("a summary");
    assert!(summary.ended, "{summary:?}");
    assert_eq!((summary.finished, summary.failed, summary.running, summary.pending), (3, 0, 0, 0));
    cluster.end();
}

#[test]
fn a_batch_job_is_retried_up_to_its_limit_and_then_fails() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(batch("flaky").shell("exit 3").max_failures(3).backoff_ms(50, 100));
    let tasks = cluster.tasks_in(&job, TaskState::Failed, 3, Patience::STEP);
    for task in &tasks {
        let last = task.history.last().expect("a history");
        assert_eq!(last.reason(), Reason::Exited);
        assert!(last.message.contains('3'), "the exit code is told: {last:?}");
    }
    cluster.eventually("the job has ended", Patience::STEP, || {
        let summary = cluster.job(&job).summary.expect("a summary");
        if summary.ended { Ok(()) } else { Err(format!("{summary:?}")) }
    });
    assert_eq!(cluster.api.tasks(&job).expect("tasks").len(), 3, "no fourth attempt");
    cluster.end();
}

#[test]
fn a_batch_task_that_runs_too_long_is_stopped_and_counts_as_failed() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let deaf = batch("endless").shell("trap '' TERM; while :; do sleep 0.05; done").with(|job| {
        job.max_run_time_ms = 700;
        job.task.as_mut().expect("it has one").grace_period_ms = 500;
    });
    let job = cluster.submit(deaf);
    let task = cluster.tasks_in(&job, TaskState::Failed, 1, Patience::STEP).remove(0);
    let end = task.history.last().expect("a history");
    let words = "ran longer than 700ms (max_run_time); did not stop within 500ms of SIGTERM: ended by SIGKILL";
    assert_eq!((end.reason(), end.message.as_str()), (Reason::MaxRunTime, words), "{task:?}");
    cluster.processes_of(&job, 0);
    cluster.end();
}

#[test]
fn processes_of_a_task_run_in_their_order() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = batch("steps").with(|job| {
        let process = |name: &str, shell: &str, after: &[&str]| v1::ProcessSpec {
            name: name.into(),
            shell: shell.into(),
            after: after.iter().map(|name| name.to_string()).collect(),
            ..Default::default()
        };
        let task = job.task.as_mut().expect("it has one");
        // Named against the order, so that order by name or by position would show.
        task.processes = vec![
            process("a_last", "cat first second > all", &["b_second"]),
            process("b_second", "cat first && echo two > second", &["c_first"]),
            process("c_first", "echo one > first", &[]),
        ];
    });
    let job = cluster.submit(job);
    cluster.tasks_in(&job, TaskState::Finished, 1, Patience::STEP);
    assert_eq!(cluster.files_named("all"), ["one\ntwo\n"]);
    cluster.end();
}

#[test]
fn a_cron_job_runs_at_its_minute_and_by_hand() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(cron("backup", "* * * * *").shell("echo saved > copy"));
    assert_eq!(cluster.api.tasks(&job).expect("tasks").len(), 0, "nothing runs before its minute");
    let by_hand = cluster.api.start_cron(&job).expect("an idle cron job can be started by hand");
    let ticks = cluster.eventually("one tick was launched", Patience::minutes(2), || {
        let ticks = cluster.job(&job).cron.map(|cron| cron.ticks).unwrap_or_default();
        let launched = ticks.iter().any(|tick| tick.outcome() == TickOutcome::Launched);
        if launched { Ok(ticks) } else { Err(format!("{ticks:?}")) }
    });
    let minute = ticks.iter().find(|tick| tick.outcome() == TickOutcome::Launched).expect("just seen");
    assert_eq!(minute.scheduled_ms % 60_000, 0, "{minute:?}");
    assert!(minute.decided_ms >= minute.scheduled_ms && minute.decided_ms < minute.scheduled_ms + 10_000, "{minute:?}");
    let manual: Vec<_> = ticks.iter().filter(|tick| tick.outcome() == TickOutcome::Manual).collect();
    assert_eq!(manual.len(), 1, "{ticks:?}");

    cluster.api.deschedule_cron(&job).expect("it is scheduled");
    let runs: BTreeSet<i64> = cluster.eventually("every run has finished", Patience::STEP, || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let finished = tasks.len() >= 2 && tasks.iter().all(|task| task.state() == TaskState::Finished);
        if finished { Ok(tasks.iter().map(|task| task.run_at_ms).collect()) } else { Err(format!("{tasks:?}")) }
    });
    assert!(runs.contains(&minute.scheduled_ms) && runs.contains(&by_hand.run_at_ms), "{runs:?} of {ticks:?}");
    cluster.end();
}

#[test]
fn production_pushes_the_filler_aside_and_gives_the_room_back() {
    let small = AgentPlan { cpus: "1".into(), ..AgentPlan::default() };
    let Some(cluster) = Cluster::start(Plan { agents: vec![small], ..Plan::default() }) else { return };
    let filler = cluster.submit(service("filler").tier(Tier::Revocable).instances(4).cpu_milli(250));
    let before: BTreeSet<u64> = cluster.running(&filler, 4).iter().map(|task| task.id).collect();

    let web = cluster.submit(service("web").cpu_milli(500));
    cluster.running(&web, 1);
    let left: BTreeSet<u64> = cluster.running(&filler, 2).iter().map(|task| task.id).collect();
    assert!(left.is_subset(&before), "no filler was pushed aside without need: {left:?} of {before:?}");
    cluster.processes_of(&filler, 2);
    let pushed = cluster.api.tasks(&filler).expect("tasks");
    let pushed = pushed.iter().filter(|task| before.contains(&task.id) && !left.contains(&task.id));
    for task in pushed {
        let preempted = task.history.iter().any(|step| step.reason() == Reason::Preempted);
        assert!(preempted && task.state().is_terminal(), "{task:?}");
    }

    cluster.kill(&web);
    cluster.running(&filler, 4);
    cluster.processes_of(&filler, 4);
    cluster.end();
}

#[test]
fn a_log_that_is_not_there_is_told_from_one_that_cannot_be_brought() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("tells").shell("echo hello; sleep 100000"));
    let task = cluster.running(&job, 1).remove(0);
    cluster.eventually("it has spoken", Patience::STEP, || match cluster.log(&task, "main", false).as_str() {
        "hello\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let read = |process: &str, offset| {
        let (task_id, process, offset) = (task.id, process.into(), Some(offset));
        cluster.api.read_log(v1::ReadLogRequest { task_id, process, offset, ..Default::default() })
    };
    assert_eq!(read("main", 2).unwrap(), b"llo\n");
    assert_eq!(read("main", 6).unwrap(), b"", "its end");
    let beyond = read("main", 7).unwrap_err();
    assert_eq!(beyond.code(), tonic::Code::OutOfRange, "{beyond:?}");
    assert!(beyond.message().contains("ends at byte 6; byte 7 is beyond it"), "{beyond:?}");
    let missing = read("other", 0).unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound, "{missing:?}");
    assert!(missing.message().contains("has no process other; it has: main"), "{missing:?}");
    cluster.end();
}
