//! The harness itself: it sees what is in a group, what it is limited to, and leaves nothing behind.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::*;
use crate::cluster::skip;

/// A v1 memory group with a frozen sleeper in it, under a cluster's name.
fn planted(name: &str) -> Option<(PathBuf, Child)> {
    let mount = Path::new("/sys/fs/cgroup/memory");
    if !mount.is_dir() || !nix::unistd::geteuid().is_root() {
        skip("needs root and a v1 memory controller");
        return None;
    }
    let group = mount.join(format!("{name}-node0")).join("t7");
    std::fs::create_dir_all(&group).expect("root may make groups");
    std::fs::write(group.join("memory.limit_in_bytes"), "67108864").expect("the limit");
    let procs = group.join("cgroup.procs");
    let mut command = Command::new("sleep");
    command.arg("100000").env("CLUSTER_MARK", format!("{name}:a/b/c"));
    // SAFETY: the child only opens, writes and closes one file.
    unsafe {
        command.pre_exec(move || std::fs::write(&procs, "0"));
    }
    Some((group, command.spawn().expect("sleep is there")))
}

#[test]
fn a_panic_in_an_executors_log_is_found_and_one_in_a_tasks_own_files_is_not() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let panic = "thread 'main' panicked at executor/src/run/pump.rs:1:1:";
    for (dir, text) in [("t1", "note: all is well\n"), ("t2", panic), ("t2/sandbox", panic)] {
        let dir = folder.path().join("node0/tasks").join(dir);
        std::fs::create_dir_all(&dir).expect("it can be made");
        std::fs::write(dir.join("executor.log"), text).expect("it can be written");
    }
    let panics = panics_of_executors(folder.path());
    assert!(matches!(&panics[..], [one] if one.contains(panic) && one.contains("/t2/executor.log")), "{panics:?}");
}

#[test]
fn what_is_planted_is_seen_limited_and_swept() {
    let name = format!("dawn-test-{}-swept", std::process::id());
    let Some((group, mut sleeper)) = planted(&name) else { return };
    let folder = PathBuf::from("/nowhere/at/all");
    let found = kernel::marked(&format!("CLUSTER_MARK={name}:a/b/c"));
    assert_eq!(found.iter().map(|process| process.pid as u32).collect::<Vec<_>>(), [sleeper.id()]);
    assert_eq!(kernel::limits_of(found[0].pid).memory_bytes, Some(64 << 20));
    assert_eq!(kernel::variable(found[0].pid, "CLUSTER_MARK"), Some(format!("{name}:a/b/c")));
    assert_eq!(leftovers(&name, &folder).len(), 3, "a process and two groups");
    assert!(nothing_but(&name, &folder, &[]).is_err());
    let left = nothing_but(&name, &folder, &[found[0].pid]).expect_err("a task's group");
    assert!(left.contains("/t7"), "{left}");

    let waiter = std::thread::spawn(move || sleeper.wait());
    assert_eq!(sweep(&name, &folder), [] as [String; 0]);
    assert!(!group.exists());
    assert_eq!(nothing_but(&name, &folder, &[]), Ok(()));
    assert_eq!(leftovers(&name, &folder), [] as [String; 0]);
    assert!(!waiter.join().expect("no panic").expect("it was ours").success());
}

#[test]
fn a_cluster_does_not_sweep_its_neighbour() {
    let (one, ten) = (format!("dawn-test-{}-n1", std::process::id()), format!("dawn-test-{}-n10", std::process::id()));
    let Some((group, mut sleeper)) = planted(&ten) else { return };
    assert_eq!(sweep(&one, Path::new("/nowhere/at/all")), [] as [String; 0]);
    assert!(group.exists() && matches!(sleeper.try_wait(), Ok(None)), "it runs on");
    let waiter = std::thread::spawn(move || sleeper.wait());
    assert_eq!(sweep(&ten, Path::new("/nowhere/at/all")), [] as [String; 0]);
    assert!(!waiter.join().expect("no panic").expect("it was ours").success());
}
