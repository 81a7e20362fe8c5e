//! What shows tasks, nodes and the journal, with every way in which it can be asked for less.

use dawn_tests::cluster::{AgentPlan, Cluster, Patience, Plan, dawn, service};

const FAILED: Option<i32> = Some(1);
const BAD_INPUT: Option<i32> = Some(2);
const TIMED_OUT: Option<i32> = Some(6);
const NAME: &str = "nobody/test/box";

/// A task with a file and a port on each of two nodes.
fn boxes() -> Option<Cluster> {
    let cluster = Cluster::start(Plan::of(2))?;
    let job =
        cluster.submit(service("box").instances(2).port("http", 0).shell("echo 0123456789 > file; exec sleep 100000"));
    cluster.running(&job, 2);
    cluster.eventually("their files are there", Patience::STEP, || {
        let files = cluster.files_named("file");
        if files == ["0123456789\n", "0123456789\n"] { Ok(()) } else { Err(format!("{files:?}")) }
    });
    Some(cluster)
}

#[test]
fn parts_of_files_commands_without_a_terminal_and_usage_as_it_changes() {
    let Some(cluster) = boxes() else { return };
    let one = format!("{NAME}/0");
    let part = cluster.dawn(&["task", "cat", &one, "file", "--offset", "2", "--length", "3"]).succeeded();
    assert_eq!(part.stdout, "234");
    let terminal = "if [ -t 0 ]; then echo terminal; else echo none; fi";
    let exec = cluster.dawn(&["task", "exec", "--no-terminal", &one, "--", "sh", "-c", terminal]).succeeded();
    assert_eq!(exec.stdout, "none\n");

    let stats = cluster.dawn(&["--timeout", "2s", "task", "stats", &one, "--watch", "100ms"]);
    let times = stats.stdout.lines().filter(|line| line.starts_with("cpu time")).count();
    assert!(stats.code == TIMED_OUT && times >= 2, "it is shown again and again: {stats:?}");
    assert!(stats.stderr.contains("stopped after 2s, as --timeout says"), "{stats:?}");
    let forward = cluster.dawn(&["--timeout", "1s", "task", "port-forward", &one, "http"]);
    assert!(forward.code == TIMED_OUT && forward.stdout.contains("leads to port http"), "{forward:?}");

    let top = cluster.dawn(&["--json", "top", "--once", "--node", "node0", "--sort", "memory", "--limit", "1"]);
    let top = top.succeeded().json();
    assert_eq!((&top["nodes"], top["usage"].as_array().map(Vec::len)), (&1.into(), Some(1)), "{top}");
    let again = cluster.dawn(&["--timeout", "3s", "--no-color", "top", "--interval", "500ms", NAME]);
    let times = again.stdout.lines().filter(|line| line.starts_with("JOB ")).count();
    assert!(again.code == TIMED_OUT && times >= 2 && !again.stdout.contains('\u{1b}'), "{again:?}");
    cluster.end();
}

#[test]
fn nodes_are_drained_and_planned_for_with_a_reason_and_a_deadline() {
    let Some(cluster) = boxes() else { return };
    let why = |node: &str| cluster.dawn(&["node", "status", node]).succeeded().stdout;
    let plan = ["node", "maintenance", "node0", "--in", "1h", "--deadline", "10m", "-m", "new memory"];
    cluster.dawn(&plan).succeeded();
    assert!(why("node0").contains("new memory"), "{}", why("node0"));
    cluster.dawn(&["node", "uncordon", "node0", "-m", "it came early"]).succeeded();
    assert!(!why("node0").contains("new memory"), "{}", why("node0"));
    let drain = ["--timeout", "60s", "node", "drain", "node0", "--deadline", "1s", "-m", "it burns"];
    cluster.dawn(&drain).succeeded();
    assert!(why("node0").contains("it burns"), "{}", why("node0"));
    cluster.dawn(&["node", "uncordon", "node0"]).succeeded();
    cluster.end();
}

