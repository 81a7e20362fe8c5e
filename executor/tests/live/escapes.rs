//! What a hostile program tries from inside a task, as root and as another user, and finds refused: processes, control
//! groups, limits, and what the executor keeps of this task and of others.

use std::fs;

use dawn_proto::v1::{NamespaceUse, Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, shell, until};
use crate::walls::{copy_with_libraries, is_root, run_in};

const USERS: [u32; 2] = [0, 54_321];
/// Where a task sees what the tests made, as its /tmp is its own.
const IN_SIGHT: &str = "/run";

/// Each attempt as a line of shell that says `NAME` if it succeeds.
fn attempts(list: &[(&str, String)]) -> String {
    list.iter().map(|(name, line)| format!("if ( {line} ) > /dev/null 2>&1; then echo {name}; fi; ")).collect()
}

/// A system call of this number succeeds.
fn call(number: i64, arguments: &str) -> String {
    format!("perl -e 'exit(syscall({number}, {arguments}) < 0)'")
}

#[test]
fn signals_and_looks_reach_no_process_outside() {
    if !is_root() {
        return;
    }
    for uid in USERS {
        let list = [
            ("trace", call(nix::libc::SYS_ptrace, "16, 1, 0, 0")),
            ("memory", "head -c 1 /proc/1/mem || cat /proc/1/environ | grep .".into()),
            ("files", "ls /proc/1/fd/ | grep . || ls -L /proc/1/root || readlink /proc/1/exe".into()),
            ("enter", "nsenter -t 1 -m true || nsenter -t 1 -p true".into()),
            ("space", "unshare -U true || unshare -n true".into()),
            ("keys", call(nix::libc::SYS_keyctl, "0, -3, 0")),
            ("score", "echo -999 > /proc/self/oom_score_adj".into()),
            ("nofile", "ulimit -Hn 100000".into()),
            ("core", "ulimit -Hc 1".into()),
            ("node", "mknod disk b 8 0 || mknod mem c 1 1".into()),
            ("remount", "mount -o remount,rw /sys || umount /proc/sys || mount --bind / /mnt".into()),
        ];
        let line = attempts(&list) + "test $$ -lt 100 && { kill -9 1; kill -STOP 1; kill -9 -1; }";
        let mut last = shell("last", "echo still here");
        last.r#final = true;
        let Some(mut rig) = Rig::grouped(vec![shell("main", &line), last], Use::Usual, 0, 0) else { return };
        rig.belongs_to(uid);
        let isolation = rig.task().isolation.get_or_insert_default();
        // Without, the last lines would be meant for the whole machine.
        isolation.set_namespaces(NamespaceUse::Required);
        isolation.rlimits.insert("nofile".into(), 1_000);
        rig.start();
        let end = rig.ends();
        assert_eq!(rig.read_log("main.stdout"), "", "as {uid}: {}", rig.read_log("main.stderr"));
        assert_eq!(rig.read_log("last.stdout"), "still here\n", "as {uid}: {end:?} {}", rig.notes());
    }
}

#[test]
fn a_task_changes_no_control_group() {
    if !is_root() {
        return;
    }
    for uid in USERS {
        let Some(mut rig) = Rig::grouped(vec![shell("main", "")], Use::Usual, 64 << 20, 30) else { return };
        let mut list = Vec::new();
        for dir in rig.groups.as_ref().unwrap().dirs.iter().map(|dir| dir.display()) {
            for (file, value) in [
                ("pids.max", "max"),
                ("memory.max", "max"),
                ("memory.limit_in_bytes", "-1"),
                ("cpu.max", "max"),
                ("cpu.cfs_quota_us", "-1"),
                ("freezer.state", "FROZEN"),
                ("cgroup.freeze", "1"),
                ("cgroup.kill", "1"),
                ("../tasks", "0"),
                ("../cgroup.procs", "0"),
            ] {
                list.push(("wrote", format!("test -e {dir}/{file} && echo {value} > {dir}/{file}")));
            }
            list.push(("seen", format!("test ! -e {dir}/cgroup.procs")));
            list.push(("made", format!("mkdir {dir}/inner")));
        }
        rig.task().processes = vec![shell("main", &attempts(&list))];
        let (said, end) = run_in(rig, uid, |_| {});
        assert_eq!((said.as_str(), end.state()), ("", TaskState::Finished), "as {uid}");
    }
}

