//! Sentences of the reference of job files (JOBFILE.md) that no story needs, each tried as it stands.

use std::io::Write;
use std::process::{Command, Stdio};

use dawn_proto::JobKey;
use dawn_proto::v1::{self, TaskState};
use dawn_tests::cluster::{self, AgentPlan, Cluster, Output, Patience, Plan};

const FAILED: Option<i32> = Some(1);

fn key(name: &str) -> JobKey {
    format!("nobody/test/{name}").parse().expect("a key")
}

fn text(name: &str, fields: &str) -> String {
    let resources = match fields.contains("resources:") {
        true => "",
        false => "resources: { cpu: 0.01, memory: 16MiB, disk: 16MiB }\n",
    };
    format!("job: nobody/test/{name}\nuser: nobody\ngrace_period: 1s\n{resources}{fields}\n")
}

/// Submits a job of these fields and does not wait.
fn submit(cluster: &Cluster, name: &str, fields: &str) -> JobKey {
    let path = cluster.folder().join(format!("{name}.yaml")).to_string_lossy().into_owned();
    std::fs::write(&path, text(name, fields)).expect("it can be written");
    cluster.dawn(&["job", "run", "--detach", &path]).succeeded();
    key(name)
}

/// Waits until the job has ended, and returns how: "succeeded" or "failed".
fn result(cluster: &Cluster, job: &JobKey) -> String {
    let name = job.to_string();
    cluster.eventually(&format!("{job} has ended"), Patience::STEP, || {
        let status = cluster.dawn(&["--json", "job", "status", &name]).succeeded().json();
        let summary = &status["summary"];
        if summary["ended"] == true { Ok(summary["result"].to_string()) } else { Err(summary.to_string()) }
    })
}

fn said(cluster: &Cluster, job: &JobKey) -> String {
    cluster.dawn(&["job", "logs", "--stdout", &job.to_string()]).succeeded().stdout
}

/// When a task was in each state: (state, milliseconds since 1970).
fn steps(task: &v1::Task) -> Vec<(TaskState, i64)> {
    task.history.iter().map(|step| (step.state(), step.at_ms)).collect()
}

