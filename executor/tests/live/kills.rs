//! The kill ladder on real processes.

use std::io::{Read, Write};
use std::net::TcpListener;

use dawn_proto::v1::{self, Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, lives, shell, until};

const USES: [Use; 2] = [Use::Usual, Use::V1Alone];

#[test]
fn a_process_that_obeys_ends_by_sigterm() {
    let Some(mut rig) = Rig::grouped(vec![shell("main", "exec sleep 1000")], Use::Usual, 0, 0) else { return };
    rig.start();
    rig.until_state(TaskState::Running);
    rig.kill(Reason::Preempted, None);
    let end = rig.ends();
    assert_eq!((end.state(), end.reason(), end.message.as_str()), (TaskState::Killed, Reason::Preempted, ""));
    assert_eq!(rig.exit_of("main").signal, Some(15));
}

#[test]
fn a_task_that_must_not_live_twice_ends_when_nobody_renews_its_lease() {
    let mut rig = Rig::new(vec![shell("main", "exec sleep 1000")]);
    // In namespaces of its own, but no group, it would end with its first executor.
    rig.in_plain_sight();
    let boot_ms = || {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        (uptime.split(' ').next().unwrap().parse::<f64>().unwrap() * 1_000.0) as i64
    };
    let began_ms = boot_ms();
    rig.plan.lease_until_boot_ms = Some(began_ms + 100_000);
    rig.start();
    rig.until_state(TaskState::Running);
    let later = v1::LeaseRenewal { until_boot_ms: began_ms + 200_000 };
    rig.ask(&mut rig.connect(), v1::executor_request::Request::Renew(later));
    assert_eq!(rig.states(), [TaskState::Starting, TaskState::Running]);
    // Another executor over the same task goes by its plan.
    rig.kill_executor();
    rig.plan.lease_until_boot_ms = Some(boot_ms() + 300);
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Killed, Reason::AgentLost));
    assert!(boot_ms() - began_ms >= 300 && end.message.contains("out of reach"), "{}", end.message);
}

#[test]
fn one_that_ignores_sigterm_is_ended_after_its_grace() {
    for use_ in USES {
        let line = "trap '' TERM; touch up; while :; do sleep 0.05; done";
        let Some(mut rig) = Rig::grouped(vec![shell("main", line)], use_, 0, 0) else { return };
        rig.start();
        until("it ignores", || rig.sandbox("up").exists());
        rig.kill(Reason::UserRequest, Some(300));
        let end = rig.ends();
        assert_eq!((end.state(), end.reason()), (TaskState::Killed, Reason::UserRequest));
        assert_eq!(end.message, "did not stop within 300ms of SIGTERM: ended by SIGKILL");
        assert_eq!(rig.exit_of("main").signal, Some(9));
        let events = rig.events();
        let at = |wanted: fn(&v1::executor_event::Event) -> bool| {
            events.iter().find(|event| wanted(event.event.as_ref().unwrap())).unwrap().at_ms
        };
        let begun = at(|event| matches!(event, v1::executor_event::Event::KillBegun(_)));
        let exited = at(|event| matches!(event, v1::executor_event::Event::ProcessExited(_)));
        assert!(exited - begun >= 290, "killed {} ms after the kill began", exited - begun);
    }
}

#[test]
fn a_second_kill_with_a_shorter_grace_wins_and_a_longer_one_does_not() {
    let line = "trap '' TERM; touch up; while :; do sleep 0.05; done";
    let Some(mut rig) = Rig::grouped(vec![shell("main", line)], Use::Usual, 0, 0) else { return };
    rig.start();
    until("it ignores", || rig.sandbox("up").exists());
    rig.kill(Reason::Preempted, Some(10_000_000));
    rig.kill(Reason::UserRequest, Some(20_000_000));
    rig.kill(Reason::NodeDrain, Some(10));
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Killed, Reason::Preempted));
    let graces: Vec<u64> = rig
        .events()
        .into_iter()
        .filter_map(|event| match event.event {
            Some(v1::executor_event::Event::KillBegun(kill)) => Some(kill.grace_period_ms),
            _ => None,
        })
        .collect();
    assert_eq!(graces, [10_000_000, 10]);
}

/// A process that leaves session, parent and group behind, as daemons do.
const STRAY: &str = "(setsid sh -c 'trap \"\" TERM; echo $$ > stray; exec sleep 1000' > /dev/null 2>&1 &); ";

#[test]
fn a_stray_is_gone_after_a_kill_and_after_a_success() {
    for use_ in USES {
        for (line, state) in [("exec sleep 1000", TaskState::Killed), ("exit 0", TaskState::Finished)] {
            let line = format!("{STRAY} until test -s stray; do sleep 0.01; done; {line}");
            let Some(mut rig) = Rig::grouped(vec![shell("main", &line)], use_, 0, 0) else { return };
            rig.in_plain_sight();
            rig.start();
            until("the stray is up", || rig.read_sandbox("stray").ends_with('\n'));
            let stray = rig.read_sandbox("stray").trim().parse().unwrap();
            if state == TaskState::Killed {
                rig.kill(Reason::UserRequest, Some(100));
            }
            assert_eq!(rig.ends().state(), state);
            assert!(!lives(stray));
        }
    }
}

