//! Health checks against real listeners, good and bad.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use dawn_proto::v1::health_check::Probe;
use dawn_proto::v1::{self, Reason, TaskState};

use crate::groups::Use;
use crate::rig::{Rig, shell, until};

fn rig_with(probe: Probe, port: u16, max_failures: u32) -> Rig {
    let mut rig = Rig::new(vec![shell("web", "exec sleep 1000")]);
    rig.plan.ports = vec![v1::AssignedPort { name: "http".into(), port: port.into() }];
    rig.task().health = Some(v1::HealthCheck {
        probe: Some(probe),
        initial_delay_ms: 1,
        interval_ms: 10,
        // The small machine of tests/on-cgroup-v2 has one slow cpu.
        timeout_ms: if std::env::var_os("DAWN_V2_LIST").is_some() { 2_000 } else { 200 },
        max_failures,
        min_successes: 2,
    });
    rig
}

fn http(path: &str) -> Probe {
    Probe::Http(v1::HttpProbe { port: "http".into(), path: path.into(), ..Default::default() })
}

/// Answers every connection on a thread that ends with the test program.
fn serve(answer: impl Fn(&mut TcpStream, usize) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            answer(&mut stream.unwrap(), number);
        }
    });
    port
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = [0; 1_024];
    let n = stream.read(&mut request).unwrap_or(0);
    String::from_utf8_lossy(&request[..n]).into_owned()
}

#[test]
fn running_waits_for_the_successes_asked_for() {
    let (asked, asks) = std::sync::mpsc::channel();
    let port = serve(move |stream, number| {
        let request = read_request(stream);
        // Up, down, up, up: only then two in a row.
        let status = if number == 1 { "503 Down" } else { "200 OK" };
        asked.send((number, request.lines().next().unwrap_or("").to_string())).unwrap();
        stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).unwrap();
    });
    let mut rig = rig_with(http("/health"), port, 3);
    rig.start();
    rig.until_state(TaskState::Running);
    let asked: Vec<_> = asks.try_iter().take(4).collect();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked.iter().all(|(_, line)| line == "GET /health HTTP/1.1"), "{asked:?}");
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}

#[test]
fn an_unhealthy_task_fails_with_what_the_check_said() {
    let port = serve(|stream, number| {
        read_request(stream);
        let status = if number < 2 { "200 OK" } else { "500 Ill" };
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
    });
    let mut rig = rig_with(http("health"), port, 3);
    rig.start();
    let end = rig.ends();
    assert_eq!((end.state(), end.reason()), (TaskState::Failed, Reason::HealthCheck));
    let why = format!("GET /health on port {port}: status 500, expected 2xx or 3xx");
    assert_eq!(end.message, format!("health check failed 3 times in a row: {why}"));
    assert_eq!(rig.states(), [TaskState::Starting, TaskState::Running, TaskState::Failed]);
}

