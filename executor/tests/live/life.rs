//! A task's plain life: exit codes, signals, what does not start, surroundings.

use dawn_proto::v1::{Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, shell};

#[test]
fn a_process_succeeds_in_its_groups() {
    let line = "cat /proc/self/cgroup > where; echo out; echo err >&2";
    let Some(mut rig) = Rig::grouped(vec![shell("main", line)], Use::Hybrid, 0, 0) else { return };
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Finished, Reason::None, Some(0)));
    assert_eq!(rig.states(), [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    assert_eq!(rig.starts(), [("main".to_string(), 1)]);
    assert_eq!(rig.events().len(), 6);
    assert_eq!((rig.read_log("main.stdout").as_str(), rig.read_log("main.stderr").as_str()), ("out\n", "err\n"));
    let name = rig.groups.as_ref().unwrap().dirs[0].file_name().unwrap().to_str().unwrap().to_string();
    let inside = rig.read_sandbox("where").lines().filter(|line| line.ends_with(&name)).count();
    assert_eq!(inside, 5, "{}", rig.read_sandbox("where"));
    assert!(!rig.meta("socket").exists());
}
