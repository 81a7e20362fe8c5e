//! The leaf files on plain directories for each layout, and the real thing on this machine's kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use dawn_proto::TaskId;

use super::{CgroupError, Mounts, Tree, v1, v2};
use crate::model::Limits;

const LIMITS: Limits = Limits { cpu_milli: 1_500, memory_bytes: 64 << 20, max_pids: 10 };

fn read(path: &Path, file: &str) -> String {
    fs::read_to_string(path.join(file)).unwrap().trim().to_string()
}

#[test]
fn v1_limits_on_plain_directories() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let roots = BTreeMap::from([("cpu", root), ("memory", root), ("pids", root)]);
    let parents = v1::Parents::new(roots, Path::new("dawn"));
    assert_eq!(parents.paths().count(), 1, "a shared hierarchy is one directory");
    let group = root.join("dawn/t1");
    fs::create_dir_all(&group).unwrap();
    parents.limit("t1", &LIMITS).unwrap();
    assert_eq!(read(&group, "cpu.shares"), "1536");
    assert_eq!(read(&group, "cpu.cfs_quota_us"), "150000");
    assert_eq!(read(&group, "cpu.cfs_period_us"), "100000");
    assert_eq!(read(&group, "memory.limit_in_bytes"), (64 << 20).to_string());
    assert!(!group.join("memory.memsw.limit_in_bytes").exists(), "only where the kernel counts swap");
    assert_eq!(read(&group, "pids.max"), "10");
}

#[test]
fn v2_limits_on_plain_directories() {
    let dir = tempfile::tempdir().unwrap();
    let group = dir.path().join("t1");
    fs::create_dir(&group).unwrap();
    fs::write(group.join("cpu.max"), "max 100000\n").unwrap();
    fs::write(group.join("memory.swap.max"), "max\n").unwrap();
    v2::limit(&group, &LIMITS).unwrap();
    assert_eq!(read(&group, "cpu.weight"), "150");
    assert_eq!(read(&group, "cpu.max"), "150000 100000");
    assert_eq!(read(&group, "memory.max"), (64 << 20).to_string());
    assert_eq!(read(&group, "memory.oom.group"), "1");
    assert_eq!(read(&group, "memory.swap.max"), "0");
    assert_eq!(read(&group, "pids.max"), "10");
}

#[test]
fn zero_limits_write_nothing_and_tiny_ones_what_the_kernel_takes() {
    let dir = tempfile::tempdir().unwrap();
    v2::limit(dir.path(), &Limits::default()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(v1::quota_us(1), 1_000);
    assert!(v1::quota_us(u64::MAX) > 0);
}

#[test]
fn a_v2_parent_hands_its_controllers_down_level_by_level() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["", "dawn", "dawn/a"] {
        fs::create_dir_all(dir.path().join(path)).unwrap();
        fs::write(dir.path().join(path).join("cgroup.subtree_control"), "cpu memory\n").unwrap();
    }
    v2::create_parent(dir.path(), Path::new("dawn/a")).unwrap();
    for path in ["", "dawn", "dawn/a"] {
        // A plain file keeps the last write: what was enabled already was not written again.
        assert_eq!(read(&dir.path().join(path), "cgroup.subtree_control"), "+pids", "{path:?}");
    }
}

#[test]
fn a_parent_that_leads_elsewhere_is_refused() {
    for parent in ["", "/dawn", "../dawn", "dawn/..", "./dawn"] {
        let error = Tree::create(&Mounts::default(), parent).unwrap_err();
        assert!(matches!(error, CgroupError::BadParent(_)), "{parent:?}: {error}");
    }
    let error = Tree::create(&Mounts::default(), "dawn").unwrap_err();
    assert!(matches!(error, CgroupError::Unusable(_)), "{error}");
}

/// A tree of its own on the real kernel; None, loudly, where cgroups can't be made.
fn real_tree(name: &str) -> Option<Tree> {
    let parent = format!("dawn-test-{}-{name}/agent-1", std::process::id());
    match Tree::create(&Mounts::detect().unwrap(), &parent) {
        Ok(tree) => Some(tree),
        Err(error) => {
            crate::skip::skip(&format!("no cgroups here: {error}"));
            None
        }
    }
}

#[test]
fn real_groups_carry_their_limits_kill_what_is_in_them_and_go() {
    let Some(tree) = real_tree("real") else { return };
    let task = TaskId(1);
    tree.make(task, &LIMITS).unwrap();
    tree.make(task, &LIMITS).unwrap();
    let plan = tree.plan(task);
    let memory = plan.memory.clone().unwrap();
    let file = if plan.memory_version == 1 { "memory.limit_in_bytes" } else { "memory.max" };
    assert_eq!(read(&memory, file), (64 << 20).to_string());
    let join: Vec<String> =
        plan.join.iter().map(|group| format!("echo $$ > {}/cgroup.procs", group.display())).collect();
    // A child that ignores SIGTERM in a group of its own inside the task's: killed and removed all the same.
    let script = format!("{}; trap '' TERM; sleep 1000 & exec sleep 1000", join.join("; "));
    let mut child = Command::new("/bin/sh").args(["-c", &script]).process_group(0).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while read(plan.join.last().unwrap(), "cgroup.procs").lines().count() < 2 {
        assert!(std::time::Instant::now() < deadline, "the processes did not join");
        std::thread::yield_now();
    }
    fs::create_dir(plan.join[0].join("inner")).unwrap();
    tree.remove(task).unwrap();
    assert!(!child.wait().unwrap().success());
    for group in &plan.join {
        assert!(!group.exists(), "{} is left", group.display());
    }
    tree.remove(task).unwrap();
    tree.kill(task).unwrap();
    tree.remove_parents();
    assert!(!plan.join[0].parent().unwrap().parent().unwrap().exists());
}

#[test]
fn groups_left_behind_go_at_the_next_start_unless_they_are_known() {
    let Some(tree) = real_tree("left") else { return };
    let (known, stranger) = (TaskId(1), TaskId(2));
    tree.make(known, &LIMITS).unwrap();
    tree.make(stranger, &LIMITS).unwrap();
    tree.remove_strangers(&BTreeSet::from([known]));
    assert!(tree.plan(known).join.iter().all(|group| group.exists()));
    assert!(tree.plan(stranger).join.iter().all(|group| !group.exists()));
    tree.remove_parents();
    assert!(tree.plan(known).join.iter().all(|group| group.exists()), "a busy parent stays");
    tree.remove(known).unwrap();
    tree.remove_parents();
}
