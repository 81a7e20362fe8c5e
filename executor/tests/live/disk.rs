//! What tasks take on disk: written fast, in one file, in many, allocated without being written.

use std::fs;

use dawn_proto::v1::{self, Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, shell, until};

const MIB: u64 = 1 << 20;

fn used(rig: &Rig) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(&rig.plan.sandbox).unwrap().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.blocks() * 512).sum()
}

#[test]
fn one_that_writes_two_gibibytes_fast_is_ended_before_much_more_than_it_may_is_written() {
    // It ignores SIGTERM, and would write on for all of its grace.
    let line = "trap '' TERM; for i in $(seq 64); do head -c 33554432 /dev/zero > f$i; done; exec sleep 1000";
    for grouped in [true, false] {
        let processes = vec![shell("main", line)];
        let Some(mut rig) =
            (if grouped { Rig::grouped(processes, Use::Usual, 0, 0) } else { Some(Rig::new(processes)) })
        else {
            continue;
        };
        rig.plan.disk_limit_bytes = 64 * MIB;
        rig.start();
        let end = rig.ends();
        assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::DiskLimit), "{end:?}");
        assert!(end.message.contains(" used, 64 MiB allowed; "), "{}", end.message);
        assert!(end.message.ends_with("ended by SIGKILL"), "{}", end.message);
        // While it is looked at, and killed, it goes on, and where other tests keep every cpu busy a look begins late: of
        // the two gibibytes the better half is never written. The rate itself is a matter of the pace's own tests.
        assert!(used(&rig) < 1024 * MIB, "{} MiB were written", used(&rig) / MIB);
    }
}

#[test]
fn a_file_larger_than_the_whole_limit_ends_its_process_and_the_end_says_why() {
    for (line, wanted) in [
        (
            "exec head -c 9000000 /dev/zero > big",
            "process main was ended: a file grew above 4 MiB, the task's disk (SIGXFSZ)",
        ),
        ("head -c 9000000 /dev/zero > big; exit $?", "process main was ended: a file grew above"),
    ] {
        let mut rig = Rig::new(vec![shell("main", line)]);
        rig.plan.disk_limit_bytes = 4 * MIB;
        rig.start();
        let end = rig.ends();
        assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::DiskLimit), "{end:?}");
        assert!(end.message.starts_with(wanted), "{}", end.message);
        assert_eq!(fs::metadata(rig.sandbox("big")).unwrap().len(), 4 * MIB);
    }
}

#[test]
fn a_lower_limit_of_files_that_was_asked_for_stays_and_one_that_ignores_the_signal_is_told() {
    let line = "trap '' XFSZ; head -c 9000000 /dev/zero > big 2> why; cat why >&2; stat -c %s big";
    let mut rig = Rig::new(vec![shell("main", line)]);
    rig.plan.disk_limit_bytes = 64 * MIB;
    rig.task().isolation =
        Some(v1::Isolation { rlimits: [("fsize".to_string(), 2 * MIB)].into(), ..Default::default() });
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    assert_eq!(rig.read_log("main.stdout"), format!("{}\n", 2 * MIB));
    assert!(rig.read_log("main.stderr").contains("File too large"), "{}", rig.read_log("main.stderr"));
}

#[test]
fn too_many_files_end_the_task_with_the_amounts() {
    let line = "seq 100000 | xargs -n 1000 touch; exec sleep 1000";
    // In memory, where no disk that others use decides how fast they come.
    let tasks = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut rig = Rig::among(tasks.path(), vec![shell("main", line)]);
    rig.task().max_files = 20_000;
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::DiskLimit), "{end:?}");
    let files = end.message.strip_prefix("too many files: ").and_then(|rest| rest.split(',').next()).unwrap();
    assert!(files.parse::<u64>().unwrap() > 20_000, "{}", end.message);
    assert!(end.message.contains(", 20000 allowed (max_files)"), "{}", end.message);
}

#[test]
fn half_of_the_files_are_warned_of_once_and_the_task_runs_on() {
    let line = "for i in $(seq 70); do : > f$i; done; until test -e go; do sleep 0.05; done";
    let mut rig = Rig::new(vec![shell("main", line)]);
    rig.task().max_files = 100;
    rig.start();
    until("it is warned", || rig.states().len() > 2);
    fs::write(rig.sandbox("go"), "").unwrap();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    let states = [TaskState::Starting, TaskState::Running, TaskState::Running, TaskState::Finished];
    assert_eq!(rig.states(), states);
    assert!(rig.changes()[2].message.ends_with(" files of at most 100 (max_files): above that the task is ended"));
}

#[test]
fn files_without_a_name_that_are_held_open_count_too() {
    let line =
        "for i in 4 5 6 7; do eval \"exec $i> f\"; rm f; eval \"head -c 33554432 /dev/zero >&$i\"; done; sleep 1000";
    let mut rig = Rig::new(vec![shell("main", line)]);
    rig.plan.disk_limit_bytes = 64 * MIB;
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::DiskLimit), "{end:?}");
    assert_eq!(used(&rig), 0, "none of it has a name");
}

#[test]
fn what_is_allocated_without_being_written_is_noticed() {
    let line = "for i in 1 2 3; do fallocate -l 33554432 f$i || exit 3; done; exec sleep 1000";
    let mut rig = Rig::new(vec![shell("main", line)]);
    rig.plan.disk_limit_bytes = 64 * MIB;
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::DiskLimit), "{end:?}");
}