#[test]
fn what_is_kept_of_a_task_is_nobodys_but_its_executors() {
    if !is_root() {
        return;
    }
    let tasks = tempfile::tempdir_in(IN_SIGHT).unwrap();
    fs::set_permissions(tasks.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let line = "echo said; echo x > /tmp/secret; exec sleep 1000";
    let mut neighbour = Rig::among(tasks.path(), vec![shell("main", line)]);
    neighbour.belongs_to(12_345);
    neighbour.start();
    until("the neighbour has written", || {
        neighbour.meta("private/tmp/secret").exists() && neighbour.meta("logs/main.stdout").exists()
    });
    for (uid, read_only) in [(0, false), (0, true), (54_321, false), (54_321, true)] {
        let mut rig = Rig::among(tasks.path(), vec![shell("main", "")]);
        let mut list = Vec::new();
        for meta in [&neighbour.plan.meta, &rig.plan.meta] {
            for file in ["plan", "events", "executor.log", "logs/main.stdout"] {
                list.push(("read", format!("cat {meta}/{file}")));
                list.push(("wrote", format!("test -e {meta}/{file} && : >> {meta}/{file}")));
            }
            let connect = "use IO::Socket::UNIX; exit !IO::Socket::UNIX->new(Peer => shift)";
            list.push(("connected", format!("perl -e '{connect}' {meta}/socket")));
            list.push(("planted", format!("ln -s /etc {meta}/private/link || echo x > {meta}/private/tmp/planted")));
            list.push(("moved", format!("mv {meta}/logs {meta}/gone")));
        }
        list.push(("stole", format!("cat {}/private/tmp/secret", neighbour.plan.meta)));
        list.push(("peeped", format!("ls {}/", neighbour.plan.sandbox)));
        rig.task().processes = vec![shell("main", &(attempts(&list) + "pwd > here && test -w . && echo fine"))];
        let (said, end) = run_in(rig, uid, |isolation| isolation.read_only_system = read_only);
        assert_eq!((said.as_str(), end.state()), ("fine\n", TaskState::Finished), "as {uid}, read-only: {read_only}");
    }
    neighbour.kill(Reason::UserRequest, Some(100));
    assert_eq!(neighbour.ends().state(), TaskState::Killed);
}

#[test]
fn a_read_only_system_has_no_disks_to_write_to() {
    if !is_root() {
        return;
    }
    let line = "find /dev -type b; for f in null zero full random urandom; do test -c /dev/$f || echo no $f; done; \
                echo > /dev/null && head -c 2 /dev/zero | wc -c; test -d /dev/shm && echo x > /dev/shm/x && ls /dev/fd/0";
    let (said, end) = run_in(Rig::new(vec![shell("main", line)]), 0, |isolation| isolation.read_only_system = true);
    assert_eq!((said.as_str(), end.state()), ("2\n/dev/fd/0\n", TaskState::Finished));
}

#[test]
fn files_of_the_node_in_another_root_are_read_only() {
    if !is_root() {
        return;
    }
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("overlay") {
        return crate::skip::skip("this kernel has no overlayfs");
    }
    let layer = tempfile::tempdir().unwrap();
    fs::create_dir(layer.path().join("etc")).unwrap();
    for program in ["/bin/sh", "/bin/chmod", "/bin/ls"] {
        copy_with_libraries(program, layer.path());
    }
    // An unchanged mode is a change for whoever may not make one.
    let line = "for f in hosts resolv.conf hostname; do test -e /etc/$f && printf '' >> /etc/$f && echo wrote $f; \
                done 2> /dev/null; for f in null zero full random urandom tty; do \
                chmod 666 /dev/$f 2> /dev/null && echo changed $f; done; echo > /dev/null && echo fine";
    let mut rig = Rig::new(vec![shell("main", line)]);
    rig.plan.root_layers = vec![layer.path().display().to_string()];
    let (said, end) = run_in(rig, 0, |_| {});
    assert_eq!((said.as_str(), end.state()), ("fine\n", TaskState::Finished), "{end:?}");
}
