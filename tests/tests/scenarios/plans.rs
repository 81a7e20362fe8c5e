//! Plans of updates that can't go on: the plan says so with its exit code, and then the cluster does as planned.

use dawn_tests::cluster::{Cluster, Plan};

const FAILED: Option<i32> = Some(1);
const FINDINGS: Option<i32> = Some(7);
const NAME: &str = "nobody/test/web";

/// Three instances, in a version, with these fields beside.
fn file(cluster: &Cluster, version: &str, cpu: &str, fields: &str) -> String {
    let text = format!(
        "job: {NAME}\nkind: service\nuser: nobody\ninstances: 3\nresources: {{ cpu: {cpu}, memory: 32MiB, disk: 16MiB }}\n\
         grace_period: 1s\nenv: {{ VERSION: {version} }}\nrun: exec sleep 100000\n{fields}\n"
    );
    let path = cluster.folder().join(format!("{version}.yaml"));
    std::fs::write(&path, text).expect("it can be written");
    path.to_string_lossy().into_owned()
}

#[test]
fn the_plan_of_an_update_that_fits_nowhere_ends_with_7_and_the_update_takes_nothing_down() {
    let Some(cluster) = Cluster::start(Plan::of(3)) else { return };
    let dawn = |args: &[&str]| cluster.dawn(args);
    let update = "update: { watch: 1s, progress_deadline: 4s }";
    let small = file(&cluster, "small", "0.05", update);
    dawn(&["--timeout", "60s", "job", "run", &small]).succeeded();
    let large = file(&cluster, "large", "50", update);
    let plan = dawn(&["job", "plan", &large]);
    assert_eq!(plan.code, FINDINGS, "{plan:?}");
    for part in ["resources.cpu: 0.05 -> 50", "updates 3 instances", "cpu", "nothing was done"] {
        assert!(plan.stdout.contains(part), "{part:?}: {plan:?}");
    }
    let run = dawn(&["--timeout", "60s", "job", "run", &large]);
    assert_eq!(run.code, FAILED, "{run:?}");
    assert!(format!("{}{}", run.stdout, run.stderr).contains("cpu"), "the reason is in it: {run:?}");
    let web = NAME.parse().expect("a key");
    assert!(cluster.running(&web, 3).iter().all(|task| task.attempt == 1), "none was taken down for it");
    let plan = dawn(&["job", "plan", &small]).succeeded();
    assert!(!plan.stdout.contains("pending"), "{plan:?}");
    cluster.end();
}

#[test]
fn a_surge_without_room_beside_the_old_is_planned_and_explained() {
    let Some(cluster) = Cluster::start(Plan::of(3)) else { return };
    let dawn = |args: &[&str]| cluster.dawn(args);
    // One on each of three nodes, so that a fourth fits nowhere while the third lives.
    let fields = "constraints: [{ distinct_hosts: true }]\nupdate: { surge: 1, watch: 1s, progress_deadline: 4s }";
    let one = file(&cluster, "one", "0.05", fields);
    dawn(&["--timeout", "60s", "job", "run", &one]).succeeded();
    let two = file(&cluster, "two", "0.05", fields);
    let plan = dawn(&["job", "plan", &two]);
    let run = dawn(&["--timeout", "90s", "job", "run", &two]);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert_eq!((plan.code, run.code), (FINDINGS, FAILED), "what was planned is what happened: {plan:?} {said}");
    let reason = "3 nodes have 1 task of the job per host already";
    assert!(plan.stdout.contains(reason) && said.contains(reason), "{plan:?} {said}");
    cluster.end();
}

#[test]
fn a_quota_that_leaves_no_room_for_a_surge_is_in_the_plan() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let dawn = |args: &[&str]| cluster.dawn(args);
    let fields = "update: { surge: 1, watch: 1s, progress_deadline: 4s }";
    let one = file(&cluster, "one", "0.1", fields);
    dawn(&["--timeout", "60s", "job", "run", &one]).succeeded();
    dawn(&["quota", "set", "nobody", "--limit", "cpu=0.3"]).succeeded();
    let two = file(&cluster, "two", "0.1", fields);
    let plan = dawn(&["job", "plan", &two]);
    let run = dawn(&["--timeout", "90s", "job", "run", &two]);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert_eq!((plan.code, run.code), (FINDINGS, FAILED), "what was planned is what happened: {plan:?} {said}");
    let reason = "role nobody holds 0.3 of its limit of 0.3 cpus";
    assert!(plan.stdout.contains(reason) && said.contains(reason), "{plan:?} {said}");
    dawn(&["quota", "set", "nobody", "--limit", "none"]).succeeded();
    cluster.end();
}
