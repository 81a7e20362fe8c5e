//! Many clients, silent ones, greedy ones and such that send nonsense: nobody else notices, and each is told why.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dawn_proto::Clients;
use dawn_proto::v1;
use dawn_proto::v1::agent_link_client::AgentLinkClient;
use dawn_proto::v1::scheduler_message::Message as Down;
use prost::bytes::{Buf, BufMut, Bytes};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::agent::{FakeAgent, register};
use super::{Cluster, DEADLINE, config};
use crate::listen::Bounds;

pub(super) const FIRST: [u8; 4] = [127, 0, 0, 1];
pub(super) const SECOND: [u8; 4] = [127, 0, 0, 2];

/// A scheduler with room for very few connections.
async fn crowded(dir: &tempfile::TempDir) -> Cluster {
    let greet_within = Duration::from_millis(300);
    let bounds = Bounds { newcomers: 3, clients: 4, agents: 2, requests: 64, greet_within, ..Bounds::of(1_024) };
    let mut config = config(dir.path());
    config.connections = Some(bounds);
    let cluster = Cluster::start_with(config).await;
    // Its own client has shown what it is, and holds a place of the first address.
    cluster.client.admin().get_server_info(v1::GetServerInfoRequest {}).await.unwrap();
    cluster
}

async fn channel(to: SocketAddr, from: [u8; 4]) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap().local_address(Some(IpAddr::from(from)));
    endpoint.connect().await.unwrap()
}

async fn socket(to: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::from(from), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

pub(super) async fn info(channel: &Channel) -> Result<v1::ServerInfo, Status> {
    let asked = Clients::new(channel.clone()).admin().get_server_info(v1::GetServerInfoRequest {}).await;
    asked.map(tonic::Response::into_inner)
}

/// Waits until the other side has closed it.
async fn is_closed(mut stream: TcpStream) {
    let mut sent = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut sent)).await.expect("it is closed").ok();
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed_and_keep_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = crowded(&dir).await;
    let silent = [socket(cluster.address, FIRST).await, socket(cluster.address, FIRST).await];
    let third = socket(cluster.address, FIRST).await;
    // All places of newcomers are the first address's: the second one takes one of them.
    let other = channel(cluster.address, SECOND).await;
    info(&other).await.unwrap();
    is_closed(third).await;
    for stream in silent {
        is_closed(stream).await;
    }
    info(&other).await.expect("the one that asked stays");
    info(&channel(cluster.address, FIRST).await).await.expect("the address is not held against anybody");
    cluster.stop().await;
}

#[tokio::test]
async fn a_client_with_all_connections_is_refused_with_words_and_makes_room_for_another_and_agents_have_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = crowded(&dir).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let channel = channel(cluster.address, FIRST).await;
        info(&channel).await.unwrap();
        held.push(channel);
    }
    let refused = info(&channel(cluster.address, FIRST).await).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("127.0.0.1 holds most of them (4)"), "{}", refused.message());
    // Agents are never counted by address.
    let (first, _) = FakeAgent::join(cluster.address, register("node-1")).await;
    // One that never says which agent it is takes no place from those that do.
    let mut silent = AgentLinkClient::new(channel(cluster.address, FIRST).await);
    let silent_link = silent.link(tokio_stream::pending::<v1::AgentMessage>()).await.unwrap();
    let (second, _) = FakeAgent::join(cluster.address, register("node-2")).await;
    let refused = FakeAgent::dial(cluster.address, register("node-3")).await.next().await;
    assert!(matches!(&refused, Down::Refused(said) if said.reason.contains("all 2 places")), "{refused:?}");
    drop((silent, silent_link));
    let other = channel(cluster.address, SECOND).await;
    info(&other).await.expect("another client is taken");
    for channel in &held[..2] {
        info(channel).await.expect("those that came first stay");
    }
    drop((first, second));
    cluster.stop().await;
}

/// Sends bytes as they are, and reads none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

async fn raw(channel: Channel, method: &'static str, message: Vec<u8>) -> Status {
    let mut client = tonic::client::Grpc::new(channel).max_encoding_message_size(usize::MAX);
    client.ready().await.unwrap();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(method);
    client.unary(Request::new(Bytes::from(message)), path, Raw).await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn nonsense_is_the_callers_mistake_and_is_not_said_back_at_length() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await;
    let channel = channel(cluster.address, FIRST).await;
    for method in ["/dawn.v1.Jobs/GetJob", "/dawn.v1.Jobs/WatchJob", "/dawn.v1.Updates/RestartJob"] {
        let status = raw(channel.clone(), method, vec![0xff; 40]).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status}");
    }
    let status = raw(channel.clone(), "/dawn.v1.Jobs/SubmitJob", vec![0; 5 << 20]).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let client = Clients::new(channel.clone());
    let long = "é".repeat(200_000);
    let jobs = v1::ListJobsRequest { page_token: long.clone(), ..Default::default() };
    let tasks = v1::ListTasksRequest { page_token: long.clone(), ..Default::default() };
    let nodes = v1::ListNodesRequest { page_token: long.clone(), ..Default::default() };
    let refused = [
        client.jobs().list_jobs(jobs).await.map(|_| ()).unwrap_err(),
        client.tasks().list_tasks(tasks).await.map(|_| ()).unwrap_err(),
        client.nodes().list_nodes(nodes).await.map(|_| ()).unwrap_err(),
    ];
    for status in refused {
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("is no page token of this list"), "{status}");
        assert!(status.message().chars().count() < 200, "{status}");
    }
    // Many mistakes at once are told as far as there is room in the headers that every client takes.
    let process = v1::ProcessSpec { name: long.clone(), ..Default::default() };
    let task = v1::TaskSpec { processes: vec![process; 9], ..Default::default() };
    let spec = v1::JobSpec { task: Some(task), ..Default::default() };
    let request = v1::SubmitJobRequest { spec: Some(spec), ..Default::default() };
    let status = client.jobs().submit_job(request).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().len() < 8_000, "{} bytes", status.message().len());
    cluster.stop().await;
}
