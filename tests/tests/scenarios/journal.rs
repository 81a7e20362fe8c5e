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
fn a_torn_last_record_that_was_never_durable_is_cut_off() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let job = cluster.submit(service("web").instances(2));
    let before = cluster.running(&job, 2);
    let pids = cluster.processes_of(&job, 2);
    cluster.scheduler.kill_9();

    // The first bytes of another record, as after a crash while it was written.
    let newest = segments(&cluster).pop().expect("a segment");
    let mut bytes = std::fs::read(&newest).expect("it can be read");
    bytes.extend_from_within(24..24 + 17);
    std::fs::write(&newest, &bytes).expect("it can be written");
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
    let log = cluster.scheduler.log();
    let told = log.lines().filter(|line| line.contains("cut a torn last write off"));
    assert_eq!(told.filter(|line| line.contains("offset") && line.contains("last_index_kept")).count(), 2, "{log}");
    cluster.end();
}

/// The last index of the journal of a scheduler that does not run.
fn last_index(data: &str) -> u64 {
    let read = dawn(&["--json", "admin", "journal", "--data-dir", data]).succeeded().stdout;
    let last: serde_json::Value = serde_json::from_str(read.lines().last().expect("a line")).expect("JSON");
    last["index"].as_u64().expect("a number")
}

#[test]
fn a_lost_durable_end_is_refused_and_an_operator_cuts_there_and_tasks_live_on() {
    let Some(cluster) = Cluster::start(Plan::of(2).agent_lease("2s")) else { return };
    let data = cluster.data_dir().to_string_lossy().into_owned();
    let old = cluster.submit(service("old").instances(2));
    cluster.running(&old, 2);
    let old_pids = cluster.processes_of(&old, 2);
    cluster.scheduler.terminate();
    let kept = last_index(&data);
    let end_kept = std::fs::metadata(segments(&cluster).pop().expect("a segment")).expect("it is there").len();
    cluster.scheduler.start();
    cluster.scheduler_answers();
    let new = cluster.submit(service("new").instances(3));
    let before = cluster.running(&new, 3);
    let new_pids = cluster.processes_of(&new, 3);
    cluster.scheduler.terminate();

    // As a bad copy or file system leaves it: it ends where a record ends, and much that was acknowledged is gone.
    let newest = segments(&cluster).pop().expect("a segment");
    let file = std::fs::File::options().write(true).open(&newest).expect("it is ours");
    file.set_len(end_kept).expect("it is cut");
    let damaged = contents(&cluster);
    cluster.scheduler.start();
    assert!(cluster.scheduler.exit_code(Patience::START).is_some_and(|code| code != 0));
    let words = cluster.scheduler.last_words();
    let hint = format!("dawn admin journal cut --at {kept} --data-dir ");
    assert!(words.contains(&*newest.to_string_lossy()) && words.contains(&format!("byte {end_kept}")), "{words}");
    assert!(words.contains(&hint), "{words}");
    assert!(contents(&cluster) == damaged, "nothing was overwritten, made or removed");

    let above = dawn(&["admin", "journal", "cut", "--data-dir", &data, "--at", &(kept + 1).to_string()]);
    assert!(above.code == Some(1) && above.stderr.contains(&format!("give --at {kept} or less")), "{above:?}");
    let cut = dawn(&["--json", "admin", "journal", "cut", "--data-dir", &data, "--at", &kept.to_string()]);
    let cut = cut.succeeded().json();
    assert!(cut["given_up_to"].as_u64().is_some_and(|index| index > kept), "{cut}");
    cluster.scheduler.start();
    cluster.scheduler_answers();
    cluster.agents_are_up(2);
    let after = cluster.running(&new, 3);
    assert!(before.iter().zip(&after).all(|(before, after)| before.id == after.id), "{before:#?} {after:#?}");
    // Placing goes on after that: everything that was to be made beside them would be there.
    let third = cluster.submit(service("third"));
    cluster.tasks_in(&third, TaskState::Running, 1, Patience::LONG);
    assert_eq!(cluster.processes_of(&new, 3), new_pids, "nothing was started or stopped");
    assert_eq!(cluster.processes_of(&old, 2), old_pids, "nothing was started or stopped");
    assert!(cluster.agents.iter().all(|agent| agent.is_alive()), "no agent was ended");
    let verified = cluster.dawn(&["--json", "admin", "verify"]).succeeded().json();
    assert_eq!(verified["violations"].as_u64(), Some(0), "{verified:#}");
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
