//! What a user is told of several jobs, of jobs that wait, and of logs, on a live cluster.

use dawn_tests::cluster::{Cluster, Output, Plan};

const FAILED: Option<i32> = Some(1);

fn all(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// A job file of such jobs, each with its name and its fields.
fn file(cluster: &Cluster, name: &str, jobs: &[(&str, &str)]) -> String {
    let path = cluster.folder().join(format!("{name}.yaml"));
    let job = |(name, fields): &(&str, &str)| {
        format!(
            "job: nobody/test/{name}\nuser: nobody\nresources: {{ cpu: 0.05, memory: 32MiB, disk: 16MiB }}\ngrace_period: 1s\n{fields}\n"
        )
    };
    std::fs::write(&path, jobs.iter().map(job).collect::<Vec<_>>().join("---\n")).expect("it can be written");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_wait_that_is_given_up_names_what_has_failed_and_is_a_failure() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let jobs = [("bad", "kind: batch\nrun: echo config missing >&2; exit 1"), ("long", "kind: batch\nrun: sleep 60")];
    let run = cluster.dawn(&["--timeout", "12s", "job", "run", &file(&cluster, "two", &jobs)]);
    assert_eq!(run.code, FAILED, "{run:?}");
    for part in
        ["nobody/test/bad: failed: its instance failed: process main ended with exit code 1", "    | config missing"]
    {
        assert!(run.stdout.contains(part), "{part:?}: {run:?}");
    }
    for part in [
        "timed out; the jobs stay as they are",
        "nobody/test/bad: failed: ",
        "look:  dawn job logs nobody/test/bad",
        "stop:  dawn job kill nobody/test/long",
    ] {
        assert!(run.stderr.contains(part), "{part:?}: {run:?}");
    }
    cluster.end();
}

#[test]
fn a_service_that_waits_for_others_says_so_and_why_it_will_not_run() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let after = "kind: service\nafter: nobody/test/first\nupdate: { watch: 1s, progress_deadline: 2s }\nrun: sleep 60";
    let jobs = [("first", "kind: batch\nrun: sleep 4; exit 3"), ("second", after)];
    let path = file(&cluster, "dag", &jobs);
    let plan = cluster.dawn(&["job", "plan", &path]).succeeded();
    assert!(plan.stdout.contains("  waits for nobody/test/first (success)\n"), "{plan:?}");
    let run = cluster.dawn(&["--timeout", "60s", "job", "run", &path]);
    assert_eq!(run.code, FAILED, "{run:?}");
    for part in [
        "nobody/test/second  waits for nobody/test/first (success)",
        "nobody/test/second  will not run: nobody/test/first did not succeed",
    ] {
        assert!(run.stdout.contains(part), "{part:?}: {run:?}");
    }
    let logs = cluster.dawn(&["job", "logs", "nobody/test/second"]);
    assert!(
        logs.code == FAILED && logs.stderr.contains("the job has ended: nobody/test/first did not succeed"),
        "{logs:?}"
    );
    cluster.end();
}

#[test]
fn a_first_run_that_was_not_checked_yet_says_so() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let slow = "kind: service\nhealth: { shell: 'true', initial_delay: 60s }\nupdate: { watch: 1s, progress_deadline: 3s }\nrun: sleep 100";
    let path = file(&cluster, "slow", &[("slow", slow)]);
    let warned =
        "no instance can be healthy within 3s (update.progress_deadline): its first health check comes after 1m";
    let run = cluster.dawn(&["--timeout", "60s", "job", "run", &path]);
    assert_eq!(run.code, FAILED, "{run:?}");
    assert!(run.stderr.contains(warned), "{run:?}");
    let cause = "not checked yet: initial_delay 1m is not shorter than progress_deadline 3s";
    assert!(run.stdout.contains(cause), "{run:?}");
    for command in ["status", "why"] {
        let said = all(&cluster.dawn(&["job", command, "nobody/test/slow"]));
        assert!(said.contains("not checked yet: initial_delay is 1m"), "{command}: {said}");
    }
    assert!(all(&cluster.dawn(&["config", "check", &path])).contains(warned));
    assert!(all(&cluster.dawn(&["job", "plan", &path])).contains("slow"));
    cluster.end();
}

#[test]
fn a_task_that_was_never_started_is_refused_alike_and_a_run_before_is_marked() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let ghost = "kind: batch\nrun: echo never".to_string();
    let path = file(&cluster, "ghost", &[("ghost", &ghost)]);
    let text = std::fs::read_to_string(&path).expect("it was written").replace("user: nobody", "user: ghost9");
    std::fs::write(&path, text).expect("it can be written");
    assert_eq!(cluster.dawn(&["--timeout", "60s", "job", "run", &path]).code, FAILED);
    let name = "nobody/test/ghost/0";
    let commands = [
        vec!["job", "logs", name],
        vec!["task", "logs", name],
        vec!["task", "ls", name],
        vec!["task", "exec", name, "--", "id"],
    ];
    for command in commands {
        let said = cluster.dawn(&command);
        assert_eq!(said.code, FAILED, "{command:?}: {said:?}");
        let wanted = said.stderr.contains("nobody/test/ghost/0: t") && said.stderr.contains(" was not started: ");
        assert!(wanted && said.stderr.contains("ghost9"), "{command:?}: {said:?}");
    }
    let first = "kind: batch\nrun: echo of version one";
    let path = file(&cluster, "again", &[("again", first)]);
    cluster.dawn(&["--timeout", "60s", "job", "run", &path]).succeeded();
    let none = cluster.dawn(&["job", "logs", "nobody/test/again", "-p", "nosuch"]);
    assert!(none.stderr.contains(" has no process nosuch; it has: main"), "{none:?}");
    let second = "kind: batch\nconstraints: [{ attribute: rack, in: [nowhere] }]\nrun: echo of version two";
    let path = file(&cluster, "again", &[("again", second)]);
    cluster.dawn(&["job", "run", "--detach", &path]).succeeded();
    let logs = cluster.dawn(&["job", "logs", "nobody/test/again"]).succeeded();
    assert!(logs.stdout.contains("of version one"), "{logs:?}");
    assert!(logs.stderr.contains("no task of version 2 ran yet; the log is of version 1 (t"), "{logs:?}");
    cluster.end();
}
