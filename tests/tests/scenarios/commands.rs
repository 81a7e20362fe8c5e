//! Commands that are typed seldom, and what people get who mistype them: each on a live cluster, or without any.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dawn_tests::cluster::{self, Cluster, Output, Patience, Plan, dawn, service};

const BAD_INPUT: Option<i32> = Some(2);
const NOT_FOUND: Option<i32> = Some(3);
const REFUSED: Option<i32> = Some(4);

const BOX: &str = "nobody/test/box";

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, text).expect("it can be written");
    path.to_string_lossy().into_owned()
}

/// What failed: its exit code and what stands on standard error.
fn refused(output: Output) -> (Option<i32>, String) {
    assert_eq!(output.stdout, "", "{output:?}");
    (output.code, output.stderr)
}

/// A job with a port, and a file of it that can be submitted again.
fn boxed(cluster: &Cluster, folder: &tempfile::TempDir) -> String {
    let text = format!(
        "job: {BOX}\nkind: service\nuser: nobody\ninstances: 2\nports: [http, admin]\nresources: {{ cpu: 0.1, memory: 32MiB, disk: 32MiB }}\nrun: echo hi > hello; exec sleep 100000\n"
    );
    let path = file(folder, "box.yaml", &text);
    cluster.dawn(&["job", "run", &path]).succeeded();
    cluster.eventually("its file is there", Patience::STEP, || {
        let files = cluster.files_named("hello");
        if files == ["hi\n", "hi\n"] { Ok(()) } else { Err(format!("{files:?}")) }
    });
    path
}

#[test]
fn quotas_are_set_shown_and_listed() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    assert!(cluster.dawn(&["quota", "list"]).succeeded().stdout.contains("no quotas"));
    let set = cluster.dawn(&["quota", "set", "nobody", "--limit", "cpu=2,memory=1GiB", "--weight", "3"]).succeeded();
    assert!(set.stdout.contains("nobody") && set.stdout.contains("0/2"), "{set:?}");
    boxed(&cluster, &folder);
    let got = cluster.dawn(&["--json", "quota", "get", "nobody"]).succeeded().json();
    assert_eq!((&got["weight"], &got["limit"]["cpu_milli"]), (&3.into(), &2_000.into()), "{got}");
    assert_eq!(got["used"]["cpu_milli"], 200, "{got}");
    let listed = cluster.dawn(&["quota", "list"]).succeeded().stdout;
    assert!(listed.contains("0.2/2") && listed.contains("64 MiB/1 GiB"), "{listed}");
    let (code, said) = refused(cluster.dawn(&["quota", "set", "nobody", "--limit", "cpus=2"]));
    assert!(code == BAD_INPUT && said.contains("write cpu=8,memory=16GiB"), "{said}");

    cluster.dawn(&["quota", "set", "nobody", "--limit", "none", "--guarantee", "none", "--weight", "1"]).succeeded();
    cluster.dawn(&["job", "kill", BOX, "--yes"]).succeeded();
    cluster.eventually("a role that has nothing is not listed", Patience::STEP, || {
        let listed = cluster.dawn(&["quota", "list"]).succeeded().stdout;
        if listed.contains("nobody") { Err(listed) } else { Ok(()) }
    });
    cluster.end();
}