#[test]
fn endpoints_that_hang_drip_or_never_end_count_as_failures() {
    let hang = |stream: &mut TcpStream, _| {
        read_request(stream);
        thread::park_timeout(std::time::Duration::from_secs(5));
    };
    let drip = |stream: &mut TcpStream, _| {
        read_request(stream);
        while stream.write_all(b"H").is_ok() {
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    };
    let flood = |stream: &mut TcpStream, _| {
        read_request(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4_096]).is_ok() {}
    };
    let head = |stream: &mut TcpStream, _| {
        read_request(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(&[b'x'; 4_096]).is_ok() {}
    };
    let trickle = |stream: &mut TcpStream, _| {
        read_request(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    };
    let body = Probe::Http(v1::HttpProbe { port: "http".into(), expected_body: "ok".into(), ..Default::default() });
    let cases = [
        (serve(head), http("/"), "no HTTP answer"),
        (serve(trickle), body.clone(), "timed out"),
        (serve(hang), http("/"), "timed out"),
        (serve(drip), http("/"), "timed out"),
        (serve(flood), body, "the body (of which 64 KiB count) lacks \"ok\""),
    ];
    for (port, probe, expected) in cases {
        let mut rig = rig_with(probe, port, 1);
        rig.start();
        let end = rig.ends();
        assert_eq!(end.reason(), Reason::HealthCheck);
        assert!(end.message.ends_with(expected), "{}", end.message);
        assert_eq!(rig.states(), [TaskState::Starting, TaskState::Failed]);
    }
}

#[test]
fn a_port_nobody_listens_on_fails_and_one_somebody_does_succeeds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut rig = rig_with(Probe::Tcp(v1::TcpProbe { port: "http".into() }), port, 2);
    rig.start();
    rig.until_state(TaskState::Running);
    drop(listener);
    let end = rig.ends();
    let expected = format!("health check failed twice in a row: connect to port {port}: Connection refused");
    assert_eq!((end.reason(), end.message), (Reason::HealthCheck, expected));
}

/// A real server of gRPC's health service, ill on demand, on a thread that ends with the test program.
fn serve_grpc() -> (u16, std::sync::mpsc::Sender<tonic_health::ServingStatus>) {
    let (told, mut states) = tokio::sync::mpsc::unbounded_channel();
    let (sender, receiver) = std::sync::mpsc::channel();
    let (ports, port) = std::sync::mpsc::channel();
    thread::spawn(move || receiver.iter().try_for_each(|status| told.send(status)));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.send(listener.local_addr().unwrap().port()).unwrap();
            let (reporter, service) = tonic_health::server::health_reporter();
            reporter.set_service_status("web", tonic_health::ServingStatus::Serving).await;
            tokio::spawn(async move {
                while let Some(status) = states.recv().await {
                    reporter.set_service_status("web", status).await;
                }
            });
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
    });
    (port.recv().unwrap(), sender)
}

#[test]
fn a_grpc_check_believes_the_status_of_its_service() {
    let (port, tell) = serve_grpc();
    let grpc = |service: &str| Probe::Grpc(v1::GrpcProbe { port: "http".into(), service: service.into() });
    let mut rig = rig_with(grpc("web"), port, 2);
    rig.start();
    rig.until_state(TaskState::Running);
    tell.send(tonic_health::ServingStatus::NotServing).unwrap();
    let end = rig.ends();
    let why = format!("gRPC health check on port {port}: status NOT_SERVING");
    assert_eq!(
        (end.reason(), end.message),
        (Reason::HealthCheck, format!("health check failed twice in a row: {why}"))
    );
    let mut rig = rig_with(grpc("other"), port, 1);
    rig.start();
    assert!(rig.ends().message.ends_with("does not know the service asked for"));
    // What speaks another language, or nothing, is ill and not waited for.
    let silent = serve(|stream, _| drop(read_request(stream)));
    let mut rig = rig_with(grpc(""), silent, 1);
    rig.start();
    assert!(rig.ends().message.ends_with("no gRPC answer"));
}

#[test]
fn a_shell_check_runs_in_the_tasks_groups_and_snoozes() {
    let Some(grouped) = Rig::grouped(Vec::new(), Use::Usual, 0, 0) else { return };
    let mut rig = rig_with(Probe::Shell("cat /proc/self/cgroup > where; test -e well || exit 4".into()), 1, 2);
    rig.plan.cgroup = grouped.plan.cgroup.clone();
    std::fs::write(rig.sandbox(".healthcheck_snooze"), "").unwrap();
    std::fs::write(rig.sandbox("well"), "").unwrap();
    rig.start();
    rig.until_state(TaskState::Running);
    let name = grouped.groups.as_ref().unwrap().dirs[0].file_name().unwrap().to_str().unwrap();
    until("the check has looked", || rig.read_sandbox("where").contains(name));
    std::fs::remove_file(rig.sandbox("well")).unwrap();
    // Snoozed: many checks fail, and nothing comes of it.
    for _ in 0..5 {
        std::fs::remove_file(rig.sandbox("where")).unwrap();
        until("the check has looked", || rig.sandbox("where").exists());
    }
    assert_eq!(rig.states(), [TaskState::Starting, TaskState::Running]);
    std::fs::remove_file(rig.sandbox(".healthcheck_snooze")).unwrap();
    let end = rig.ends();
    assert_eq!(
        end.message,
        "health check failed twice in a row: `cat /proc/self/cgroup > where; test -e well || exit 4` failed with exit code 4"
    );
}

