//! The command line against a real cluster: what people type and what they get.

use std::time::{Duration, Instant};

use dawn_tests::cluster::{Cluster, Plan, PortBlock, dawn, service};

#[test]
fn a_dead_scheduler_is_one_clear_line_within_seconds() {
    let ports = PortBlock::reserve();
    let address = format!("127.0.0.1:{}", ports.first());
    let begun = Instant::now();
    let output = dawn(&["--scheduler", &address, "job", "list"]);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(output.code.is_some_and(|code| code != 0), "{output:?}");
    assert_eq!(output.stdout, "");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!((1..=3).contains(&lines.len()) && lines[0].contains(&address), "{output:?}");
}

const WEB: &str = "\
job: nobody/test/web
kind: service
instances: 2
";

#[test]
fn run_list_status_logs_and_kill_tell_one_story() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let key = cluster.submit(service("talker").shell("echo hello from dawn; exec sleep 100000"));
    cluster.running(&key, 1);
    let list = cluster.dawn(&["job", "list"]).succeeded();
    assert!(list.stdout.contains("nobody/test/talker"), "{list:?}");
    let status = cluster.dawn(&["--json", "job", "status", "nobody/test/talker"]).succeeded();
    assert!(status.json().is_object(), "{status:?}");
    cluster.eventually("the log is there", dawn_tests::cluster::Patience::STEP, || {
        let logs = cluster.dawn(&["job", "logs", "nobody/test/talker"]);
        if logs.stdout.contains("hello from dawn") { Ok(()) } else { Err(format!("{logs:?}")) }
    });
    cluster.dawn(&["job", "kill", "nobody/test/talker"]).succeeded();
    cluster.processes_of(&key, 0);
    let gone = cluster.dawn(&["job", "status", "nobody/test/never"]);
    assert!(gone.code.is_some_and(|code| code != 0) && gone.stderr.contains("nobody/test/never"), "{gone:?}");
    let _ = WEB;
    cluster.end();
}
