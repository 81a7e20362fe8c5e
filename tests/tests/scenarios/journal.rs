//! The journal on disk, damaged and shared: what is recovered, what is refused, and that nothing is overwritten.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dawn_proto::v1::TaskState;
use dawn_tests::cluster::{Cluster, Patience, Plan, dawn, files_below, service};

/// Every file of the journal and its snapshots, with its bytes.
fn contents(cluster: &Cluster) -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = ["journal", "snapshot"].map(|name| cluster.data_dir().join(name));
    let files = folders.iter().flat_map(|folder| files_below(folder));
    files.map(|path| (path.clone(), std::fs::read(&path).expect("it can be read"))).collect()
}

/// The journal's segments, oldest first.
fn segments(cluster: &Cluster) -> Vec<PathBuf> {
    let files = contents(cluster).into_keys();
    files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect()
}

#[test]
fn a_torn_last_record_is_recovered() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").instances(2));
    let before = cluster.running(&job, 2);
    let pids = cluster.processes_of(&job, 2);
    cluster.scheduler.kill_9();

    let newest = segments(&cluster).pop().expect("a segment");
    let bytes = std::fs::read(&newest).expect("it can be read");
    std::fs::write(&newest, &bytes[..bytes.len() - 3]).expect("it can be written");
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.agents_are_up(1);
    let after = cluster.running(&job, 2);
    assert_eq!(
        after.iter().map(|task| task.id).collect::<Vec<_>>(),
        before.iter().map(|task| task.id).collect::<Vec<_>>()
    );
    assert_eq!(cluster.processes_of(&job, 2), pids, "nothing was started or stopped");

    cluster.scheduler.kill_9();
    let mut bytes = std::fs::read(&newest).expect("it can be read");
    bytes.extend_from_slice(&[0x5a; 11]);
    std::fs::write(&newest, &bytes).expect("it can be written");
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.running(&job, 2);
    assert_eq!(cluster.processes_of(&job, 2), pids);
    cluster.end();
}

#[test]
fn a_damaged_record_before_the_last_is_refused_and_nothing_is_overwritten() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").instances(3));
    cluster.running(&job, 3);
    cluster.scheduler.kill_9();

    let oldest = segments(&cluster).remove(0);
    let mut bytes = std::fs::read(&oldest).expect("it can be read");
    let whole = bytes.clone();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x10;
    std::fs::write(&oldest, &bytes).expect("it can be written");
    let damaged = contents(&cluster);

    cluster.scheduler.start();
    let code = cluster.scheduler.exit_code(Patience::START);
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    let log = cluster.scheduler.log();
    let line = log.lines().rev().find(|line| line.contains(&*oldest.to_string_lossy()));
    let line = line.unwrap_or_else(|| panic!("the path is not told:\n{}", cluster.scheduler.last_words()));
    assert!(line.contains("offset") || line.contains("byte"), "the place is told: {line}");
    assert!(contents(&cluster) == damaged, "nothing was overwritten, made or removed");
    cluster.processes_of(&job, 3);

    std::fs::write(&oldest, whole).expect("it can be written");
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.running(&job, 3);
    cluster.end();
}

#[test]
fn a_second_scheduler_on_the_same_directory_is_refused() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let data = cluster.data_dir().to_string_lossy().into_owned();
    let second = dawn(&["scheduler", "--listen", "127.0.0.1:0", "--data-dir", &data]);
    assert!(second.code.is_some_and(|code| code != 0), "{second:?}");
    assert!(second.stderr.contains(&data), "it says which directory: {second:?}");
    let job = cluster.submit(service("web"));
    cluster.running(&job, 1);
    cluster.kill(&job);
    cluster.tasks_in(&job, TaskState::Killed, 1, Patience::STEP);
    cluster.end();
}