#[test]
fn nodes_are_named_by_their_hosts_and_say_what_becomes_of_them() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let listed = |words: &str| {
        cluster.eventually(&format!("`dawn node list` says {words:?}"), Patience::STEP, || {
            let list = cluster.dawn(&["node", "list"]).succeeded().stdout;
            if list.contains(words) { Ok(list) } else { Err(list) }
        })
    };
    let list = listed("node1");
    let rows: Vec<&str> = list.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(rows, ["NODE", "node0", "node1"], "{list}");
    let said = |args: &[&str]| cluster.dawn(args).succeeded().stdout;
    assert_eq!(said(&["node", "cordon", "node0", "-m", "disk"]), "node0: takes nothing new; what runs there stays\n");
    listed("up, cordoned");
    assert_eq!(said(&["node", "uncordon", "node0"]), "node0: takes new tasks again\n");
    assert_eq!(said(&["node", "maintenance", "node1", "--in", "1h"]), "node1: takes nothing new, and drains in 1h\n");
    listed("up, drains soon");
    said(&["node", "uncordon", "node1"]);
    let drained = said(&["node", "drain", "node1", "--detach"]);
    assert_eq!(drained, "node1: is being drained, by force in 30m; see `dawn node status node1`\n");
    listed("up, drained");
    let (code, words) = refused(cluster.dawn(&["node", "maintenance", "node1", "--in", "1h"]));
    assert!(code == REFUSED && words.contains("is drained and can't become scheduled"), "{words}");
    said(&["node", "uncordon", "node1"]);
    let (code, words) = refused(cluster.dawn(&["node", "drain", "node9"]));
    assert!(code == NOT_FOUND && words.contains("did you mean node"), "{words}");
    let version = said(&["version"]);
    assert!(version.contains("(2 nodes, 0 tasks)") && version.contains("leader"), "{version}");
    cluster.end();
}

#[test]
fn places_in_tasks_are_named_in_either_way_and_refused_with_words() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    boxed(&cluster, &folder);
    let (task, inside) = (format!("{BOX}/0"), format!("{BOX}/0:hello"));
    for args in [
        &["task", "cat", &task, "hello"][..],
        &["task", "cat", &inside],
        &["task", "cp", &inside, "-"],
        &["task", "cp", &task, "hello", "-"],
    ] {
        assert_eq!(cluster.dawn(args).succeeded().stdout, "hi\n", "{args:?}");
    }
    assert!(!PathBuf::from("-").exists(), "- is no file");
    let here = file(&folder, "here", "new\n");
    let (code, said) = refused(cluster.dawn(&["task", "cp", &here, &format!("{BOX}/0:newdir/here")]));
    assert!(code == Some(1) && said.contains("there is no folder newdir in the sandbox"), "{said}");
    cluster.dawn(&["task", "cp", &here, &task, "there"]).succeeded();
    assert_eq!(cluster.dawn(&["task", "cat", &task, "there"]).succeeded().stdout, "new\n");
    let ls = cluster.dawn(&["task", "ls", &format!("{BOX}/0:/")]).succeeded().stdout;
    assert!(ls.contains("hello") && ls.contains("there"), "{ls}");

    let (code, said) = refused(cluster.dawn(&["task", "port-forward", &task, "8080"]));
    assert!(code == BAD_INPUT && said.contains("has no port `8080`; it has http, admin"), "{said}");
    let id = cluster.dawn(&["--json", "job", "status", BOX]).succeeded().json()["tasks"][0]["id"].clone();
    let id = id.as_str().expect("an id").to_string();
    let (_, said) = refused(cluster.dawn(&["task", "port-forward", &id, "8080"]));
    assert!(said.contains("has no port \"8080\"; it has: http, admin"), "{said}");
    let (code, said) = refused(cluster.dawn(&["task", "port-forward", &task, "http", "--listen", "nowhere"]));
    assert!(code == BAD_INPUT && said.contains("write a port as in 8080"), "{said}");

    let (code, said) = refused(cluster.dawn(&["job", "status", "nobody/test/bx"]));
    assert_eq!(
        (code, said.as_str()),
        (NOT_FOUND, "dawn: there is no job nobody/test/bx\n  did you mean nobody/test/box?\n")
    );
    let (code, said) = refused(cluster.dawn(&["job", "status", "devcluster/nobody/test/box"]));
    assert!(code == BAD_INPUT && said.contains("keys have no cluster here; leave it out: nobody/test/box"), "{said}");

    let (code, said) = refused(cluster.dawn(&["task", "exec", &format!("{BOX}/9"), "--", "true"]));
    assert!(code == NOT_FOUND && said.contains("has no instance 9; it has 2, numbered from 0"), "{said}");

    cluster.lose_machine(0);
    cluster.eventually("its agent is missed", Patience::STEP, || {
        let (code, said) = refused(cluster.dawn(&["task", "exec", &task, "--", "true"]));
        let right =
            code == Some(1) && said.contains("node node0 is out of reach") && said.contains("dawn node status node0");
        if right { Ok(()) } else { Err(format!("{code:?} {said}")) }
    });
    let (code, said) = refused(cluster.dawn(&["task", "cat", &task, "hello"]));
    assert!(code == Some(1) && said.contains("node node0 is out of reach"), "{said}");
    cluster.agents[0].start();
    cluster.end();
}

