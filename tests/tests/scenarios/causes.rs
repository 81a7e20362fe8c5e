//! Ways in which a job does not run, each tried as a new user would: the cause stands in what `dawn job run` says, or in what the
//! command says that it named last.

use std::net::TcpListener;

use dawn_tests::cluster::{Cluster, Output, Patience, Plan};

const FAILED: Option<i32> = Some(1);
const REFUSED: Option<i32> = Some(4);
const TIMED_OUT: Option<i32> = Some(6);

/// A job that does not run, and what must be said of it.
struct Way {
    name: &'static str,
    /// Beside key, user and resources.
    fields: String,
    exit: i32,
    /// In what `dawn job run` prints.
    said: &'static [&'static str],
    /// In what the command prints that it names last; waited for.
    then: &'static [&'static str],
}

fn file(cluster: &Cluster, name: &str, text: &str) -> String {
    let path = cluster.folder().join(format!("{name}.yaml"));
    std::fs::write(&path, text).expect("it can be written");
    path.to_string_lossy().into_owned()
}

fn job(name: &str, fields: &str) -> String {
    let user = if fields.contains("user:") { "" } else { "user: nobody\n" };
    let resources = match fields.contains("resources:") {
        true => "",
        false => "resources: { cpu: 0.05, memory: 32MiB, disk: 16MiB }\n",
    };
    format!("job: nobody/test/{name}\n{user}{resources}grace_period: 1s\n{fields}\n")
}

/// A service that is tried again soon, and judged soon.
fn service(run: &str, more: &str) -> String {
    let update = if more.contains("update:") { "" } else { "update: { watch: 2s, progress_deadline: 15s }\n" };
    format!("kind: service\nrestart: {{ backoff: 200ms, max_backoff: 500ms }}\n{update}{more}run: {run}\n")
}

/// Standard output and error of a command.
fn all(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// Runs the command that the output names last.
fn leads_on(cluster: &Cluster, output: &str) -> Output {
    let look = output.lines().rev().find_map(|line| line.trim().strip_prefix("look:")).unwrap_or_else(|| {
        panic!("no command leads on: {output}");
    });
    let words: Vec<&str> = look.split_whitespace().skip(1).collect();
    cluster.dawn(&words)
}

fn try_it(cluster: &Cluster, way: &Way) {
    let path = file(cluster, way.name, &job(way.name, &way.fields));
    let run = cluster.dawn(&["--timeout", "90s", "job", "run", &path]);
    let said = all(&run);
    assert_eq!(run.code, Some(way.exit), "{}: {said}", way.name);
    for part in way.said {
        assert!(said.contains(part), "{}: {part:?} is not in: {said}", way.name);
    }
    cluster.eventually(&format!("the cause of {} in what leads on", way.name), Patience::STEP, || {
        let look = all(&leads_on(cluster, &said));
        let missing = way.then.iter().find(|part| !look.contains(**part));
        missing.map_or(Ok(()), |part| Err(format!("{part:?} is not in: {look}")))
    });
    cluster.dawn(&["job", "kill", &format!("nobody/test/{}", way.name), "--yes"]).succeeded();
}

#[test]
fn processes_that_end_say_what_they_wrote_last() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let way = |name, fields, exit, said, then| Way { name, fields, exit, said, then };
    let ways = [
        way(
            "path",
            service("exec /usr/bin/nosuchprogram", ""),
            1,
            &["nosuchprogram", "exit code 127"][..],
            &["nosuchprogram"][..],
        ),
        way(
            "exits",
            service("echo config missing >&2; exit 3", ""),
            1,
            &["failed twice for the same reason", "exit code 3", "    | config missing"],
            &["err | config missing"],
        ),
        way(
            "later",
            service("sleep 6; echo gone >&2; exit 5", "update: { watch: 1s }\n"),
            0,
            &["1 of 1 running"],
            &["exit code 5", "    | gone", "restart"],
        ),
        way("memory", service("exec tail /dev/zero", ""), 1, &["out of memory"], &[]),
        way("user", format!("user: ghost9\n{}", service("sleep 1", "")), 1, &["ghost9"], &["ghost9"]),
        way(
            "batch",
            "kind: batch\nrun: echo bad >&2; exit 1\n".into(),
            1,
            &["exit code 1", "    | bad"],
            &["err | bad"],
        ),
    ];
    for way in &ways {
        try_it(&cluster, way);
    }
    cluster.end();
}

