//! One user's mistake, or one bad machine: whose fault it is is found by trying elsewhere, and nobody else notices.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use dawn_proto::v1::{Reason, RootFs, TaskState, root_fs::Source};
use dawn_tests::cluster::{Cluster, Patience, Plan, Spec, batch, service};

fn in_role(spec: Spec, role: &str) -> Spec {
    let user = spec.0.key.as_ref().map(|key| key.role.clone()).unwrap_or_default();
    spec.with(|job| {
        job.key.get_or_insert_default().role = role.into();
        job.task.get_or_insert_default().user = user;
    })
}

fn nobody_is_avoided(cluster: &Cluster) {
    let nodes = cluster.api.nodes().expect("nodes");
    assert!(nodes.iter().all(|node| node.avoided_until_ms == 0), "{nodes:?}");
}

#[test]
fn a_typo_fails_the_job_that_has_it_and_nobody_else_notices() {
    let Some(cluster) = Cluster::start(Plan::of(4)) else { return };
    let healthy = cluster.submit(service("healthy"));
    cluster.running(&healthy, 1);

    let source = Some(Source::Tarball("/images/tpyo.tgz".into()));
    let typo = in_role(batch("typo"), "me").with(|job| {
        job.task.get_or_insert_default().root_fs = Some(RootFs { source, tag: String::new() });
    });
    let typo = cluster.submit(typo);
    let failed = cluster.tasks_in(&typo, TaskState::Failed, 1, Patience::STEP).remove(0);
    let last = failed.history.last().expect("a history");
    assert_eq!(last.reason(), Reason::RootFsFailed, "{failed:?}");
    assert!(last.message.contains("/images/tpyo.tgz"), "the cause is named: {last:?}");
    let tasks = cluster.api.tasks(&typo).expect("tasks");
    let nodes: BTreeSet<&str> = tasks.iter().map(|task| task.agent_id.as_str()).collect();
    assert_eq!((tasks.len(), nodes.len()), (2, 2), "it was tried on a second node, and no more: {tasks:?}");
    nobody_is_avoided(&cluster);

    let victim = cluster.submit(in_role(batch("victim"), "you").argv(&["true"]));
    cluster.tasks_in(&victim, TaskState::Finished, 1, Patience::STEP);
    cluster.dawn(&["--timeout", "60s", "job", "restart", "nobody/test/healthy"]).succeeded();
    cluster.running(&healthy, 1);
    nobody_is_avoided(&cluster);
    cluster.end();
}

/// A file system of its own that is gone with it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(folder: &Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(folder).expect("it can be made");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs"]).arg(folder);
        mount.status().is_ok_and(|status| status.success()).then(|| SmallDisk(folder.to_path_buf()))
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("it can be made");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_node_whose_disk_is_full_is_avoided_until_it_is_forgiven() {
    let Some(cluster) = Cluster::start_scheduler(Plan::of(2)) else { return };
    let Some(disk) = SmallDisk::on(&cluster.folder().join("node0")) else {
        eprintln!("skipped: no file system can be mounted here");
        return cluster.end();
    };
    cluster.agents.iter().for_each(|agent| agent.start());
    cluster.agents_are_up(2);
    disk.fill();
    let job = cluster.submit(batch("work").instances(2).argv(&["true"]).with(|job| job.constraints = one_each()));
    let tasks = cluster.tasks_in(&job, TaskState::Lost, 1, Patience::STEP);
    assert_eq!(tasks[0].history.last().map(|last| last.reason()), Some(Reason::NodeDiskFull), "{tasks:?}");
    let avoided = |cluster: &Cluster| -> Vec<(String, String)> {
        let nodes = cluster.api.nodes().expect("nodes");
        let avoided = nodes.into_iter().filter(|node| node.avoided_until_ms != 0);
        avoided.map(|node| (node.hostname, node.avoided_why)).collect()
    };
    let why = "a task of nobody/test/work could not be started there (node disk full)";
    assert_eq!(avoided(&cluster), [("node0".to_string(), why.to_string())]);
    cluster.tasks_in(&job, TaskState::Finished, 2, Patience::STEP);
    disk.make_room();
    cluster.dawn(&["node", "forgive", "node0", "--message", "made room"]).succeeded();
    assert_eq!(avoided(&cluster), []);
    let again = cluster.submit(batch("again").instances(2).argv(&["true"]).with(|job| job.constraints = one_each()));
    let tasks = cluster.tasks_in(&again, TaskState::Finished, 2, Patience::STEP);
    assert!(tasks.iter().any(|task| task.hostname == "node0"), "{tasks:?}");
    cluster.processes_of(&again, 0);
    cluster.agents[0].terminate();
    drop(disk);
    cluster.end();
}

/// One task of the job on a host.
fn one_each() -> Vec<dawn_proto::v1::Constraint> {
    let rule = Some(dawn_proto::v1::constraint::Rule::Limit(1));
    vec![dawn_proto::v1::Constraint { attribute: "host".into(), rule }]
}
