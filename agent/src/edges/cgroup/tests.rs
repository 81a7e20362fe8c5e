//! The leaf files on plain directories for each layout, and the real thing on this machine's kernel.

mod claim;
mod commands;
mod saturated;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use dawn_proto::TaskId;

use super::{CgroupError, Mounts, Tree, v1, v2};
use crate::model::{FurtherLimits, Gpus, IoLimits, Limits};

const LIMITS: Limits = Limits { cpu_milli: 1_500, memory_bytes: 64 << 20, max_pids: 10, further: NOTHING };
const NOTHING: FurtherLimits = FurtherLimits {
    swap_bytes: 0,
    cpuset: String::new(),
    io: IoLimits { read_bytes_per_s: 0, write_bytes_per_s: 0, read_ops_per_s: 0, write_ops_per_s: 0, weight: 0 },
    devices: Vec::new(),
    gpus: Vec::new(),
};

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
fn zero_limits_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    v2::limit(dir.path(), &Limits::default()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
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
        let error = Tree::create(&Mounts::default(), parent, Path::new("/")).unwrap_err();
        assert!(matches!(error, CgroupError::BadParent(_)), "{parent:?}: {error}");
    }
    let error = Tree::create(&Mounts::default(), "dawn", Path::new("/")).unwrap_err();
    assert!(matches!(error, CgroupError::Unusable(_)), "{error}");
}