#[test]
fn limits_checks_and_final_processes_say_what_they_ended_or_failed_at() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let way = |name, fields, exit, said, then| Way { name, fields, exit, said, then };
    let ways = [
        way(
            "processes",
            service("for i in 1 2 3 4 5 6 7 8 9; do sleep 100000 & done; wait", "max_pids: 6\n"),
            1,
            &["reached its limit of 6 processes and threads (raise `max_pids`)", "Cannot fork"][..],
            &[][..],
        ),
        way(
            "health",
            service(
                "exec sleep 100000",
                "health: { shell: 'echo not ready >&2; exit 1', interval: 200ms, timeout: 5s, max_failures: 2 }\n",
            ),
            1,
            &["health check failed twice in a row: `echo not ready >&2; exit 1` failed with exit code 1: not ready"],
            &[],
        ),
        way(
            "never",
            service(
                "exec sleep 100000",
                "health: { shell: 'echo no database; exit 1', interval: 200ms, timeout: 5s, max_failures: 10000 }\n",
            ),
            1,
            &[
                "did not become healthy within 15s",
                "times in a row: `echo no database; exit 1` failed with exit code 1: no database; the task goes on",
            ],
            &["failed with exit code 1: no database"],
        ),
        way(
            "final",
            "kind: batch\nprocesses:\n- { name: work, run: exit 3 }\n\
             - { name: clean, final: true, run: 'echo no bucket >&2; exit 4' }\n"
                .into(),
            1,
            &["process work ended with exit code 3; final process clean ended with exit code 4: no bucket"],
            &[],
        ),
    ];
    for way in &ways {
        try_it(&cluster, way);
    }
    cluster.end();
}

#[test]
fn a_full_disk_is_named() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let fill = service(
        "exec sh -c 'dd if=/dev/zero of=full bs=1M count=64; exec sleep 100000'",
        "update: { watch: 20s, progress_deadline: 60s }\n",
    );
    try_it(&cluster, &Way { name: "disk", fields: fill, exit: 1, said: &["disk limit"], then: &[] });
    cluster.end();
}

#[test]
fn what_is_not_placed_says_what_keeps_it_out() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let (first, _) = cluster.task_ports(0);
    let short = "update: { watch: 1s, progress_deadline: 4s }\n";
    let way = |name, fields, said, then| Way { name, fields, exit: 1, said, then };
    let port = format!("ports: [{{ name: http, fixed: {first} }}]\n{short}");
    let holder = file(&cluster, "holder", &job("holder", &service("exec sleep 100000", &port)));
    cluster.dawn(&["--timeout", "60s", "job", "run", &holder]).succeeded();
    try_it(&cluster, &way("port", service("exec sleep 1", &port), &["port"], &["port"]));
    cluster.dawn(&["job", "kill", "nobody/test/holder", "--yes"]).succeeded();

    // Somebody else's process has it: the node finds that when it starts the task.
    let listener = TcpListener::bind(("127.0.0.1", first)).expect("the port is free");
    try_it(&cluster, &way("taken", service("exec sleep 1", &port), &["port"], &["port"]));
    drop(listener);

    let giant = format!("resources: {{ cpu: 900, memory: 16MiB, disk: 16MiB }}\n{}", service("sleep 1", short));
    try_it(&cluster, &way("giant", giant, &["cpu"], &["cpu"]));
    cluster.dawn(&["quota", "set", "nobody", "--limit", "cpu=0.01"]).succeeded();
    // What a role may never have is refused at once, and nothing is left of it.
    let path = file(&cluster, "quota", &job("quota", &service("sleep 1", short)));
    let refused = cluster.dawn(&["job", "run", &path]);
    assert_eq!(refused.code, REFUSED, "{refused:?}");
    assert!(refused.stderr.contains("its limit of 0.01") && refused.stderr.contains("dawn quota set"), "{refused:?}");
    cluster.dawn(&["quota", "set", "nobody", "--limit", "none"]).succeeded();
    cluster.end();
}

