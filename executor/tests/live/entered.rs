//! Commands inside a living task: what one started ends with it, also what left its session inside namespaces.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use dawn_proto::v1::{self, Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, shell};

/// Runs a command in the task as an agent does, in a group of its own inside this one of the task's; what was told of it.
fn enter(rig: &Rig, above: &std::path::Path, line: &str) -> String {
    let group = above.join("exec-1");
    std::fs::create_dir(&group).unwrap();
    let (mut control, theirs) = UnixStream::pair().unwrap();
    let pid = rig.pids()[0];
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_string();
    let plan = rig.meta("plan").display().to_string();
    let arguments =
        [&plan, &pid.to_string(), &start_ticks, &group.display().to_string(), "-", "/bin/sh", "-c", line].join("\n");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(crate::executor_process::ENTER_VARIABLE, arguments);
    let number = theirs.as_raw_fd();
    // SAFETY: the child makes one system call on a number made before the fork.
    unsafe {
        command.pre_exec(move || match nix::libc::dup2(number, 3) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let mut child = command.spawn().unwrap();
    drop((theirs, command));
    let mut told = String::new();
    control.read_to_string(&mut told).unwrap();
    child.wait().unwrap();
    assert!(!group.exists(), "the command's group is left behind");
    told
}

#[test]
fn what_a_command_started_and_left_in_namespaces_ends_with_it_on_version_1_alone() {
    if !crate::walls::is_root() {
        return;
    }
    let Some(mut rig) = Rig::grouped(vec![shell("main", "exec sleep 1000")], Use::V1Alone, 0, 0) else { return };
    let namespaces = v1::NamespaceUse::Required.into();
    rig.task().isolation = Some(v1::Isolation { namespaces, ..Default::default() });
    rig.start();
    rig.until_state(TaskState::Running);
    let groups = rig.groups.as_ref().unwrap();
    let before = groups.members();
    let freezer = groups.dirs.iter().find(|dir| dir.join("freezer.state").exists()).unwrap().clone();
    let line = "setsid sh -c 'setsid sleep 1000 & echo up > up; exec true'; setsid sleep 1000 & until test -e up; do sleep 0.01; done; \
        exit 7";
    assert_eq!(enter(&rig, &freezer, line), "started\nexit 7\n");
    assert_eq!(rig.groups.as_ref().unwrap().members(), before, "the task's own processes, and nobody else");
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}