/// A tree of its own on the real kernel; None, loudly, where cgroups can't be made.
fn real_tree(name: &str) -> Option<Tree> {
    let parent = format!("dawn-test-{}-{name}/agent-1", std::process::id());
    match Tree::create(&Mounts::detect().unwrap(), &parent, Path::new(env!("CARGO_MANIFEST_DIR"))) {
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
    let plan = tree.plan(task, &LIMITS);
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
    assert!(tree.plan(known, &LIMITS).join.iter().all(|group| group.exists()));
    assert!(tree.plan(stranger, &LIMITS).join.iter().all(|group| !group.exists()));
    tree.remove_parents();
    assert!(tree.plan(known, &LIMITS).join.iter().all(|group| group.exists()), "a busy parent stays");
    tree.remove(known).unwrap();
    tree.remove_parents();
}

/// Runs a shell line in the groups of a plan; whether it succeeded.
fn succeeds_in(plan: &crate::model::GroupPlan, line: &str) -> bool {
    let join: Vec<String> =
        plan.join.iter().map(|group| format!("echo $$ > {}/cgroup.procs", group.display())).collect();
    Command::new("/bin/sh").args(["-c", &format!("{} && {line}", join.join(" && "))]).status().unwrap().success()
}

#[test]
fn devices_are_kept_to_what_was_asked_for_by_either_version() {
    let Some(mut tree) = real_tree("devices") else { return };
    let whole = tree.clone();
    let is_hybrid = tree.v1.is_some() && tree.v2.is_some();
    let some = ["/dev/loop-control", "/dev/kmsg", "/dev/fuse", "/dev/mem", "/dev/port", "/dev/console"];
    let there: Vec<&str> = some.into_iter().filter(|path| fs::File::open(path).is_ok()).collect();
    let [asked, others @ ..] = &there[..] else {
        crate::skip::skip("this kernel has no device files to try");
        return whole.remove_parents();
    };
    let further = FurtherLimits { devices: vec![asked.to_string()], ..NOTHING };
    let limits = Limits { further, ..LIMITS };
    for version_1_alone in [false, true].into_iter().take(1 + usize::from(is_hybrid)) {
        tree.v2 = whole.v2.clone().filter(|_| !version_1_alone);
        if tree.v2.is_none() && !tree.extra.contains_key("devices") {
            crate::skip::skip("this kernel has no devices controller");
            continue;
        }
        tree.make(TaskId(1), &limits).unwrap();
        tree.make(TaskId(1), &limits).unwrap();
        let plan = tree.plan(TaskId(1), &limits);
        let opens = |path: &str| succeeds_in(&plan, &format!("exec 3< {path} 2> /dev/null"));
        for harmless in ["null", "zero", "full", "random", "urandom"] {
            assert!(opens(&format!("/dev/{harmless}")), "{harmless}, version 1 alone: {version_1_alone}");
        }
        for other in others {
            assert!(!opens(other), "{other} was not asked for, version 1 alone: {version_1_alone}");
        }
        assert!(opens(asked), "{asked} was asked for, version 1 alone: {version_1_alone}");
        tree.remove(TaskId(1)).unwrap();
        assert!(plan.join.iter().all(|group| !group.exists()));
    }
    whole.remove_parents();
}

#[test]
fn cpus_are_kept_to_what_was_asked_for() {
    let Some(tree) = real_tree("cpus") else { return };
    let limits = Limits { further: FurtherLimits { cpuset: "0".into(), ..NOTHING }, ..LIMITS };
    match tree.make(TaskId(1), &limits) {
        Err(CgroupError::Asked(asked)) if matches!(*asked, CgroupError::NoController(_)) => {
            crate::skip::skip(&format!("this kernel has no controller for it: {asked}"));
        }
        made => {
            made.unwrap();
            let plan = tree.plan(TaskId(1), &limits);
            assert!(succeeds_in(&plan, "grep -q 'Cpus_allowed_list:.0$' /proc/self/status"));
        }
    }
    tree.remove(TaskId(1)).unwrap();
    tree.remove_parents();
}

/// What the kernel holds of a task's limits, for each that its version has a file for.
fn held(tree: &Tree, task: TaskId) -> Vec<(&'static str, String)> {
    let files: &[(&str, &str)] = match tree.v1 {
        Some(_) => &[
            ("cpu", "cpu.shares"),
            ("cpu", "cpu.cfs_quota_us"),
            ("cpu", "cpu.cfs_period_us"),
            ("memory", "memory.limit_in_bytes"),
            ("memory", "memory.memsw.limit_in_bytes"),
            ("pids", "pids.max"),
        ],
        None => &[
            ("", "cpu.weight"),
            ("", "cpu.max"),
            ("", "memory.max"),
            ("", "memory.oom.group"),
            ("", "memory.swap.max"),
            ("", "pids.max"),
        ],
    };
    let group = |controller: &str| {
        let v1 = tree.v1.as_ref().and_then(|v1| v1.parent(controller));
        v1.or(tree.v2.as_deref()).unwrap().join(task.to_string())
    };
    let there = files.iter().filter(|(controller, file)| group(controller).join(file).exists());
    there.map(|(controller, file)| (*file, read(&group(controller), file))).collect()
}

#[test]
fn the_kernel_holds_every_limit_also_when_it_is_changed() {
    let Some(tree) = real_tree("held") else { return };
    for (cpu_milli, mib, swap_mib, pids) in [(1_500, 64, 0, 10), (2_000, 128, 32, 20), (500, 32, 16, 5)] {
        let further = FurtherLimits { swap_bytes: swap_mib << 20, ..NOTHING };
        let limits = Limits { cpu_milli, memory_bytes: mib << 20, max_pids: pids, further };
        tree.make(TaskId(1), &limits).unwrap();
        for (file, held) in held(&tree, TaskId(1)) {
            let wanted = match file {
                "cpu.shares" => (cpu_milli * 1_024 / 1_000).to_string(),
                "cpu.cfs_quota_us" => (cpu_milli * 100).to_string(),
                "cpu.cfs_period_us" => "100000".to_string(),
                "memory.limit_in_bytes" | "memory.max" => (mib << 20).to_string(),
                "memory.memsw.limit_in_bytes" => ((mib + swap_mib) << 20).to_string(),
                "cpu.weight" => (cpu_milli / 10).to_string(),
                "cpu.max" => format!("{} 100000", cpu_milli * 100),
                "memory.oom.group" => "1".to_string(),
                "memory.swap.max" => (swap_mib << 20).to_string(),
                _ => pids.to_string(),
            };
            assert_eq!((file, held), (file, wanted));
        }
    }
    tree.remove(TaskId(1)).unwrap();
    tree.remove_parents();
}

#[test]
fn whoever_uses_up_its_quota_is_made_to_wait() {
    let Some(tree) = real_tree("quota") else { return };
    let limits = Limits { cpu_milli: 100, ..LIMITS };
    tree.make(TaskId(1), &limits).unwrap();
    let plan = tree.plan(TaskId(1), &limits);
    let join: Vec<String> =
        plan.join.iter().map(|group| format!("echo $$ > {}/cgroup.procs", group.display())).collect();
    let script = format!("{} && while :; do :; done", join.join(" && "));
    let mut child = Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while tree.usage(TaskId(1)).and_then(|usage| usage.throttled_periods).unwrap_or(0) < 3 {
        assert!(std::time::Instant::now() < deadline, "{:?}", tree.usage(TaskId(1)));
        std::thread::yield_now();
    }
    tree.remove(TaskId(1)).unwrap();
    assert!(!child.wait().unwrap().success());
    tree.remove_parents();
}

/// Files of other devices stand for those of two gpus.
fn keep_apart(tree: &mut Tree) -> bool {
    let files = vec![vec!["/dev/zero".into()], vec!["/dev/full".into()]];
    let gpus = Gpus { offered_milli: 2_000, files, common_files: vec!["/dev/random".into()], are_kept_apart: true };
    match tree.keep_gpus_apart(&gpus) {
        Err(CgroupError::NoDevices) => {
            crate::skip::skip("this kernel has no way to restrict devices");
            false
        }
        kept => kept.is_ok(),
    }
}

#[test]
fn gpus_are_kept_apart_by_either_version() {
    let Some(mut tree) = real_tree("gpus") else { return };
    let whole = tree.clone();
    let is_hybrid = tree.v1.is_some() && tree.v2.is_some();
    for version_1_alone in [false, true].into_iter().take(1 + usize::from(is_hybrid)) {
        tree.v2 = whole.v2.clone().filter(|_| !version_1_alone);
        if !keep_apart(&mut tree) {
            continue;
        }
        for (task, given, opened) in
            [(1, vec![], [false; 3]), (2, vec![1], [false, true, true]), (3, vec![0, 1], [true; 3])]
        {
            let limits = Limits { further: FurtherLimits { gpus: given.clone(), ..NOTHING }, ..LIMITS };
            tree.make(TaskId(task), &limits).unwrap();
            tree.make(TaskId(task), &limits).unwrap();
            let plan = tree.plan(TaskId(task), &limits);
            let opens = |path: &str| succeeds_in(&plan, &format!("exec 3< {path} 2> /dev/null"));
            let found = ["/dev/zero", "/dev/full", "/dev/random"].map(opens);
            assert_eq!(found, opened, "given {given:?}, version 1 alone: {version_1_alone}");
            assert!(opens("/dev/urandom"), "other devices are no matter of this");
            tree.remove(TaskId(task)).unwrap();
        }
    }
    whole.remove_parents();
}

#[test]
fn a_device_that_is_none_is_named() {
    let Some(tree) = real_tree("nodev") else { return };
    for (path, why) in [("/dev/no-such", "No such file"), ("/etc/passwd", "no device file")] {
        let limits = Limits { further: FurtherLimits { devices: vec![path.into()], ..NOTHING }, ..LIMITS };
        let error = tree.make(TaskId(1), &limits).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().contains(path) && cause.contains(why), "{error}: {cause}");
    }
    tree.remove(TaskId(1)).unwrap();
    tree.remove_parents();
}