#[test]
fn a_stray_that_root_moved_out_of_its_groups_is_gone_after_a_kill() {
    if !nix::unistd::geteuid().is_root() {
        return crate::skip::skip("only root can leave its groups");
    }
    for use_ in USES {
        let Some(mut rig) = Rig::grouped(Vec::new(), use_, 0, 0) else { continue };
        let above = rig.groups.as_ref().unwrap().dirs.iter().map(|dir| dir.parent().unwrap().join("cgroup.procs"));
        let leave: String = above.map(|file| format!("echo $$ > {}; ", file.display())).collect();
        let stray = format!("(setsid sh -c 'trap \"\" TERM; {leave} echo $$ > stray; exec sleep 1000' &);");
        let line = format!("{stray} until test -s stray; do sleep 0.01; done; exec sleep 1000");
        rig.task().processes = vec![shell("main", &line)];
        rig.in_plain_sight();
        rig.start();
        until("the stray is up", || rig.read_sandbox("stray").ends_with('\n'));
        let stray = rig.read_sandbox("stray").trim().parse().unwrap();
        assert!(!rig.groups.as_ref().unwrap().members().contains(&stray), "it has left");
        rig.kill(Reason::UserRequest, Some(50));
        assert_eq!(rig.ends().state(), TaskState::Killed);
        let left = lives(stray);
        if left {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(stray), nix::sys::signal::Signal::SIGKILL);
        }
        assert!(!left, "{stray}");
    }
}

#[test]
fn without_groups_strays_are_found_among_the_descendants() {
    let line = format!("{STRAY} until test -s stray; do sleep 0.01; done; exec sleep 1000");
    let mut rig = Rig::new(vec![shell("main", &line)]);
    rig.in_plain_sight();
    rig.start();
    until("the stray is up", || rig.read_sandbox("stray").ends_with('\n'));
    let stray = rig.read_sandbox("stray").trim().parse().unwrap();
    assert!(lives(stray));
    rig.kill(Reason::UserRequest, Some(50));
    assert_eq!(rig.ends().state(), TaskState::Killed);
    assert!(!lives(stray));
}

#[test]
fn a_frozen_task_is_ended_all_the_same() {
    for use_ in USES {
        let Some(mut rig) = Rig::grouped(vec![shell("main", "exec sleep 1000")], use_, 0, 0) else { return };
        rig.start();
        rig.until_state(TaskState::Running);
        let dirs = &rig.groups.as_ref().unwrap().dirs;
        match dirs.get(3) {
            Some(dir) => std::fs::write(dir.join("freezer.state"), "FROZEN").unwrap(),
            None => std::fs::write(dirs[0].join("cgroup.freeze"), "1").unwrap(),
        }
        rig.kill(Reason::UserRequest, Some(0));
        assert_eq!(rig.ends().state(), TaskState::Killed);
    }
}

#[test]
fn sigterm_to_the_executor_walks_the_ladder() {
    let mut last = shell("last", "touch cleaned");
    last.r#final = true;
    let mut rig = Rig::new(vec![shell("main", "exec sleep 1000"), last]);
    rig.start();
    rig.until_state(TaskState::Running);
    let pid = nix::unistd::Pid::from_raw(rig.executor_pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Killed, Reason::NodeDrain));
    assert!(rig.sandbox("cleaned").exists());
}

#[test]
fn the_endpoints_are_asked_before_sigterm() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u32::from(listener.local_addr().unwrap().port());
    let mut rig = Rig::new(vec![shell("main", "until test -e stop; do sleep 0.01; done")]);
    rig.plan.ports = vec![v1::AssignedPort { name: "admin".into(), port }];
    rig.task().http_lifecycle = Some(v1::HttpLifecycle {
        port: "admin".into(),
        graceful_path: "/quit".into(),
        graceful_wait_ms: 100,
        shutdown_path: "/abort".into(),
        shutdown_wait_ms: 60_000,
    });
    rig.start();
    rig.until_state(TaskState::Running);
    rig.kill(Reason::UserRequest, None);
    let mut asked = Vec::new();
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        let n = stream.read(&mut request).unwrap();
        asked.push(String::from_utf8_lossy(&request[..n]).lines().next().unwrap().to_string());
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    }
    std::fs::write(rig.sandbox("stop"), "").unwrap();
    assert_eq!(asked, ["POST /quit HTTP/1.1", "POST /abort HTTP/1.1"]);
    assert_eq!(rig.ends().state(), TaskState::Killed);
    // It stopped by itself: nobody sent it a signal.
    assert_eq!(rig.exit_of("main").exit_code, Some(0));
}

#[test]
fn an_endpoint_that_nobody_serves_is_told_with_the_end_of_the_task() {
    let port = u32::from(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let mut rig = Rig::new(vec![shell("main", "exec sleep 1000")]);
    rig.plan.ports = vec![v1::AssignedPort { name: "admin".into(), port }];
    rig.task().http_lifecycle = Some(v1::HttpLifecycle {
        port: "admin".into(),
        graceful_path: "/quit".into(),
        graceful_wait_ms: 100,
        ..Default::default()
    });
    rig.start();
    rig.until_state(TaskState::Running);
    rig.kill(Reason::UserRequest, None);
    let end = rig.ends();
    assert_eq!(end.message, format!("lifecycle endpoint failed: POST /quit on port {port}: Connection refused"));
}