/// A forwarded port, beside the test.
struct Forward {
    child: std::process::Child,
    address: String,
}

impl Forward {
    fn begin(cluster: &Cluster, args: &[&str]) -> Forward {
        let mut command = Command::new(cluster::path());
        command.args(["--scheduler", &cluster.address().to_string(), "task", "port-forward"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("dawn starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("it says where it listens");
        let address = line.split(' ').next().unwrap_or_default().to_string();
        Forward { child, address }
    }

    /// One connection, until it is closed.
    fn connect(&self) -> Result<(), String> {
        let mut stream = std::net::TcpStream::connect(&self.address).map_err(|error| error.to_string())?;
        let _ = stream.read_to_string(&mut String::new());
        Ok(())
    }

    fn ended(self) -> (Option<i32>, String) {
        let output = self.child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn a_forwarded_port_follows_its_instance_and_ends_with_it() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    boxed(&cluster, &folder);
    let one = format!("{BOX}/0");
    let id = |instance: u64| {
        let status = cluster.dawn(&["--json", "job", "status", &one]).succeeded().json();
        let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
        let found = tasks.into_iter().rev().find(|task| task["instance"] == instance && task["state"] == "running");
        found.map(|task| task["id"].as_str().unwrap_or_default().to_string()).ok_or_else(|| status.to_string())
    };
    let first = id(0).expect("it runs");
    let forward = Forward::begin(&cluster, &[&one, "http"]);
    let of_task = Forward::begin(&cluster, &[&first, "http", "--listen", "0"]);
    forward.connect().expect("it listens");
    cluster.dawn(&["job", "restart", &one, "--watch", "0s"]).succeeded();
    let second = cluster.eventually("its next task runs", Patience::STEP, || match id(0) {
        Ok(id) if id != first => Ok(id),
        other => Err(format!("{other:?}")),
    });
    forward.connect().expect("it listens");
    of_task.connect().expect("it listens");
    let (code, said) = of_task.ended();
    assert!(code == Some(1) && said.contains(&format!("{first} has ended")), "{said}");
    cluster.dawn(&["job", "kill", BOX, "--yes"]).succeeded();
    forward.connect().expect("it listens");
    let (code, said) = forward.ended();
    assert!(said.contains(&format!("{first} has ended; now it leads to {second}")), "{said}");
    assert!(code == Some(1) && said.contains(&format!("{BOX} has ended, and {second} with it")), "{said}");
    cluster.end();
}

#[test]
fn what_was_killed_stays_so_and_says_how_that_is_undone() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = boxed(&cluster, &folder);
    let one = format!("{BOX}/0");
    let killed = cluster.dawn(&["job", "kill", &one]).succeeded().stdout;
    assert!(
        killed.contains("killed 1 task") && killed.contains("stay stopped until the job is submitted or scaled"),
        "{killed}"
    );
    let (code, said) = refused(cluster.dawn(&["job", "restart", &one]));
    assert!(code == REFUSED && said.contains("was killed alone (`dawn job kill`) and stays stopped"), "{said}");
    let planned = cluster.dawn(&["job", "plan", &path]).succeeded().stdout;
    let expected = format!("{BOX}: its killed instances are started again (version 2)\n  creates 1 instance: 0\n");
    assert!(planned.starts_with(&expected), "{planned}");
    let again = cluster.dawn(&["job", "run", &path]).succeeded().stdout;
    let expected = format!("{BOX}: its killed instances are started again (version 2, service, 2 instances)\n");
    assert!(again.starts_with(&expected), "{again}");
    let status = cluster.dawn(&["--json", "job", "status", BOX]).succeeded().json();
    assert_eq!(status["summary"]["running"], 2, "the same file starts it again: {status}");
    cluster.dawn(&["job", "kill", &one]).succeeded();
    let scaled = cluster.dawn(&["job", "scale", BOX, "3"]).succeeded().stdout;
    let expected = format!("{BOX}: 3 instances (version 3)\n  instance 0, which was killed, is started again\n");
    assert_eq!(scaled, expected);
    cluster.dawn(&["job", "kill", BOX, "--yes"]).succeeded();
    for _ in 0..2 {
        let again = cluster.dawn(&["job", "kill", BOX, "--yes"]).succeeded();
        assert_eq!(again.stdout, format!("{BOX}: has ended already; nothing was to be killed\n"));
    }
    assert_eq!(cluster.dawn(&["job", "kill", "nobody/test/never", "--yes"]).code, NOT_FOUND);
    cluster.end();
}

#[test]
fn a_fixed_port_that_no_node_offers_is_told_with_the_ranges_that_nodes_show() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("low").port("http", 1).shell("exec sleep 100000"));
    let status = cluster.dawn(&["node", "status", "node0"]).succeeded().stdout;
    let ranges =
        status.lines().find_map(|line| line.strip_prefix("ports")).expect("ports are shown").trim().to_string();
    let why = cluster.dawn(&["job", "why", &job.to_string()]).succeeded().stdout;
    assert!(why.contains(&format!("does not offer port 1 (node0 offers {ranges})")), "{why}");
    let first: u16 = ranges.split(['-', ',']).next().and_then(|first| first.parse().ok()).expect("a number");
    for name in ["first", "second"] {
        cluster.submit(service(name).port("http", first).shell("exec sleep 100000"));
    }
    cluster.eventually("one of two waits for the port", Patience::STEP, || {
        let why = ["first", "second"].map(|name| cluster.dawn(&["job", "why", &format!("nobody/test/{name}")]).stdout);
        let taken = why.iter().filter(|why| why.contains(&format!("has port {first} in use"))).count();
        if taken == 1 { Ok(()) } else { Err(format!("{why:?}")) }
    });
    cluster.end();
}

#[test]
fn runs_by_the_clock_are_told_in_the_zone_of_their_job() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let text = "job: nobody/test/nightly\nkind: cron\nuser: nobody\ncron: { schedule: \"30 2 * * *\", time_zone: Asia/Kolkata }\nrun: exec sleep 100000\n";
    cluster.dawn(&["job", "run", &file(&folder, "cron.yaml", text)]).succeeded();
    for command in [&["cron", "list"][..], &["cron", "show", "nobody/test/nightly"]] {
        let said = cluster.dawn(command).succeeded().stdout;
        assert!(said.contains("02:30:00 +05:30"), "{said}");
    }
    cluster.dawn(&["cron", "start", "nobody/test/nightly"]).succeeded();
    let (code, said) = refused(cluster.dawn(&["cron", "start", "nobody/test/nightly"]));
    let at = said.split("still has a live run of ").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default();
    assert!(code == REFUSED && at.ends_with(" +05:30"), "{said}");
    let shown = cluster.dawn(&["cron", "show", "nobody/test/nightly"]).succeeded().stdout;
    assert!(shown.contains(at), "the run is named as it is shown: {at}: {shown}");
    cluster.dawn(&["cron", "pause", "nobody/test/nightly"]).succeeded();
    assert!(cluster.dawn(&["cron", "list"]).succeeded().stdout.contains("paused"));
    assert!(cluster.dawn(&["job", "list"]).succeeded().stdout.contains("  paused\n"));
    let resumed = cluster.dawn(&["cron", "resume", "nobody/test/nightly"]).succeeded().stdout;
    assert!(resumed.contains("02:30:00 +05:30"), "{resumed}");
    cluster.dawn(&["job", "kill", "nobody/test/nightly", "--yes"]).succeeded();
    cluster.end();
}