/// Runs the text of a job file from standard input.
fn from_standard_input(cluster: &Cluster, text: &str) -> Output {
    let mut command = Command::new(cluster::path());
    command.args(["--scheduler", &cluster.address().to_string(), "--timeout", "60s", "job", "run", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("dawn starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[test]
fn what_is_read_and_what_a_task_is_given() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    // `-` reads standard input; no core files by default; beside `jobs:` stands what anchors name.
    let piped = "x-limits: &limits { user: nobody, kind: batch, resources: { cpu: 0.01, memory: 16MiB, disk: 16MiB } }\n\
                 jobs:\n- { <<: *limits, job: nobody/test/piped, run: ulimit -c }\n\
                 - { <<: *limits, job: nobody/test/dumps, run: ulimit -c, isolation: { rlimits: { core: 18446744073709551615 } } }\n";
    let run = from_standard_input(&cluster, piped);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        (said(&cluster, &key("piped")).as_str(), said(&cluster, &key("dumps")).as_str()),
        ("0\n", "unlimited\n")
    );

    // Day and weekday: on either, which is said once. A run is told its tick.
    let path = cluster.folder().join("cron.yaml").to_string_lossy().into_owned();
    let cron = text("cron", "kind: cron\ncron: { schedule: '0 0 1 1 MON', jitter: 10m }\nrun: echo $DAWN_RUN_AT_MS");
    std::fs::write(&path, cron).expect("it can be written");
    let run = cluster.dawn(&["job", "run", &path]).succeeded();
    assert_eq!(run.stderr.matches("it fires on either").count(), 1, "{run:?}");
    let shown = cluster.dawn(&["--json", "cron", "show", "nobody/test/cron"]).succeeded().json();
    let delay_ms = shown["cron"]["jitter_ms"].as_i64().unwrap_or_else(|| panic!("{shown}"));
    assert!((1..600_000).contains(&delay_ms), "a fixed part of the jitter: {shown}");
    cluster.dawn(&["cron", "start", "nobody/test/cron"]).succeeded();
    let task = cluster.tasks_in(&key("cron"), TaskState::Finished, 1, Patience::STEP).remove(0);
    assert_eq!(cluster.log(&task, "main", false), format!("{}\n", task.run_at_ms));
    cluster.end();
}

#[test]
fn how_often_tasks_are_tried_and_when_jobs_end() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let never = submit(&cluster, "never", "kind: batch\nrestart: { on: never, backoff: 10ms }\nrun: exit 1");
    let once = submit(&cluster, "once", "kind: service\nrestart: { on: never, backoff: 10ms }\nrun: exit 1");
    let mild = submit(&cluster, "mild", "kind: service\nrestart: { on: failure, backoff: 10ms }\nrun: sleep 0.5");
    // Each life is long enough to start the backoff anew.
    let stable = submit(
        &cluster,
        "stable",
        "kind: service\nrestart: { backoff: 100ms, max_backoff: 10m, stable_after: 300ms }\nrun: sleep 1; exit 1",
    );
    let rest = submit(
        &cluster,
        "rest",
        "kind: batch\ninstances: 3\ndeadline: 4s\nrun: if [ $DAWN_INSTANCE = 1 ]; then exit 0; fi; exec sleep 100000",
    );
    let row = submit(&cluster, "row", "kind: batch\ninstances: 3\nmax_running: 1\nrun: sleep 0.3");
    for job in [&never, &rest] {
        assert_eq!(result(&cluster, job), "\"failed\"", "{job}");
    }
    for job in [&never, &once] {
        cluster.tasks_in(job, TaskState::Failed, 1, Patience::STEP);
        assert_eq!(cluster.api.tasks(job).expect("they are kept").len(), 1, "{job} is not tried again");
    }
    cluster.tasks_in(&mild, TaskState::Finished, 1, Patience::STEP);
    let ends = cluster.api.tasks(&rest).expect("they are kept");
    let finished = ends.iter().filter(|task| task.state() == TaskState::Finished);
    assert_eq!(finished.map(|task| task.instance).collect::<Vec<_>>(), [1], "what was done stays done: {ends:?}");
    cluster.tasks_in(&stable, TaskState::Failed, 4, Patience::STEP);
    let now = cluster.api.tasks(&stable).expect("they are kept");
    assert!(now.iter().all(|task| task.failures <= 1), "{now:?}");

    assert_eq!(result(&cluster, &row), "\"succeeded\"");
    let mut lives: Vec<(u32, i64, i64)> = Vec::new();
    for task in cluster.api.tasks(&row).expect("they are kept") {
        let steps = steps(&task);
        lives.push((task.instance, steps[0].1, steps.last().expect("an end").1));
    }
    lives.sort_by_key(|life| life.1);
    assert!(
        lives.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].2 <= pair[1].1),
        "one after another: {lives:?}"
    );
    cluster.end();
}

#[test]
fn who_gives_way_to_whom() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let sleeps = |cpu: &str, more: &str| {
        format!("{more}\nresources: {{ cpu: {cpu}, memory: 16MiB, disk: 16MiB }}\nrun: exec sleep 100000")
    };
    // `revocable` is preempted first.
    let batch = submit(&cluster, "batch", &sleeps("2", "kind: batch"));
    let filler =
        submit(&cluster, "filler", &sleeps("1", "kind: service\ninstances: 2\ntier: revocable\ndisruption_budget: 1"));
    cluster.running(&batch, 1);
    cluster.running(&filler, 2);
    // At most one of the filler's tasks may be preempted at the same time.
    let web = submit(&cluster, "web", &sleeps("1", "kind: service\ninstances: 2"));
    cluster.running(&web, 2);
    let preempted = |job: &JobKey| {
        let tasks = cluster.api.tasks(job).expect("they are kept");
        let gave_way = |task: &&v1::Task| task.history.iter().any(|step| step.state() == TaskState::Preempting);
        tasks.iter().filter(gave_way).count()
    };
    let (fillers, batches) = (preempted(&filler), preempted(&batch));
    assert_eq!((fillers, batches), (1, 1), "the budget lets one of the filler's go, and the batch task is next");
    cluster.end();
}

