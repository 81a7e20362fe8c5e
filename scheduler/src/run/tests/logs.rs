//! Logs through a tunnel.

use dawn_proto::errors;
use dawn_proto::v1::agent_link_client::AgentLinkClient;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, TaskState};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::agent::{FakeAgent, register};
use super::{Cluster, service};

fn chunk(text: &str, offset: u64, end: bool) -> v1::LogChunk {
    v1::LogChunk { data: text.as_bytes().to_vec(), offset, end, ..Default::default() }
}

fn closed() -> v1::TunnelDown {
    v1::TunnelDown { close: true, ..Default::default() }
}

/// A cluster with one running task, its agent, and what came of asking for its log.
struct Asked {
    cluster: Cluster,
    agent: FakeAgent,
    task: u64,
}

impl Asked {
    async fn running(dir: &std::path::Path) -> Asked {
        let mut cluster = Cluster::start(dir).await;
        let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
        cluster.submit(service(1)).await;
        let task = agent.launched().await.1.task_id;
        agent.report(task, TaskState::Running).await;
        Asked { cluster, agent, task }
    }

    /// Asks as a client, and is asked as the agent.
    async fn open(&mut self) -> (Streaming<v1::LogChunk>, v1::OpenTunnel) {
        let request = v1::ReadLogRequest { task_id: self.task, process: "main".into(), ..Default::default() };
        let log = self.cluster.client.tasks().read_log(request.clone()).await.unwrap().into_inner();
        match self.agent.next().await {
            Down::OpenTunnel(open) => {
                assert_eq!(open.read_log, Some(request));
                (log, open)
            }
            other => panic!("expected a tunnel to open, got {other:?}"),
        }
    }
}

pub(super) type Tunnel = (mpsc::Sender<v1::TunnelUp>, Streaming<v1::TunnelDown>);

pub(super) async fn dial(client: &mut AgentLinkClient<Channel>, tunnel_id: u64) -> Result<Tunnel, tonic::Status> {
    let (up, messages) = mpsc::channel(16);
    up.send(v1::TunnelUp { tunnel_id, ..Default::default() }).await.unwrap();
    let down = client.tunnel(ReceiverStream::new(messages)).await?.into_inner();
    Ok((up, down))
}

#[tokio::test]
async fn a_log_comes_through_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = Asked::running(dir.path()).await;
    let (mut log, open) = asked.open().await;
    let (up, mut down) = dial(&mut asked.agent.client, open.tunnel_id).await.unwrap();
    let chunks = [chunk("hello ", 0, false), chunk("world", 6, false), chunk("", 11, true)];
    for log in chunks.clone() {
        up.send(v1::TunnelUp { log: Some(log), ..Default::default() }).await.unwrap();
    }
    for wanted in chunks {
        assert_eq!(log.message().await.unwrap(), Some(wanted));
    }
    assert_eq!(log.message().await.unwrap(), None);
    assert_eq!(down.message().await.unwrap(), Some(closed()));
    let again = dial(&mut asked.agent.client, open.tunnel_id).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound, "a tunnel is dialled once");
    asked.cluster.stop().await;
}

#[tokio::test]
async fn what_the_agent_says_is_wrong_reaches_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = Asked::running(dir.path()).await;
    let (mut log, open) = asked.open().await;
    let (up, _down) = dial(&mut asked.agent.client, open.tunnel_id).await.unwrap();
    up.send(v1::TunnelUp { error: "no process \"main\"".into(), ..Default::default() }).await.unwrap();
    let status = log.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no process \"main\""));
    // A tunnel that is ended in order has brought all; one that breaks off has not.
    let (mut log, open) = asked.open().await;
    let (up, down) = dial(&mut asked.agent.client, open.tunnel_id).await.unwrap();
    drop(up);
    assert_eq!(log.message().await.unwrap(), None);
    drop(down);
    let (mut log, open) = asked.open().await;
    // An agent of its own runtime, which dies with its connections.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = asked.cluster.address;
    let dialled = runtime.spawn(async move {
        let mut client = AgentLinkClient::connect(format!("http://{address}")).await.unwrap();
        dial(&mut client, open.tunnel_id).await.unwrap()
    });
    let _tunnel = dialled.await.unwrap();
    runtime.shutdown_background();
    let broken = tokio::time::timeout(super::DEADLINE, log.message()).await.expect("nobody says that it broke");
    let status = broken.unwrap_err();
    assert!(status.message().contains("broke") && errors::named(&status, "node").is_some(), "{status:?}");
    asked.cluster.stop().await;
}

