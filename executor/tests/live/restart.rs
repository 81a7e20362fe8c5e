//! An executor that is started again, the event log, and the socket.

use std::io::Write;
use std::os::unix::net::UnixStream;

use dawn_proto::read_frame;
use dawn_proto::v1::executor_request::Request;
use dawn_proto::v1::{self, Reason, TaskState};
use prost::Message;

use crate::groups::Use;
use crate::rig::{Rig, lives, shell, until};

fn next_event(stream: &mut UnixStream) -> v1::ExecutorEvent {
    v1::ExecutorEvent::decode(&read_frame(stream).unwrap()[..]).unwrap()
}

#[test]
fn every_subscriber_gets_every_event_once_from_where_it_asked() {
    let mut rig = Rig::new(vec![shell("main", "until test -e go; do sleep 0.01; done")]);
    rig.start();
    rig.until_state(TaskState::Running);
    let (mut first, mut second) = (rig.connect(), rig.connect());
    rig.ask(&mut first, Request::SubscribeFrom(1));
    rig.ask(&mut second, Request::SubscribeFrom(4));
    let before: Vec<u64> = (0..4).map(|_| next_event(&mut first).sequence).collect();
    assert_eq!(before, [1, 2, 3, 4]);
    // One that never reads, and one that talks nonsense, hold up nobody.
    let mut silent = rig.connect();
    rig.ask(&mut silent, Request::SubscribeFrom(1));
    rig.connect().write_all(&[0xff; 100]).unwrap();
    std::fs::write(rig.sandbox("go"), "").unwrap();
    rig.ends();
    let rest = |stream: &mut UnixStream| {
        let mut events = Vec::new();
        while let Ok(body) = read_frame(stream) {
            events.push(v1::ExecutorEvent::decode(&body[..]).unwrap());
        }
        events
    };
    let all = rig.events();
    assert_eq!(rest(&mut first), all[4..]);
    assert_eq!(rest(&mut second), all[3..]);
}

#[test]
fn the_socket_is_reached_through_a_long_path() {
    let mut rig = Rig::new(vec![shell("main", "exec sleep 1000")]);
    let long = rig.root().join("x".repeat(100)).join("y".repeat(100));
    std::fs::create_dir_all(&long).unwrap();
    rig.plan.meta = long.display().to_string();
    rig.start();
    rig.until_state(TaskState::Running);
    let dir = std::fs::File::open(&long).unwrap();
    let short = format!("/proc/self/fd/{}/socket", std::os::fd::AsRawFd::as_raw_fd(&dir));
    let mut stream = UnixStream::connect(short).unwrap();
    let kill = v1::ExecutorKill { reason: Reason::UserRequest as i32, grace_period_ms: None };
    rig.ask(&mut stream, Request::Kill(kill));
    assert_eq!(rig.ends().state(), TaskState::Killed);
}

fn keeps_exit_codes() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn a_second_executor_watches_what_lives_and_loses_no_exit_code() {
    let line = "echo x >> runs; until test -e go; do sleep 0.01; done; exit 3";
    let Some(mut rig) = Rig::grouped(vec![shell("main", line)], Use::Usual, 0, 0) else { return };
    rig.start();
    rig.until_state(TaskState::Running);
    rig.kill_executor();
    rig.start_again();
    until("it has taken over", || rig.events().len() == 5);
    rig.connect();
    std::fs::write(rig.sandbox("go"), "").unwrap();
    let end = rig.ends();
    assert_eq!(rig.read_sandbox("runs"), "x\n");
    match end.state() {
        // Before Linux 6.15 the kernel tells nobody but a process's parent.
        TaskState::Lost if !keeps_exit_codes() => {
            assert_eq!(end.message, "process main ended after its executor had died, so its exit code is not known")
        }
        _ => assert_eq!((end.state(), end.reason(), end.exit_code), (TaskState::Failed, Reason::Exited, Some(3))),
    }
}

#[test]
fn a_second_executor_kills_what_lives() {
    for grouped in [true, false] {
        let processes = vec![shell("main", "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done")];
        let mut rig = match grouped {
            true => match Rig::grouped(processes, Use::V1Alone, 0, 0) {
                Some(rig) => rig,
                None => continue,
            },
            false => Rig::new(processes),
        };
        rig.in_plain_sight();
        rig.start();
        until("it is up", || rig.read_sandbox("pid").ends_with('\n'));
        rig.until_state(TaskState::Running);
        rig.kill_executor();
        rig.start_again();
        until("it has taken over", || rig.events().len() == 5);
        rig.kill(Reason::UserRequest, Some(50));
        let end = rig.ends();
        assert_eq!((end.state(), end.reason()), (TaskState::Killed, Reason::UserRequest));
        assert!(!lives(rig.read_sandbox("pid").trim().parse().unwrap()));
    }
}

#[test]
fn a_kill_goes_on_after_a_restart() {
    let line = "trap '' TERM; touch up; while :; do sleep 0.05; done";
    let Some(mut rig) = Rig::grouped(vec![shell("main", line)], Use::Usual, 0, 0) else { return };
    rig.start();
    until("it ignores", || rig.sandbox("up").exists());
    rig.kill(Reason::Preempted, Some(500));
    until("the kill is recorded", || rig.events().len() >= 5);
    rig.kill_executor();
    rig.start_again();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Killed, Reason::Preempted));
}

#[test]
fn nothing_runs_twice_whatever_is_left_of_the_event_log() {
    let mut rig = Rig::new(vec![shell("main", "echo x >> runs"), shell("then", "echo x >> runs")]);
    rig.task().processes[1].after = vec!["main".into()];
    rig.start();
    assert_eq!(rig.ends().state(), TaskState::Finished);
    let whole = std::fs::read(rig.meta("events")).unwrap();
    // Over the whole log nothing happens at all.
    rig.start_again();
    assert_eq!(rig.executor_ends(), 0);
    assert_eq!(std::fs::read(rig.meta("events")).unwrap(), whole);
    // Cut anywhere behind its first event, the task comes to an end and starts nothing.
    let first = 8 + u32::from_le_bytes(whole[..4].try_into().unwrap()) as usize;
    let mut lost = 0;
    for cut in (first..whole.len()).step_by(5) {
        std::fs::write(rig.meta("events"), &whole[..cut]).unwrap();
        rig.start_again();
        let end = rig.ends();
        lost += usize::from(end.state() == TaskState::Lost);
        assert!(matches!(end.state(), TaskState::Lost | TaskState::Finished), "cut at {cut}: {end:?}");
        assert_eq!(rig.read_sandbox("runs"), "x\nx\n", "cut at {cut}");
    }
    assert!(lost > 0);
}

#[test]
fn two_executors_cannot_have_the_same_task() {
    let mut rig = Rig::new(vec![shell("main", "exec sleep 1000")]);
    rig.start();
    rig.until_state(TaskState::Running);
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let status = command.env(crate::executor_process::PLAN_VARIABLE, rig.meta("plan")).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(rig.notes().contains("another executor runs this task"), "{}", rig.notes());
    assert_eq!(rig.events().len(), 4);
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}

/// What the agent wrote there says that none has begun: an agent that finds it, and no event, starts one again.
#[test]
fn one_that_begins_empties_the_file_of_its_lock_before_its_first_event() {
    let mut rig = Rig::new(vec![shell("main", "exec sleep 1000")]);
    std::fs::write(rig.meta("executor.lock"), "not begun\n").unwrap();
    rig.start();
    until("its first event", || !rig.events().is_empty());
    assert_eq!(std::fs::read(rig.meta("executor.lock")).unwrap(), b"");
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}
