//! Every command that `dawn job run` names, whatever becomes of the job, is run: each is one that does something there.

use dawn_tests::cluster::{Cluster, Output, Plan};

const FAILED: Option<i32> = Some(1);
const BAD_INPUT: Option<i32> = Some(2);
const NOT_FOUND: Option<i32> = Some(3);
const TIMED_OUT: Option<i32> = Some(6);

fn all(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// The command lines in an output: those between backticks, and those behind "look:" and "stop:".
fn commands(said: &str) -> Vec<String> {
    let named = said.split('`').skip(1).step_by(2).filter_map(|text| text.strip_prefix("dawn "));
    let led = said.lines().filter_map(|line| line.trim().split_once(":  dawn ")).map(|(_, command)| command);
    named.chain(led).map(str::to_string).collect()
}

/// Runs a job file, and then each command that was named; returns all that was said.
fn run_with_hints(cluster: &Cluster, name: &str, fields: &str, exit: Option<i32>) -> (String, Vec<String>) {
    let path = cluster.folder().join(format!("{name}.yaml")).to_string_lossy().into_owned();
    let text = format!(
        "job: nobody/test/{name}\nuser: nobody\nresources: {{ cpu: 0.05, memory: 32MiB, disk: 16MiB }}\ngrace_period: 1s\n{fields}"
    );
    std::fs::write(&path, text).expect("it can be written");
    let run = cluster.dawn(&["--timeout", "20s", "job", "run", &path]);
    let said = all(&run);
    assert_eq!(run.code, exit, "{name}: {said}");
    let named = commands(&said);
    assert!(!named.is_empty(), "{name}: nothing leads on: {said}");
    for command in &named {
        let line = match command.as_str() {
            // It is to be run again with a file.
            "job run" => format!("job run --detach {path}"),
            // People are asked.
            kill if kill.starts_with("job kill ") => format!("{kill} --yes"),
            other => other.to_string(),
        };
        let output = cluster.dawn(&line.split(' ').collect::<Vec<_>>());
        let wrong = output.code == BAD_INPUT || output.code == NOT_FOUND || all(&output).is_empty();
        assert!(!wrong, "{name}: `dawn {command}`: {output:?}\nnamed by: {said}");
    }
    (said, named)
}

#[test]
fn every_command_that_job_run_names_leads_on() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let service = "kind: service\nrestart: { backoff: 200ms, max_backoff: 500ms }\n";
    let update = "update: { watch: 1s, progress_deadline: 10s }\n";
    let cases = [
        ("good", format!("{service}{update}ports: [http]\nrun: exec sleep 100000\n"), Some(0)),
        ("crash", format!("{service}{update}run: exit 3\n"), FAILED),
        ("giant", format!("{service}constraints: [{{ attribute: rack, in: [nowhere] }}]\nrun: sleep 1\n"), TIMED_OUT),
        ("batch", "kind: batch\nrun: echo bad >&2; exit 1\n".to_string(), FAILED),
        ("done", "kind: batch\nrun: 'true'\n".to_string(), Some(0)),
        ("tick", "kind: cron\ncron: { schedule: '0 0 1 1 *' }\nrun: 'true'\n".to_string(), Some(0)),
    ];
    for (name, fields, exit) in &cases {
        run_with_hints(&cluster, name, fields, *exit);
    }
    // The same service in another version is an update, that goes well or not.
    let good = format!("{service}{update}ports: [http]\nenv: {{ V: two }}\nrun: exec sleep 100000\n");
    let (_, named) = run_with_hints(&cluster, "good", &good, Some(0));
    assert!(named.contains(&"update status nobody/test/good".to_string()), "{named:?}");
    let bad = format!("{service}{update}ports: [http]\nrun: exit 4\n");
    run_with_hints(&cluster, "good", &bad, FAILED);
    cluster.end();
}

#[test]
fn what_ended_a_batch_job_too_slow_for_its_bounds_is_said() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let stubborn = "run: \"trap '' TERM; while :; do sleep 0.1; done\"\n";
    let (said, _) = run_with_hints(&cluster, "long", &format!("kind: batch\nmax_run_time: 2s\n{stubborn}"), FAILED);
    assert!(said.contains("ran longer than 2s (max_run_time)"), "not only that it was killed: {said}");
    let (said, _) = run_with_hints(&cluster, "late", &format!("kind: batch\ndeadline: 2s\n{stubborn}"), FAILED);
    assert!(said.contains("deadline"), "{said}");
    cluster.end();
}