#[test]
fn a_gang_starts_as_one_and_takes_nobodys_room() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let sleeps = |cpu: &str, more: &str| {
        format!("{more}\nresources: {{ cpu: {cpu}, memory: 16MiB, disk: 16MiB }}\nrun: exec sleep 100000")
    };
    let filler = submit(&cluster, "filler", &sleeps("2", "kind: service\ntier: revocable"));
    cluster.running(&filler, 1);
    let gang = submit(&cluster, "gang", &sleeps("1", "kind: batch\ninstances: 3\ntier: production\ngang: true"));
    cluster.eventually("all of it waits", Patience::STEP, || {
        let why = cluster.dawn(&["job", "why", &gang.to_string()]).succeeded().stdout;
        let right = why.contains("the 3 instances start together or not at all; there is room for at most ")
            && why.contains(" of them on the only node, so they wait for more");
        if right { Ok(()) } else { Err(why) }
    });
    cluster.tasks_in(&gang, TaskState::Pending, 3, Patience::STEP);
    cluster.running(&filler, 1);
    cluster.dawn(&["job", "kill", &filler.to_string(), "--yes"]).succeeded();
    let tasks = cluster.running(&gang, 3);
    let assigned: Vec<i64> = tasks
        .iter()
        .filter_map(|task| steps(task).iter().find(|step| step.0 == TaskState::Assigned).map(|step| step.1))
        .collect();
    assert!(assigned.len() == 3 && assigned.iter().all(|at| *at == assigned[0]), "in one step: {assigned:?}");
    cluster.end();
}

#[test]
fn what_a_drain_leaves_of_a_service() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let node0 = "constraints: [{ attribute: rack, in: [r0] }]\nrun: exec sleep 100000\nkind: service";
    // 67 in a hundred of three are 2.01: three stay up.
    let all = submit(&cluster, "all", &format!("instances: 3\nsla: {{ percentage: 67 }}\n{node0}"));
    cluster.running(&all, 3);
    let drain = cluster.dawn(&["--timeout", "60s", "node", "drain", "node0", "--deadline", "3s"]).succeeded();
    let said = format!("{}{}", drain.stdout, drain.stderr);
    assert!(said.contains("nobody/test/all has 3 instances up, 3 must stay"), "{said}");
    cluster.dawn(&["node", "uncordon", "node0"]).succeeded();
    cluster.kill(&all);

    // Without a policy one in twenty goes at a time: of forty, two.
    let many =
        "resources: { cpu: 0.01, memory: 2MiB, disk: 1MiB }\nkind: service\ninstances: 40\nrun: exec sleep 100000";
    let many = submit(&cluster, "many", many);
    let before = cluster.tasks_in(&many, TaskState::Running, 40, Patience::LONG);
    let there = before.iter().filter(|task| task.hostname == "node0").count();
    cluster.dawn(&["--timeout", "120s", "node", "drain", "node0", "--deadline", "5m"]).succeeded();
    cluster.tasks_in(&many, TaskState::Running, 40, Patience::LONG);
    let mut changes = Vec::new();
    for task in cluster.api.tasks(&many).expect("they are kept") {
        let steps = steps(&task);
        let up = steps.iter().position(|step| step.0 == TaskState::Running).expect("it ran");
        changes.push((steps[up].1, 1));
        changes.extend(steps.get(up + 1).map(|step| (step.1, -1)));
    }
    // Of one instant, what goes comes after what came.
    changes.sort_by_key(|(at_ms, change)| (*at_ms, -change));
    let ups = changes.iter().scan(0, |up, (_, change)| {
        *up += change;
        Some(*up)
    });
    let least = ups.skip_while(|up| *up < 40).min().expect("all were up");
    assert!(there > 10 && least == 38, "{there} were moved, at least {least} were up");
    cluster.dawn(&["node", "uncordon", "node0"]).succeeded();
    cluster.end();
}

#[test]
fn a_task_that_needs_namespaces_does_not_start_where_there_are_none() {
    let extra = ["--unisolated", "--run-as-self"].map(String::from).into();
    let agents = vec![AgentPlan { extra, as_nobody: true, ..AgentPlan::default() }];
    let Some(cluster) = Cluster::start(Plan { agents, ..Plan::default() }) else { return };
    let path = cluster.folder().join("own.yaml").to_string_lossy().into_owned();
    let own = text("own", "kind: batch\nisolation: { namespaces: required }\nrun: echo never");
    std::fs::write(&path, own).expect("it can be written");
    let run = cluster.dawn(&["--timeout", "60s", "job", "run", &path]);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(run.code == FAILED && said.contains("namespaces"), "{said}");
    let auto = submit(&cluster, "auto", "kind: batch\nrun: echo here");
    assert_eq!(result(&cluster, &auto), "\"succeeded\"");
    cluster.end();
}