#[test]
fn what_follows_a_failure_and_what_is_paused_say_so() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let first = job("first", "kind: batch\nrun: exit 1\n");
    let second = job("second", "kind: batch\nafter: nobody/test/first\nrun: echo never\n");
    let path = file(&cluster, "flow", &format!("{first}---\n{second}"));
    let run = cluster.dawn(&["--timeout", "60s", "job", "run", &path]);
    let said = all(&run);
    assert_eq!(run.code, FAILED, "{said}");
    let of_second = said.split("nobody/test/second: failed").nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(of_second.contains("nobody/test/first"), "the job that it followed is named: {said}");

    let cron = "kind: cron\ncron: { schedule: '0 0 1 1 *' }\nrun: echo broken >&2; exit 9\n";
    let path = file(&cluster, "cron", &job("cron", cron));
    let scheduled = all(&cluster.dawn(&["--timeout", "60s", "job", "run", &path]).succeeded());
    cluster.dawn(&["cron", "start", "nobody/test/cron"]).succeeded();
    cluster.eventually("the failed run says why", Patience::STEP, || {
        let look = all(&leads_on(&cluster, &scheduled));
        let there = ["exit code 9", "    | broken"].iter().all(|part| look.contains(part));
        if there { Ok(()) } else { Err(look) }
    });
    cluster.dawn(&["cron", "pause", "nobody/test/cron"]).succeeded();
    let look = all(&leads_on(&cluster, &scheduled));
    assert!(look.contains("paused"), "{look}");
    let why = cluster.dawn(&["job", "why", "nobody/test/cron"]).succeeded();
    assert!(why.stdout.contains("paused"), "{why:?}");
    cluster.end();
}

#[test]
fn a_failed_update_says_why() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let text = |run: &str| job("web", &service(run, "instances: 2\n"));
    let good = file(&cluster, "good", &text("exec sleep 100000"));
    cluster.dawn(&["--timeout", "60s", "job", "run", &good]).succeeded();
    let bad = file(&cluster, "bad", &text("echo wrong flag >&2; exit 4"));
    let run = cluster.dawn(&["--timeout", "90s", "job", "run", &bad]);
    let said = all(&run);
    assert_eq!(run.code, FAILED, "{said}");
    assert!(said.contains("exit code 4") && said.contains("    | wrong flag"), "{said}");
    let look = all(&leads_on(&cluster, &said));
    assert!(look.contains("exit code 4") && look.contains("    | wrong flag"), "{look}");
    cluster.end();
}

#[test]
fn logs_of_a_job_that_keeps_failing_are_those_of_the_attempt_that_ran() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let name = "nobody/test/loop";
    let text = "kind: service\nrestart: { backoff: 30s }\nrun: echo one; echo config missing >&2; exit 1\n";
    let path = file(&cluster, "loop", &job("loop", text));
    cluster.dawn(&["job", "run", "--detach", &path]).succeeded();
    cluster.eventually("the log is there", Patience::STEP, || {
        let logs = cluster.dawn(&["job", "logs", name]);
        let both = logs.stdout.contains("out | one\n") && logs.stdout.contains("err | config missing\n");
        if both { Ok(()) } else { Err(format!("{logs:?}")) }
    });
    let errors = cluster.dawn(&["job", "logs", "--stderr", name]).succeeded();
    assert_eq!(errors.stdout, "config missing\n");
    let last = cluster.dawn(&["job", "logs", "--stdout", "--tail", "1", name]).succeeded();
    assert_eq!(last.stdout, "one\n");
    // It waits for the next attempt, and says for what.
    let followed = cluster.dawn(&["--timeout", "2s", "job", "logs", "-f", name]);
    assert_eq!(followed.code, TIMED_OUT, "{followed:?}");
    assert!(followed.stdout.contains("err | config missing") && followed.stderr.contains("waits for"), "{followed:?}");
    let missing = cluster.dawn(&["task", "exec", "nobody/test/loop/9", "--", "true"]);
    assert!(missing.stderr.contains("has no instance 9"), "{missing:?}");
    cluster.dawn(&["job", "kill", name, "--yes"]).succeeded();
    let kept = cluster.dawn(&["job", "logs", name]).succeeded();
    assert!(kept.stdout.contains("err | config missing\n"), "also after the kill: {kept:?}");
    cluster.end();
}

#[test]
fn a_command_in_a_task_ends_with_its_timeout() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let path = file(&cluster, "box", &job("box", &service("exec sleep 100000", "")));
    cluster.dawn(&["--timeout", "60s", "job", "run", &path]).succeeded();
    let begun = std::time::Instant::now();
    let exec = cluster.dawn(&["--timeout", "2s", "task", "exec", "nobody/test/box/0", "--", "sleep", "300"]);
    assert_eq!(exec.code, TIMED_OUT, "{exec:?}");
    assert!(exec.stderr.contains("timed out after 2s; the command was killed"), "{exec:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
    let scaled = cluster.dawn(&["job", "scale", "nobody/test/box", "+2"]).succeeded();
    assert!(scaled.stdout.contains("3 instances"), "{scaled:?}");
    let scaled = cluster.dawn(&["job", "scale", "nobody/test/box", "-1"]).succeeded();
    assert!(scaled.stdout.contains("2 instances"), "{scaled:?}");
    cluster.end();
}
