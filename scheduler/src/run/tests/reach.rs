//! A client's session through a tunnel, both ways, to its end or its client's.

use dawn_proto::v1::agent_link_client::AgentLinkClient;
use dawn_proto::v1::reach_client::ReachClient;
use dawn_proto::v1::scheduler_message::Message as Down;
use dawn_proto::v1::{self, TaskState, reach_down, reach_open, reach_up};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::agent::{FakeAgent, register};
use super::{Cluster, service};

type Session = (mpsc::Sender<v1::ReachUp>, Streaming<v1::ReachDown>);

fn up(message: reach_up::Message) -> v1::ReachUp {
    v1::ReachUp { message: Some(message) }
}

fn data(text: &str) -> v1::ReachUp {
    up(reach_up::Message::Data(text.into()))
}

async fn open(cluster: &Cluster, task_id: u64, agent_id: &str) -> Result<Session, Status> {
    let mut client = ReachClient::<Channel>::connect(format!("http://{}", cluster.address)).await.unwrap();
    let (ups, stream) = mpsc::channel(16);
    let what = Some(reach_open::What::Keeping(true));
    let open = v1::ReachOpen { task_id, agent_id: agent_id.into(), what };
    ups.send(up(reach_up::Message::Open(open))).await.unwrap();
    Ok((ups, client.open(ReceiverStream::new(stream)).await?.into_inner()))
}

async fn dial(
    client: &mut AgentLinkClient<Channel>,
    tunnel_id: u64,
) -> (mpsc::Sender<v1::TunnelUp>, Streaming<v1::TunnelDown>) {
    let (up, messages) = mpsc::channel(16);
    up.send(v1::TunnelUp { tunnel_id, ..Default::default() }).await.unwrap();
    let down = client.tunnel(ReceiverStream::new(messages)).await.unwrap().into_inner();
    (up, down)
}

#[tokio::test]
async fn a_session_is_carried_both_ways_and_its_client_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path()).await;
    let (mut agent, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    cluster.submit(service(1)).await;
    let task = agent.launched().await.1.task_id;
    agent.report(task, TaskState::Running).await;
    let (ups, mut downs) = open(&cluster, task, "").await.unwrap();
    let Down::OpenTunnel(asked) = agent.next().await else { panic!("no tunnel is asked for") };
    assert_eq!(asked.reach, Some(v1::ReachTarget { task_id: Some(task) }));
    let (tunnel, mut told) = dial(&mut agent.client, asked.tunnel_id).await;
    let first = told.message().await.unwrap().unwrap().reach.unwrap();
    assert!(matches!(first.message, Some(reach_up::Message::Open(_))), "{first:?}");
    ups.send(data("ping")).await.unwrap();
    assert_eq!(told.message().await.unwrap().unwrap().reach, Some(data("ping")));
    let pong = v1::ReachDown { message: Some(reach_down::Message::Data("pong".into())) };
    tunnel.send(v1::TunnelUp { reach: Some(pong.clone()), ..Default::default() }).await.unwrap();
    assert_eq!(downs.message().await.unwrap(), Some(pong));
    drop((ups, downs));
    let last = tokio::time::timeout(super::DEADLINE, told.message()).await.unwrap().unwrap().unwrap();
    assert!(last.close, "the agent is told that its client is gone");

    let (_ups, mut downs) = open(&cluster, 0, "node-1").await.unwrap();
    let Down::OpenTunnel(asked) = agent.next().await else { panic!("no tunnel is asked for") };
    assert_eq!(asked.reach, Some(v1::ReachTarget { task_id: None }));
    let (tunnel, _told) = dial(&mut agent.client, asked.tunnel_id).await;
    tunnel.send(v1::TunnelUp { error: "no such thing".into(), ..Default::default() }).await.unwrap();
    let status = downs.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no such thing"));
    cluster.stop().await;
}

#[tokio::test]
async fn nobody_to_reach_is_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let status = open(&cluster, 999, "").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no task t999 (any more)"));
    let status = open(&cluster, 0, "nowhere").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let mut client = ReachClient::<Channel>::connect(format!("http://{}", cluster.address)).await.unwrap();
    let status = client.open(tokio_stream::iter([data("first")])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    cluster.stop().await;
}