#[test]
fn what_a_failed_shell_check_said_last_is_told() {
    let line =
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo 'no database: refused' >&2; exit 1";
    let mut rig = rig_with(Probe::Shell(line.into()), 1, 1);
    rig.task().health.as_mut().unwrap().timeout_ms = 60_000;
    rig.start();
    let end = rig.ends();
    let command = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); do…";
    let expected = format!("health check failed once: `{command}` failed with exit code 1: no database: refused");
    assert_eq!((end.reason(), end.message), (Reason::HealthCheck, expected));
    assert!(!rig.meta("logs").join("health check").exists(), "it is kept in memory alone");
}

/// What a check leaves behind: in its group, in a session of its own, and orphaned twice over.
const LEAVES: &str = "sleep 1000 & echo $! >> left; setsid sh -c 'echo $$ >> left; exec sleep 1000' & \
    setsid sh -c 'setsid sh -c \"echo \\$\\$ >> left; exec sleep 1000\" & exec true'; \
    while test $(wc -l < left) -lt 3; do sleep 0.01; done; ";

fn left(rig: &Rig) -> Vec<i32> {
    rig.read_sandbox("left").lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn a_shell_check_that_hangs_is_ended() {
    let mut rig = rig_with(Probe::Shell("echo $$ > check; sleep 1000".into()), 1, 1);
    rig.in_plain_sight();
    rig.start();
    let end = rig.ends();
    let timeout = dawn_proto::amounts::duration(rig.task().health.as_ref().unwrap().timeout_ms);
    assert_eq!(
        end.message,
        format!("health check failed once: `echo $$ > check; sleep 1000` timed out after {timeout}")
    );
    let pid = rig.read_sandbox("check").trim().parse().unwrap();
    assert!(!crate::rig::lives(pid));
}

#[test]
fn a_shell_check_that_hangs_is_ended_with_all_that_it_started_while_the_task_goes_on() {
    let line = format!("test -e hung || {{ touch hung; {LEAVES} echo $$ >> left; sleep 1000; }}");
    let mut rig = rig_with(Probe::Shell(line), 1, 9);
    rig.task().health.as_mut().unwrap().timeout_ms = 5_000;
    rig.in_plain_sight();
    rig.start();
    rig.until_state(TaskState::Running);
    assert_eq!(left(&rig).len(), 4);
    assert!(!left(&rig).into_iter().any(crate::rig::lives), "the check is over");
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}

#[test]
fn what_a_check_started_ends_with_it_while_the_task_goes_on() {
    for is_grouped in [false, true] {
        let mut rig = rig_with(Probe::Shell(format!("test -e done || {{ {LEAVES} touch done; }}")), 1, 1);
        let grouped = if is_grouped { Rig::grouped(Vec::new(), Use::Usual, 0, 0) } else { None };
        rig.plan.cgroup = grouped.as_ref().and_then(|grouped| grouped.plan.cgroup.clone());
        rig.task().health.as_mut().unwrap().timeout_ms = 60_000;
        rig.in_plain_sight();
        rig.start();
        rig.until_state(TaskState::Running);
        assert_eq!(left(&rig).len(), 3);
        assert!(!left(&rig).into_iter().any(crate::rig::lives), "the check is over");
        assert!(crate::rig::lives(rig.pids()[0]), "the task's own process is none of the check's");
        rig.kill(Reason::UserRequest, None);
        assert_eq!(rig.ends().state(), TaskState::Killed);
    }
}

#[test]
fn what_a_check_started_ends_with_it_in_namespaces_of_the_tasks_own() {
    if !crate::walls::is_root() {
        return;
    }
    let count = "ls -d /proc/[0-9]* | wc -l";
    // The second check finds nobody but the first process of the namespaces, the task's, its own and the one that watches it.
    let line = format!("if test -e done; then {count} > seen; else {LEAVES} touch done; fi");
    let mut rig = rig_with(Probe::Shell(line), 1, 1);
    rig.task().health.as_mut().unwrap().timeout_ms = 60_000;
    let isolation = rig.task().isolation.get_or_insert_default();
    isolation.set_namespaces(v1::NamespaceUse::Required);
    rig.start();
    rig.until_state(TaskState::Running);
    let seen: u32 = rig.read_sandbox("seen").trim().parse().unwrap();
    assert!(seen <= 6, "{seen} processes are there");
    rig.kill(Reason::UserRequest, None);
    assert_eq!(rig.ends().state(), TaskState::Killed);
}
