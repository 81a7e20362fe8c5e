//! The first process of a task's namespaces, which holds them open: it outlives no executor that nobody could end it by.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use dawn_proto::v1::{self, NamespaceUse, Reason, TaskState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::rig::{Rig, lives, shell, until};
use crate::skip::skip;

const NAME: &str = "dawn-init";

/// A process that must be gone; if it is not, it goes with the test.
struct Doomed(i32);

impl Drop for Doomed {
    fn drop(&mut self) {
        if lives(self.0) {
            let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
        }
    }
}

/// In namespaces of its own; None, with a loud word, without the right to make them.
fn walled(line: &str) -> Option<Rig> {
    if !nix::unistd::geteuid().is_root() {
        skip("namespaces need root");
        return None;
    }
    let mut rig = Rig::new(vec![shell("main", line)]);
    let namespaces = NamespaceUse::Required.into();
    rig.task().isolation = Some(v1::Isolation { namespaces, ..Default::default() });
    Some(rig)
}

fn children(parent: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.to_string()).unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    pids.filter(is_child).collect()
}

/// A pipe in a file's place that nobody can write to before it is read.
fn gate(path: &std::path::Path) -> File {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut gate = OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(path).unwrap();
    for size in [4_096, 1] {
        while gate.write(&[b'x'; 4_096][..size]).is_ok() {}
    }
    gate
}

fn open_up(gate: &mut File) {
    let mut bytes = [0; 4_096];
    loop {
        match gate.read(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn one_whose_executor_dies_before_it_is_told_of_it_ends_by_itself() {
    let Some(mut rig) = walled("touch ran; exec sleep 1000") else { return };
    // Stands for the task's group. The first process joins it last of all before it tells its executor that all is made,
    // and waits there.
    let group = rig.root().join("group");
    fs::create_dir(&group).unwrap();
    let mut gate = gate(&group.join("tasks"));
    rig.plan.cgroup = Some(v1::CgroupPlan { join: vec![group.display().to_string()], ..Default::default() });
    rig.start();
    let mut found = Vec::new();
    until("the first process is there", || {
        found = children(rig.executor_pid());
        !found.is_empty()
    });
    let [first] = found[..] else { panic!("{found:?}") };
    let first = Doomed(first);
    rig.kill_executor();
    assert!(lives(first.0), "it waits to join its group");
    open_up(&mut gate);
    until("it has ended", || !lives(first.0));
    assert!(!rig.sandbox("ran").exists());
    assert_eq!(rig.states(), [TaskState::Starting]);
}

#[test]
fn without_a_group_it_ends_with_its_executor_and_the_task_with_it() {
    let Some(mut rig) = walled("exec sleep 1000") else { return };
    rig.start();
    rig.until_state(TaskState::Running);
    let children = children(rig.executor_pid());
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert_eq!(children.iter().filter(|pid| name(**pid).trim() == NAME).count(), 1, "{children:?}");
    assert_eq!(children.len(), 2, "{children:?}");
    let doomed: Vec<Doomed> = children.into_iter().map(Doomed).collect();
    rig.kill_executor();
    until("both have ended", || doomed.iter().all(|one| !lives(one.0)));
}

#[test]
fn without_one_the_executor_buries_whom_others_leave_behind() {
    let line = "i=0; while test $i -lt 50; do (true &); i=$((i+1)); done; touch up; exec sleep 1000";
    let mut rig = Rig::new(vec![shell("main", line)]);
    rig.in_plain_sight();
    rig.start();
    until("it is up", || rig.sandbox("up").exists());
    until("only the task's own process is left", || children(rig.executor_pid()) == rig.pids());
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}
