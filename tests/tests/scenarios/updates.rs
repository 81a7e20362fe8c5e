//! Updates, rollbacks and drains on real processes, typed as people type them.

use std::path::PathBuf;

use dawn_proto::JobKey;
use dawn_tests::cluster::{Cluster, Patience, Plan, variable};

const REFUSED: Option<i32> = Some(4);
const FAILED: Option<i32> = Some(1);
const NAME: &str = "nobody/test/web";

/// Three instances whose processes say which version they are of; that of "bad" end at once.
fn file(cluster: &Cluster, version: &str) -> String {
    let run = if version == "bad" { "exit 7" } else { "exec sleep 100000" };
    let mark = cluster.mark(&NAME.parse().expect("a key"));
    let (name, value) = mark.split_once('=').expect("an entry");
    let mark = format!("{name}: {value:?}");
    let text = format!(
        "job: {NAME}\nkind: service\nuser: nobody\ninstances: 3\nresources: {{ cpu: 0.1, memory: 32MiB, disk: 16MiB }}\n\
         grace_period: 1s\nenv: {{ VERSION: {version}, {mark} }}\nrun: {run}\nupdate: {{ watch: 1s, groups: 2 }}\n"
    );
    let path: PathBuf = cluster.folder().join(format!("{version}.yaml"));
    std::fs::write(&path, text).expect("it can be written");
    path.to_string_lossy().into_owned()
}

/// What the running processes say, sorted.
fn versions(cluster: &Cluster, web: &JobKey) -> Vec<String> {
    let processes = cluster.processes_of(web, 3);
    let mut versions: Vec<String> = processes.iter().filter_map(|process| variable(process.pid, "VERSION")).collect();
    versions.sort();
    versions
}

#[test]
fn a_service_is_updated_rolled_back_reverted_and_its_node_drained() {
    let Some(cluster) = Cluster::start(Plan::of(2)) else { return };
    let web: JobKey = NAME.parse().expect("a key");
    let (one, two, bad) = (file(&cluster, "one"), file(&cluster, "two"), file(&cluster, "bad"));
    cluster.dawn(&["--timeout", "60s", "job", "run", &one]).succeeded();
    assert_eq!(versions(&cluster, &web), ["one", "one", "one"]);

    let diff = cluster.dawn(&["job", "diff", NAME, &two]).succeeded();
    assert!(diff.stdout.contains("changed: 3 instances (0-2)") && diff.stdout.contains("VERSION: two"), "{diff:?}");
    cluster.dawn(&["job", "run", "--detach", &two, "-m", "second"]).succeeded();
    // Run again, as a client does that was interrupted: it ends as the update does.
    let again = cluster.dawn(&["--timeout", "120s", "job", "run", &two]).succeeded();
    let follows = again.stdout.contains("update 1 to it is under way") && again.stdout.contains("rolled forward");
    assert!(follows, "{again:?}");
    assert_eq!(versions(&cluster, &web), ["two", "two", "two"]);
    let nothing = cluster.dawn(&["update", "start", NAME, &two]).succeeded();
    assert!(nothing.stdout.contains("nothing to do"), "{nothing:?}");

    let failed = cluster.dawn(&["--timeout", "120s", "update", "start", NAME, &bad]);
    assert_eq!(failed.code, FAILED, "{failed:?}");
    let update = cluster.dawn(&["--json", "update", "status", NAME]).succeeded().json();
    assert_eq!(update["update"]["state"], "rolled_back", "{update}");
    assert_eq!(versions(&cluster, &web), ["two", "two", "two"], "the old version exactly");

    let started = cluster.dawn(&["job", "revert", NAME, "--to", "1", "--detach"]).succeeded();
    assert!(started.stdout.contains("update 3"), "{started:?}");
    let busy = cluster.dawn(&["update", "start", NAME, &two]);
    assert_eq!(busy.code, REFUSED, "{busy:?}");
    assert!(busy.stderr.contains("update 3"), "it is named: {busy:?}");
    cluster.dawn(&["--timeout", "120s", "update", "wait", NAME]).succeeded();
    assert_eq!(versions(&cluster, &web), ["one", "one", "one"]);
    cluster.dawn(&["--timeout", "120s", "job", "restart", NAME, "--batch", "3"]).succeeded();
    assert_eq!(versions(&cluster, &web), ["one", "one", "one"]);

    drained(&cluster, &web);
    cluster.end();
}

fn drained(cluster: &Cluster, web: &JobKey) {
    let nodes = cluster.dawn(&["--json", "node", "list"]).succeeded().json();
    let node = nodes["nodes"][0]["id"].as_str().expect("an id").to_string();
    cluster.dawn(&["--timeout", "120s", "node", "drain", &node, "--deadline", "60s"]).succeeded();
    let tasks = cluster.running(web, 3);
    assert!(tasks.iter().all(|task| task.agent_id != node), "{tasks:?}");
    let list = cluster.dawn(&["node", "list"]).succeeded();
    assert!(list.stdout.contains("up, drained"), "{list:?}");
    let host = nodes["nodes"][0]["hostname"].as_str().expect("a name");
    cluster.dawn(&["node", "uncordon", host]).succeeded();
    cluster.eventually("it is in use", Patience::STEP, || {
        let list = cluster.dawn(&["node", "list"]);
        if list.stdout.contains("drained") { Err(list.stdout) } else { Ok(()) }
    });
    let sla = cluster.dawn(&["job", "sla", NAME]).succeeded();
    assert!(sla.stdout.contains("3/3"), "{sla:?}");
}

/// The first file is wrong, and the second one too: each takes the place of the one before at once, and none comes back.
#[test]
fn a_corrected_file_replaces_a_service_that_never_was_healthy() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let web: JobKey = NAME.parse().expect("a key");
    let (bad, two) = (file(&cluster, "bad"), file(&cluster, "two"));
    assert_eq!(cluster.dawn(&["--timeout", "60s", "job", "run", &bad]).code, FAILED);
    let worse = std::fs::read_to_string(&bad).expect("just written").replace("exit 7", "exit 8");
    let other = cluster.folder().join("worse.yaml");
    std::fs::write(&other, worse).expect("it can be written");
    let failed = cluster.dawn(&["--timeout", "60s", "job", "run", &other.to_string_lossy()]);
    assert_eq!(failed.code, FAILED, "{failed:?}");
    let says =
        "version 1 never was healthy, so there is nothing to go back to; version 2 replaces it everywhere at once";
    assert!(failed.stderr.contains(says) && failed.stdout.contains("exit code 8"), "{failed:?}");
    assert!(!failed.stdout.contains("update"), "it is a first run: {failed:?}");
    let status = cluster.dawn(&["--json", "job", "status", NAME]).succeeded().json();
    assert_eq!(status["summary"]["version"], 2, "it stays: {status}");
    // A restart is under way, which will not end well: the right file ends it.
    cluster.dawn(&["job", "restart", NAME, "--detach"]).succeeded();
    let good = cluster.dawn(&["--timeout", "60s", "job", "run", &two]).succeeded();
    assert!(good.stderr.contains("version 2 never was healthy"), "{good:?}");
    assert_eq!(versions(&cluster, &web), ["two", "two", "two"]);
    // More instances than fit: told at once, and by why in one line.
    let scaled = cluster.dawn(&["job", "scale", NAME, "900"]).succeeded();
    assert!(scaled.stderr.contains("of 900 instances wait: the only node does not fit"), "{scaled:?}");
}