#[test]
fn a_part_of_the_journal_is_read_and_a_backup_takes_the_place_of_another_when_told() {
    let Some(cluster) = boxes() else { return };
    let indices = |args: &[&str]| -> Vec<u64> {
        let text = cluster.dawn(args).succeeded().stdout;
        let entries =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object a line"));
        entries.map(|entry| entry["index"].as_u64().unwrap_or_else(|| panic!("no index: {entry}"))).collect()
    };
    let all = indices(&["--json", "admin", "journal"]);
    let (from, to) = (all[all.len() / 3], all[all.len() / 2]);
    let (first, last) = (from.to_string(), to.to_string());
    let part = indices(&["--json", "admin", "journal", "--from", &first, "--to", &last]);
    let expected: Vec<u64> = all.iter().copied().filter(|index| (from..=to).contains(index)).collect();
    assert_eq!(part, expected);

    let path = cluster.folder().join("backup").to_string_lossy().into_owned();
    cluster.dawn(&["admin", "backup", &path]).succeeded();
    let refused = cluster.dawn(&["admin", "backup", &path]);
    assert!(refused.code == BAD_INPUT && refused.stderr.contains("--replace"), "{refused:?}");
    cluster.dawn(&["job", "kill", NAME, "--yes"]).succeeded();
    let before = std::fs::read(&path).expect("it is there");
    cluster.dawn(&["admin", "backup", "--replace", &path]).succeeded();
    assert_ne!(before, std::fs::read(&path).expect("it is there"));
    cluster.end();
}

#[test]
fn a_template_is_dispatched_with_a_word_for_its_history_and_not_waited_for() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let path = cluster.folder().join("template.yaml").to_string_lossy().into_owned();
    let text = "job: nobody/test/greet\nkind: batch\nparameters: { required: [WHO] }\n\
                resources: { cpu: 0.1, memory: 16MiB, disk: 16MiB }\nrun: echo hello $WHO; exec sleep 100000\n";
    std::fs::write(&path, text).expect("it can be written");
    cluster.dawn(&["job", "run", &path]).succeeded();
    let made =
        cluster.dawn(&["--json", "job", "dispatch", "nobody/test/greet", "WHO=dawn", "--detach", "-m", "by hand"]);
    let made = made.succeeded().json();
    let job = made["job"].as_str().expect("a key");
    cluster.eventually("it greets", Patience::STEP, || {
        let logs = cluster.dawn(&["job", "logs", "--stdout", job]).stdout;
        if logs == "hello dawn\n" { Ok(()) } else { Err(logs) }
    });
    let history = cluster.dawn(&["job", "history", job]).succeeded().stdout;
    assert!(history.contains("by hand"), "{history}");
    cluster.end();
}

#[test]
fn daemons_take_every_flag_that_bounds_what_they_keep_and_say() {
    let flags = |flags: &[&str]| flags.iter().map(ToString::to_string).collect::<Vec<String>>();
    let ca = tempfile::NamedTempFile::new().expect("a temporary file");
    let made = std::process::Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x -keyout /dev/null"
                .split(' '),
        )
        .args(["-out", &ca.path().to_string_lossy()])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        return dawn_tests::cluster::skip("needs openssl to make a certificate with");
    }
    let extra = [
        &flags(&[
            "--agent-id",
            "a0123456789abcdef",
            "--custom",
            "licenses=2",
            "--gpus",
            "1",
            "--image-keep-size",
            "1GiB",
        ])[..],
        &flags(&[
            "--artifact-cache",
            "1GiB",
            "--artifact-ca",
            &ca.path().to_string_lossy(),
            "--log",
            "debug",
            "--log-json",
        ]),
    ];
    let agents = vec![AgentPlan { extra: extra.concat(), ..AgentPlan::default() }];
    let scheduler_extra = flags(&["--log", "debug", "--log-json", "--coordinator-allow", "127.0.0.1"]);
    let Some(cluster) = Cluster::start(Plan { agents, scheduler_extra }) else { return };
    let node = cluster.dawn(&["--json", "node", "status", "node0"]).succeeded().json();
    assert_eq!(node["node"]["id"], "a0123456789abcdef", "{node}");
    assert_eq!(
        (&node["node"]["total"]["custom_milli"]["licenses"], &node["node"]["total"]["gpu_milli"]),
        (&2_000.into(), &1_000.into()),
        "{node}"
    );
    for daemon in [&cluster.scheduler, &cluster.agents[0]] {
        let log = daemon.log();
        let line = log.lines().next().unwrap_or_else(|| panic!("{} logs nothing", daemon.name));
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    let wrong = dawn(&["agent", "--work-dir", "/nonexistent/dawn", "--log", "x=y=z"]);
    assert!(wrong.code == BAD_INPUT && wrong.stderr.contains("--log"), "{wrong:?}");
    let wrong = dawn(&["agent", "--work-dir", "/proc/dawn", "--artifact-ca", "/nonexistent"]);
    assert!(wrong.code == FAILED || wrong.code == BAD_INPUT, "{wrong:?}");
    cluster.end();
}