#[test]
fn io_of_the_disk_is_limited_where_the_kernel_can() {
    let Some(tree) = real_tree("io") else { return };
    let io = IoLimits {
        read_bytes_per_s: 1 << 21,
        write_bytes_per_s: 1 << 20,
        read_ops_per_s: 70,
        write_ops_per_s: 60,
        weight: 0,
    };
    let limits = Limits { further: FurtherLimits { io, ..NOTHING }, ..LIMITS };
    match tree.make(TaskId(1), &limits) {
        Ok(()) => {
            let plan = tree.plan(TaskId(1), &limits);
            let group = plan.join.last().unwrap();
            let files: &[(&str, &str)] = match tree.v1 {
                Some(_) => &[
                    ("blkio.throttle.read_bps_device", " 2097152"),
                    ("blkio.throttle.write_bps_device", " 1048576"),
                    ("blkio.throttle.read_iops_device", " 70"),
                    ("blkio.throttle.write_iops_device", " 60"),
                ],
                None => &[("io.max", "rbps=2097152 wbps=1048576 riops=70 wiops=60")],
            };
            for (file, held) in files {
                assert!(read(group, file).ends_with(held), "{file}: {}", read(group, file));
            }
        }
        Err(error) => crate::skip::skip(&format!("this kernel has no io limits for this disk: {error}")),
    }
    tree.remove(TaskId(1)).unwrap();
    tree.remove_parents();
}

#[test]
fn io_is_weighed_by_the_file_that_the_kernel_has() {
    let Some(tree) = real_tree("weight") else { return };
    let io = IoLimits { weight: 300, ..IoLimits::default() };
    let limits = Limits { further: FurtherLimits { io, ..NOTHING }, ..LIMITS };
    let made = tree.make(TaskId(1), &limits);
    let plan = tree.plan(TaskId(1), &limits);
    let names = ["io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"];
    let files = || plan.join.iter().flat_map(|group| names.map(|name| group.join(name))).filter(|file| file.exists());
    match files().next() {
        Some(file) => {
            made.unwrap();
            let held = fs::read_to_string(&file).unwrap();
            assert_eq!(held.split_whitespace().last(), Some("300"), "{}: {held}", file.display());
        }
        None => {
            assert!(made.is_err(), "it was weighed by nothing");
            crate::skip::skip("this kernel has no weight of io");
        }
    }
    tree.remove(TaskId(1)).unwrap();
    tree.remove_parents();
}