#[tokio::test]
async fn the_code_that_the_agent_gives_its_error_is_the_clients_unless_it_speaks_of_the_scheduler() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = Asked::running(dir.path()).await;
    for (given, told) in [
        (Code::NotFound, Code::NotFound),
        (Code::OutOfRange, Code::OutOfRange),
        (Code::ResourceExhausted, Code::ResourceExhausted),
        (Code::FailedPrecondition, Code::FailedPrecondition),
        (Code::Unauthenticated, Code::FailedPrecondition),
        (Code::Internal, Code::FailedPrecondition),
        (Code::Ok, Code::FailedPrecondition),
    ] {
        let (mut log, open) = asked.open().await;
        let (up, _down) = dial(&mut asked.agent.client, open.tunnel_id).await.unwrap();
        let error_code = i32::from(given).try_into().unwrap();
        up.send(v1::TunnelUp { error: "in its words".into(), error_code, ..Default::default() }).await.unwrap();
        let status = log.message().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (told, "in its words"), "{given:?}");
    }
    asked.cluster.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_closes_the_tunnel() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = Asked::running(dir.path()).await;
    let (log, open) = asked.open().await;
    let (_up, mut down) = dial(&mut asked.agent.client, open.tunnel_id).await.unwrap();
    drop(log);
    let last = tokio::time::timeout(super::DEADLINE, down.message()).await.unwrap().unwrap();
    assert_eq!(last, Some(closed()));
    asked.cluster.stop().await;
}

#[tokio::test]
async fn a_log_nobody_can_bring_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = Asked::running(dir.path()).await;
    let request = |task_id| v1::ReadLogRequest { task_id, ..Default::default() };
    let status = asked.cluster.client.tasks().read_log(request(999)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no task t999 (any more)"));
    let mut large = service(1);
    large.key.as_mut().unwrap().name = "large".into();
    large.task.as_mut().unwrap().resources.as_mut().unwrap().cpu_milli = 64_000;
    asked.cluster.submit(large).await;
    let tasks =
        asked.cluster.client.tasks().list_tasks(v1::ListTasksRequest::default()).await.unwrap().into_inner().tasks;
    let pending = tasks.iter().find(|task| task.state() == TaskState::Pending).unwrap().id;
    let status = asked.cluster.client.tasks().read_log(request(pending)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    drop(asked.agent);
    let gone = async {
        loop {
            match asked.cluster.client.tasks().read_log(request(asked.task)).await {
                Err(status) => return status,
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    };
    let status = tokio::time::timeout(super::DEADLINE, gone).await.unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "node node-1.example is out of reach");
    assert!(
        errors::named(&status, "node").is_some(),
        "the status does not name the node that is out of reach: {status:?}"
    );
    asked.cluster.stop().await;
}

#[tokio::test]
async fn the_log_of_a_task_whose_start_failed_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    cluster.submit(service(1)).await;
    let task = agent.launched().await.1.task_id;
    let message = "user ghost does not exist on this node".to_string();
    let reason = v1::Reason::UnknownUser.into();
    let end = v1::TaskReport { reason, message, ..super::agent::report(task, 9, TaskState::Failed) };
    agent.say(v1::agent_message::Message::Report(end)).await;
    while !matches!(agent.next().await, Down::Ack(ack) if ack.task_id == task) {}
    let request = v1::ReadLogRequest { task_id: task, ..Default::default() };
    let status = cluster.client.tasks().read_log(request).await.unwrap_err();
    let expected = format!("t{task} was not started: user ghost does not exist on this node");
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, expected.as_str()));
    cluster.stop().await;
}
