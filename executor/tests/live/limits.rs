//! Tasks that run into their limits.

use dawn_proto::v1::{Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, shell, until};

const MIB: u64 = 1 << 20;
/// Takes memory without end, in the shell's own process.
const HOG: &str = "x=0123456789abcdef; while :; do x=$x$x; done";

#[test]
fn a_memory_hog_is_reported_as_out_of_memory_with_its_limit() {
    for (line, exit_code) in [(format!("exec sh -c '{HOG}'"), None), (format!("sh -c '{HOG}'; exit $?"), Some(137))] {
        let Some(mut rig) = Rig::grouped(vec![shell("hog", &line)], Use::Usual, 32 * MIB, 0) else { return };
        // A v2 group dies as a whole, the shell that would have told of it too.
        let exit_code = exit_code.filter(|_| rig.plan.cgroup.as_ref().unwrap().memory_version == 1);
        rig.start();
        let end = rig.ends();
        assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Failed, Reason::OutOfMemory, exit_code));
        assert!(end.message.starts_with("process hog ran out of memory (limit 32 MiB, peak 3"), "{}", end.message);
        let exit = rig.exit_of("hog");
        let as_a_whole = rig.plan.cgroup.as_ref().unwrap().memory_version == 2;
        assert_eq!((exit.out_of_memory, exit.whole_task), (true, as_a_whole), "{exit:?}");
        assert!(exit.memory_peak_bytes > 24 * MIB, "{exit:?}");
    }
}

#[test]
fn a_child_killed_for_memory_is_told_while_the_task_goes_on() {
    let line = format!("while :; do sh -c '{HOG}'; sleep 0.2; done");
    let Some(mut rig) = Rig::grouped(vec![shell("main", &line)], Use::Usual, 32 * MIB, 0) else { return };
    if rig.plan.cgroup.as_ref().unwrap().memory_version == 2 {
        // There the kernel ends the whole task.
        return;
    }
    rig.start();
    let words = "killed for memory (limit 32 MiB); the task goes on";
    until("it is told", || rig.changes().iter().any(|change| change.message.ends_with(words)));
    let told = rig.changes().into_iter().find(|change| change.message.ends_with(words)).unwrap();
    assert_eq!(told.state(), TaskState::Running);
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}

#[test]
fn a_sigkill_that_was_no_oom_is_not_called_one() {
    let Some(mut rig) = Rig::grouped(vec![shell("main", "kill -9 $$")], Use::Usual, 32 * MIB, 0) else { return };
    rig.start();
    let end = rig.ends();
    assert_eq!((end.reason(), end.message.as_str()), (Reason::Signaled, "process main was killed by SIGKILL"));
}

#[test]
fn a_process_that_fails_at_the_limit_of_processes_names_it() {
    for use_ in [Use::Usual, Use::V1Alone] {
        // A shell that is refused a child says so and ends with exit code 2.
        let line = "trap : TERM; for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait";
        let Some(mut rig) = Rig::grouped(vec![shell("main", line)], use_, 256 * MIB, 6) else { continue };
        rig.start();
        let end = rig.ends();
        assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Failed, Reason::Exited, Some(2)));
        let words = "process main ended with exit code 2 after the task reached its limit of 6 processes and threads \
            (raise `max_pids`)";
        assert_eq!(end.message, words);
        assert_eq!(rig.exit_of("main").max_pids, Some(6));
    }
}

#[test]
fn a_task_that_goes_on_without_the_processes_it_was_refused_says_so() {
    let line = "while :; do sh -c 'for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1 & done; wait' 2> /dev/null; done";
    let Some(mut rig) = Rig::grouped(vec![shell("main", line)], Use::Usual, 256 * MIB, 6) else { return };
    rig.start();
    let is_told = |change: &dawn_proto::v1::TaskChanged| {
        change
            .message
            .starts_with("the task reached its limit of 6 processes and threads (raise `max_pids`), and one more")
            && change.message.ends_with("; the task goes on")
    };
    until("it is told", || rig.changes().iter().any(is_told));
    assert_eq!(rig.changes().iter().find(|change| is_told(change)).unwrap().state(), TaskState::Running);
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}

#[test]
fn a_health_check_that_fails_at_the_limit_of_processes_names_it() {
    // The checks that run while the task still starts leave it room: only the later ones take all.
    let line = "trap '' TERM; for i in 1 2 3 4 5; do sleep 1000 & done; touch up; exec sleep 1000";
    let Some(mut rig) = Rig::grouped(vec![shell("main", line)], Use::Usual, 256 * MIB, 20) else { return };
    let probe = dawn_proto::v1::health_check::Probe::Shell(
        "test -e up || exit 0; i=0; while [ $i -lt 20 ]; do sleep 1 & i=$((i + 1)); done; wait".into(),
    );
    let (interval_ms, timeout_ms, max_failures) = (10, 30_000, 2);
    let health =
        dawn_proto::v1::HealthCheck { probe: Some(probe), interval_ms, timeout_ms, max_failures, ..Default::default() };
    rig.task().health = Some(health);
    rig.task().grace_period_ms = 10;
    rig.start();
    let end = rig.ends();
    assert_eq!(end.reason(), Reason::HealthCheck);
    let words =
        "after the task reached its limit of 20 processes and threads (raise `max_pids`); did not stop within 10ms";
    assert!(end.message.contains(words), "{}", end.message);
}

#[test]
fn a_process_that_has_used_its_processor_time_is_told_of_the_limit() {
    let mut rig = Rig::new(vec![shell("main", "while :; do :; done")]);
    let rlimits = [("cpu".to_string(), 1)].into();
    rig.task().isolation = Some(dawn_proto::v1::Isolation { rlimits, ..Default::default() });
    rig.start();
    let words = "process main was killed by SIGKILL; its limit `cpu` allows 1s of processor time";
    assert_eq!(rig.ends().message, words);
}

#[test]
fn a_fork_bomb_is_held_and_ended() {
    for use_ in [Use::Usual, Use::V1Alone] {
        let bomb = "bomb() { bomb | bomb & }; bomb; touch up; while :; do bomb; sleep 0.01; done 2> /dev/null";
        let Some(mut rig) = Rig::grouped(vec![shell("bomb", bomb)], use_, 256 * MIB, 40) else { return };
        rig.start();
        let pids = rig.groups.as_ref().unwrap().pids.clone();
        until("the limit was hit", || {
            let events = std::fs::read_to_string(pids.join("pids.events")).unwrap();
            events.trim() != "max 0"
        });
        rig.kill(Reason::UserRequest, Some(50));
        let end = rig.ends();
        assert!(matches!(end.state(), TaskState::Killed | TaskState::Failed), "{end:?}");
    }
}