/// `dawn` with a variable set and a text on standard input.
fn with(scheduler: &str, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(cluster::path());
    command.args(args).env("DAWN_SCHEDULER", scheduler).env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("dawn starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads, or has all it needs");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_is_a_command_and_usage_names_no_option_that_is_set() {
    for (args, part) in [(&["help"][..], "Exit codes:"), (&["help", "job", "run"], "Usage: dawn job run")] {
        let output = dawn(args).succeeded();
        assert!(output.stdout.contains(part), "{output:?}");
    }
    let (code, _, said) = with("127.0.0.1:1", &["job", "kill"], "");
    assert!(code == BAD_INPUT && said.contains("Usage: dawn job kill [OPTIONS] <JOB>"), "{said}");
    let (code, _, said) = with("", &["job", "stop", "a/b/c"], "");
    assert!(code == BAD_INPUT && said.contains("did you mean `dawn job kill`?"), "{said}");
    let schema = dawn(&["config", "schema"]).succeeded().json();
    assert!(schema["$defs"]["JobSpec"]["properties"]["instances"]["description"].is_string(), "{schema}");
    let schema = dawn(&["config", "schema", "--aurora"]).succeeded().json();
    assert!(schema["$defs"]["Process"].is_object(), "{schema}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(dawn(&["completions", shell]).succeeded().stdout.contains("port-forward"), "{shell}");
    }
}

#[test]
fn the_environment_names_schedulers_as_the_flag_does() {
    let (code, _, said) = with("https://localhost:7070", &["version"], "");
    assert!(
        code == BAD_INPUT && said.contains("DAWN_SCHEDULER of the environment") && said.contains("write HOST:PORT"),
        "{said}"
    );
    assert_eq!(with("https://localhost:7070", &["completions", "bash"], "").0, Some(0), "it asks nobody");
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let url = format!("http://{}/", cluster.address());
    let (code, said, _) = with(&url, &["version"], "");
    assert!(code == Some(0) && said.contains("scheduler"), "{said}");
    cluster.end();
}

#[test]
fn a_job_file_from_standard_input_is_formatted_to_standard_output() {
    let rough = "job:  a/b/c \nkind: batch\nrun: x\n";
    let (code, said, _) = with("", &["config", "fmt", "-"], rough);
    assert_eq!((code, said.as_str()), (Some(0), "job: a/b/c\nkind: batch\nrun: x\n"));
    assert_eq!(with("", &["config", "fmt", "--check", "-"], rough).0, Some(1));
    assert_eq!(with("", &["config", "fmt", "--check", "-"], &said).0, Some(0));
    let (code, said, errors) = with("", &["config", "fmt", "-"], "job: x\n");
    assert!(code == BAD_INPUT && said.is_empty() && errors.starts_with("-:1:"), "{errors}");
    assert_eq!(with("", &["config", "check", "-"], rough).1, "a/b/c: good\n");
}

#[test]
fn every_line_about_a_file_begins_with_its_place() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path =
        file(&folder, "bad.yaml", "job: a/b/c\nkind: batch\ncolor: red\nenv: { BAD NAME: x, DAWN_X: y, NIL: }\n");
    let (code, said) = refused(dawn(&["config", "check", &path]));
    assert_eq!(code, BAD_INPUT);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with(&format!("{path}:"))), "{said}");
    for part in ["3:1: color", "4:18: env.BAD NAME", "4:29: env.DAWN_X", "4:35: env.NIL", "give `run`"] {
        assert_eq!(lines.iter().filter(|line| line.contains(part)).count(), 1, "{part}: {said}");
    }
    let star = file(&folder, "dict.star", "x = 1\njobs = [{'name': 'web'}]\n");
    let (code, said) = refused(dawn(&["config", "check", &star]));
    assert_eq!(
        (code, said.as_str()),
        (BAD_INPUT, &*format!("{star}:2:1: jobs[0] is not a Job but a dict; write Job(…) or Service(…)\n"))
    );
}
