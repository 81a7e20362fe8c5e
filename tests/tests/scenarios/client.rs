//! The command line against a real cluster: what people type, what they get, and the exit code it leaves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dawn_proto::JobKey;
use dawn_tests::cluster::{AgentPlan, Cluster, Patience, Plan, PortBlock, dawn, service};

/// Exit codes of `dawn --help`.
const BAD_INPUT: Option<i32> = Some(2);
const NOT_FOUND: Option<i32> = Some(3);
const NO_SCHEDULER: Option<i32> = Some(5);
const TIMED_OUT: Option<i32> = Some(6);

fn key(text: &str) -> JobKey {
    text.parse().expect("a job key")
}

/// A job file of the repository.
fn example(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs");
    root.join(name).to_string_lossy().into_owned()
}

#[test]
fn a_dead_scheduler_is_one_clear_line_within_seconds() {
    let ports = PortBlock::reserve();
    let address = format!("127.0.0.1:{}", ports.first());
    let begun = Instant::now();
    let output = dawn(&["--scheduler", &address, "job", "list"]);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!((output.code, output.stdout.as_str()), (NO_SCHEDULER, ""), "{output:?}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!((1..=3).contains(&lines.len()) && output.stderr.contains(&address), "{output:?}");
}

#[test]
fn a_job_file_with_a_mistake_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("web.yaml");
    let text = "job: nobody/test/web\nkind: service\nuser: nobody\nprocceses:\n  - { name: a, run: sleep 1 }\n";
    std::fs::write(&path, text).expect("it can be written");
    let path = path.to_string_lossy();
    let output = dawn(&["job", "run", &path]);
    assert_eq!((output.code, output.stdout.as_str()), (BAD_INPUT, ""), "{output:?}");
    assert!(output.stderr.contains(&format!("{path}:4")) && output.stderr.contains("processes"), "{output:?}");
}

#[test]
fn list_status_logs_history_and_kill_tell_one_story() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let talker = cluster.submit(service("talker").shell("echo hello from dawn; echo oops >&2; exec sleep 100000"));
    cluster.running(&talker, 1);
    let name = "nobody/test/talker";
    let list = cluster.dawn(&["job", "list"]).succeeded();
    assert!(list.stdout.contains(name) && !list.stdout.contains('\u{1b}'), "{list:?}");
    let status = cluster.dawn(&["--json", "job", "status", name]).succeeded().json();
    assert_eq!(status["summary"]["running"], 1, "{status}");
    assert!(cluster.dawn(&["--json", "job", "inspect", name]).succeeded().json().is_object());
    let history = cluster.dawn(&["job", "history", name]).succeeded();
    assert!(history.stdout.to_lowercase().contains("running"), "{history:?}");
    assert!(cluster.dawn(&["node", "list"]).succeeded().stdout.contains("node0"));
    cluster.eventually("the log is there", Patience::STEP, || {
        let logs = cluster.dawn(&["job", "logs", name]);
        if logs.stdout.contains("hello from dawn") { Ok(()) } else { Err(format!("{logs:?}")) }
    });
    let errors = cluster.dawn(&["job", "logs", "--stderr", name]).succeeded();
    assert!(errors.stdout.contains("oops") && !errors.stdout.contains("hello"), "{errors:?}");
    let unasked = cluster.dawn(&["job", "kill", name]);
    assert_eq!((unasked.code, unasked.stdout.as_str()), (BAD_INPUT, ""), "{unasked:?}");
    assert!(unasked.stderr.contains("(1 task)") && unasked.stderr.contains("give --yes"), "{unasked:?}");
    cluster.processes_of(&talker, 1);
    cluster.dawn(&["job", "kill", name, "--yes"]).succeeded();
    cluster.processes_of(&talker, 0);

    for command in ["status", "kill", "logs", "why", "inspect", "history"] {
        let output = cluster.dawn(&["job", command, "nobody/test/never"]);
        assert_eq!(output.code, NOT_FOUND, "{command}: {output:?}");
        assert!(output.stderr.contains("nobody/test/never"), "{command}: {output:?}");
    }
    cluster.end();
}

#[test]
fn a_job_that_fits_nowhere_is_warned_about_and_explained() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let path = cluster.folder().join("giant.yaml");
    let text =
        "job: nobody/test/giant\nkind: service\nresources: { cpu: 900, memory: 16MiB, disk: 16MiB }\nrun: sleep 9\n";
    std::fs::write(&path, text).expect("it can be written");
    let run = cluster.dawn(&["--timeout", "1s", "job", "run", &path.to_string_lossy()]);
    assert_eq!(run.code, TIMED_OUT, "{run:?}");
    assert!(format!("{}{}", run.stdout, run.stderr).contains("cpu"), "it is warned about: {run:?}");
    let why = cluster.dawn(&["job", "why", "nobody/test/giant"]).succeeded();
    assert!(why.stdout.contains("cpu") && why.stdout.contains('2'), "both agents are counted: {why:?}");
    cluster.end();
}

#[test]
fn the_example_jobs_do_their_work() {
    let agent = |rack: &str| AgentPlan { attributes: vec![format!("rack={rack}")], ..AgentPlan::default() };
    let plan = Plan { agents: ["a", "b", "c"].map(agent).into(), ..Plan::default() };
    let Some(cluster) = Cluster::start(plan) else { return };
    let files = ["web.yaml", "primes.yaml", "backup.yaml", "filler.yaml"].map(example);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    cluster.dawn(&[&["--timeout", "90s", "job", "run"], &files[..]].concat()).succeeded();

    let web = cluster.running(&key("demo/prod/web"), 3);
    for task in &web {
        assert_eq!(
            get(task.ports[0].port),
            format!("Hello from Dawn: instance {} of demo/prod/web on {}\n", task.instance, task.hostname)
        );
    }
    let report = cluster.dawn(&["job", "logs", "demo/test/primes", "--process", "report"]).succeeded();
    assert!(report.stdout.contains("found 25997 primes") && report.stdout.contains("found 23101 primes"), "{report:?}");
    cluster.dawn(&["cron", "start", "demo/ops/backup"]).succeeded();
    cluster.eventually("the backup is packed", Patience::STEP, || {
        let logs = cluster.dawn(&["job", "logs", "demo/ops/backup"]);
        if logs.stdout.contains("packed /etc/skel") { Ok(()) } else { Err(format!("{logs:?}")) }
    });
    cluster.dawn(&["cron", "deschedule", "demo/ops/backup"]).succeeded();
    cluster.running(&key("demo/test/filler"), 3);
    cluster.end();
}

/// The body of a plain HTTP answer.
fn get(port: u32) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).expect("a port"))).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{answer:?}");
    body.to_string()
}
