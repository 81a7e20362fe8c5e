//! Files fetched before a task starts: from a server that is slow, wrong or in the middle of it when the agent dies.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dawn_proto::v1::{Artifact, JobSpec, Reason, TaskState};
use dawn_tests::cluster::{AgentPlan, Cluster, Patience, Plan, Spec, batch, service};

const SIZE: usize = 4 << 20;

fn content() -> Vec<u8> {
    (0..SIZE).map(|n| (n * 13 % 251) as u8).collect()
}

/// What `sha256sum` says.
fn sha256(bytes: &[u8]) -> String {
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sha256sum is there");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout)[..64].to_string()
}

/// A server of one file. While `held`, it stops half way and waits.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    held: Arc<AtomicBool>,
}

impl Server {
    fn start(held: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (asked, held) = (Arc::<AtomicUsize>::default(), Arc::new(AtomicBool::new(held)));
        let (counted, holding) = (asked.clone(), held.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (counted, holding) = (counted.clone(), holding.clone());
                std::thread::spawn(move || serve(stream, &counted, &holding));
            }
        });
        Server { address, asked, held }
    }

    fn artifact(&self, sha256: String) -> Artifact {
        Artifact {
            uri: format!("http://{}/data", self.address),
            sha256,
            destination: "in/data".into(),
            extract: false,
            mode: 0o600,
        }
    }
}

fn serve(mut stream: std::net::TcpStream, asked: &AtomicUsize, held: &AtomicBool) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|got| got == 1) {
        head.push(byte[0]);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let content = content();
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&content[..SIZE / 2]);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while held.load(Ordering::SeqCst) && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10)); // poll
    }
    let _ = stream.write_all(&content[SIZE / 2..]);
}

fn with_artifact(spec: Spec, artifact: Artifact) -> Spec {
    let add = |job: &mut JobSpec| job.task.as_mut().expect("it has one").artifacts.push(artifact);
    spec.with(add)
}

#[test]
fn an_agent_killed_in_the_middle_of_a_fetch_goes_on_with_it() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let server = Server::start(true);
    let script = "stat -c '%U %a %s' in/data; exec sleep 100000";
    let job = cluster.submit(with_artifact(service("web").shell(script), server.artifact(sha256(&content()))));
    let fetching = || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let told = tasks.iter().flat_map(|task| &task.history).any(|step| step.message.contains("artifact 1 of 1"));
        if told { Ok(()) } else { Err(format!("{tasks:?}")) }
    };
    cluster.eventually("the history tells of the fetch", Patience::STEP, fetching);
    cluster.tasks_in(&job, TaskState::Starting, 1, Patience::STEP);
    cluster.agents[0].kill_9();
    server.held.store(false, Ordering::SeqCst);
    cluster.agents[0].start();
    let task = cluster.running(&job, 1).remove(0);
    assert_eq!(task.attempt, 1, "the same task went on: {task:?}");
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
    cluster.eventually("it has its file", Patience::STEP, || match cluster.log(&task, "main", false).as_str() {
        "nobody 600 4194304\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // The next life has it from the cache.
    let victim = cluster.processes_of(&job, 1).remove(0);
    cluster.shoot(&victim);
    cluster.eventually("the next life runs", Patience::STEP, || {
        let tasks = cluster.api.tasks(&job).map_err(|status| status.to_string())?;
        let next = tasks.iter().any(|next| next.id > task.id && next.state() == TaskState::Running);
        if next { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
    cluster.end();
}

#[test]
fn a_task_is_killed_in_the_middle_of_a_fetch() {
    let Some(cluster) = Cluster::start(Plan::of(1)) else { return };
    let server = Server::start(true);
    let job = cluster.submit(with_artifact(service("web"), server.artifact(sha256(&content()))));
    cluster.tasks_in(&job, TaskState::Starting, 1, Patience::STEP);
    cluster.kill(&job);
    let tasks = cluster.api.tasks(&job).expect("tasks");
    assert!(tasks.iter().all(|task| task.state() == TaskState::Killed), "{tasks:?}");
    server.held.store(false, Ordering::SeqCst);
    cluster.end();
}

#[test]
fn what_can_not_be_had_is_a_failure_with_its_reason() {
    let stall = AgentPlan { extra: vec!["--artifact-stall".into(), "300ms".into()], ..AgentPlan::default() };
    let Some(cluster) = Cluster::start(Plan { agents: vec![stall], ..Plan::default() }) else { return };
    let server = Server::start(false);
    let wrong = cluster.submit(with_artifact(batch("wrong"), server.artifact("0".repeat(64))));
    let task = cluster.tasks_in(&wrong, TaskState::Failed, 1, Patience::STEP).remove(0);
    let last = task.history.last().expect("a history");
    assert_eq!(last.reason(), Reason::ChecksumMismatch, "{task:?}");
    assert!(last.message.contains(&sha256(&content())), "what it is instead is told: {last:?}");

    let stalling = Server::start(true);
    let slow = cluster.submit(with_artifact(batch("slow"), stalling.artifact(sha256(b"another"))));
    let task = cluster.tasks_in(&slow, TaskState::Failed, 1, Patience::LONG).remove(0);
    let last = task.history.last().expect("a history");
    assert_eq!(last.reason(), Reason::ArtifactFailed, "{task:?}");
    assert!(last.message.contains("sent nothing") && last.message.contains("3 times"), "{last:?}");
    cluster.end();
}

#[test]
fn agents_give_each_other_what_they_have() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let giver = format!("127.0.0.1:{port}");
    let first = AgentPlan {
        attributes: vec!["which=first".into()],
        extra: vec!["--artifact-listen".into(), giver.clone()],
        ..AgentPlan::default()
    };
    let second = AgentPlan {
        attributes: vec!["which=second".into()],
        extra: vec!["--artifact-peers".into(), giver],
        ..AgentPlan::default()
    };
    let Some(cluster) = Cluster::start(Plan { agents: vec![first, second], ..Plan::default() }) else { return };
    let server = Server::start(false);
    for which in ["first", "second"] {
        let on = dawn_proto::v1::Constraint {
            attribute: "which".into(),
            rule: Some(dawn_proto::v1::constraint::Rule::OneOf(dawn_proto::v1::ValueSet {
                values: vec![which.into()],
            })),
        };
        let spec = batch(which).shell("cksum < in/data").with(|job| job.constraints.push(on));
        let job = cluster.submit(with_artifact(spec, server.artifact(sha256(&content()))));
        cluster.tasks_in(&job, TaskState::Finished, 1, Patience::STEP);
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 1, "the second had it from the first");
    cluster.end();
}
