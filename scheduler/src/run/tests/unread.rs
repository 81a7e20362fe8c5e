//! Clients that do not read their answers, or do not say all that they began to: what is kept for them is bounded in
//! number, bytes and time, and goes to others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dawn_proto::v1;
use prost::Message;
use prost::bytes::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::clients::{FIRST, Raw, SECOND, info};
use super::{Cluster, DEADLINE, config, key, service};
use crate::listen::Bounds;

/// With a job whose status has 400 KiB.
async fn cluster(dir: &tempfile::TempDir, bounds: Bounds) -> Cluster {
    let mut config = config(dir.path());
    config.connections = Some(bounds);
    let mut cluster = Cluster::start_with(config).await;
    let mut spec = service(1);
    for process in 0..4 {
        let process =
            v1::ProcessSpec { name: format!("p{process}"), shell: "x".repeat(100 << 10), ..Default::default() };
        spec.task.as_mut().unwrap().processes.push(process);
    }
    cluster.submit(spec).await;
    cluster
}

fn bounds() -> Bounds {
    Bounds::of(1_024)
}

/// A client that takes little of what it does not read.
async fn narrow(to: SocketAddr, from: [u8; 4]) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap().local_address(Some(IpAddr::from(from)));
    endpoint.initial_stream_window_size(1_024).connect().await.unwrap()
}

type Unread = Streaming<()>;

/// Asks for the job, and reads nothing of the answer but that there is one.
async fn ask(channel: &Channel) -> Result<Unread, Status> {
    let request = v1::GetJobRequest { key: Some(key()), version: 0 }.encode_to_vec();
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/dawn.v1.Jobs/GetJob");
    let answer = client.server_streaming(Request::new(Bytes::from(request)), path, Raw).await;
    answer.map(tonic::Response::into_inner)
}

/// Whatever is left of it, and how it ends.
async fn end(unread: &mut Unread) -> Result<(), Status> {
    let read = async {
        while unread.message().await?.is_some() {}
        Ok(())
    };
    tokio::time::timeout(DEADLINE, read).await.expect("it ends")
}

async fn eventually<T>(mut ask: impl AsyncFnMut() -> Result<T, Status>) -> T {
    let asked = async {
        loop {
            if let Ok(found) = ask().await {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.expect("nothing is free")
}

#[tokio::test]
async fn an_answer_has_its_place_until_it_is_read_and_loses_it_to_another_address() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(&dir, Bounds { requests: 4, ..bounds() }).await;
    let mut unread = Vec::new();
    let mut channels = Vec::new();
    for _ in 0..4 {
        let channel = narrow(cluster.address, FIRST).await;
        unread.push(ask(&channel).await.unwrap());
        channels.push(channel);
    }
    let refused = info(&channels[0]).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("all 4 requests being answered are taken"), "{refused}");
    info(&narrow(cluster.address, SECOND).await).await.expect("another address is answered");
    // The connection of the newest is closed: nothing else takes back what it does not read.
    let closed = eventually(async || match info(&channels[3]).await {
        Err(status) if status.code() != Code::ResourceExhausted => Ok(status),
        _ => Err(Status::unavailable("it lives")),
    });
    closed.await;
    end(&mut unread[3]).await.unwrap_err();
    end(&mut unread[0]).await.expect("the others are whole");
    eventually(async || info(&channels[0]).await).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_on_ends() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(&dir, Bounds { requests: 1, move_within: Duration::from_millis(300), ..bounds() }).await;
    let silent = narrow(cluster.address, FIRST).await;
    let mut unread = ask(&silent).await.unwrap();
    let other = narrow(cluster.address, FIRST).await;
    assert_eq!(info(&other).await.unwrap_err().code(), Code::ResourceExhausted);
    eventually(async || info(&other).await).await;
    end(&mut unread).await.unwrap_err();
    cluster.stop().await;
}

#[tokio::test]
async fn answers_that_are_not_read_are_bounded_in_bytes_in_all() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(&dir, Bounds { answer_bytes: 1 << 20, ..bounds() }).await;
    let channels = [narrow(cluster.address, FIRST).await, narrow(cluster.address, FIRST).await];
    let mut unread = [ask(&channels[0]).await.unwrap(), ask(&channels[1]).await.unwrap()];
    let third = narrow(cluster.address, FIRST).await;
    let refused = end(&mut ask(&third).await.unwrap()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("bytes of answers that were not read yet"), "{refused}");
    info(&third).await.expect("what is small is answered");
    let other = narrow(cluster.address, SECOND).await;
    end(&mut ask(&other).await.unwrap()).await.expect("another address is answered");
    end(&mut unread[0]).await.expect("the first is whole");
    cluster.stop().await;
}

/// Begins a request of so many bytes, and never ends it.
async fn upload(channel: Channel, bytes: usize) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/dawn.v1.Jobs/SubmitJob");
    let request = v1::SubmitJobRequest { author: "a".repeat(bytes), ..Default::default() }.encode_to_vec();
    let messages = futures_util::StreamExt::chain(tokio_stream::once(Bytes::from(request)), tokio_stream::pending());
    let answer = client.client_streaming(Request::new(messages), path, Raw);
    let answer = tokio::time::timeout(DEADLINE, answer).await.expect("it ends");
    answer.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn a_request_comes_whole_within_some_time_and_few_large_ones_come_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { large_requests: 2, move_within: Duration::from_secs(3), ..bounds() };
    let cluster = cluster(&dir, bounds).await;
    let channel = narrow(cluster.address, FIRST).await;
    let small = tokio::spawn(upload(channel.clone(), 1 << 10));
    let large: Vec<_> = (0..4).map(|_| tokio::spawn(upload(channel.clone(), 100 << 10))).collect();
    let mut codes = Vec::new();
    for upload in large {
        let status = upload.await.unwrap();
        let words = match status.code() {
            Code::ResourceExhausted => "all 2 large requests being received are taken",
            _ => "did not come whole within 3s; nothing was done",
        };
        assert!(status.message().contains(words), "{status}");
        codes.push(status.code());
    }
    codes.sort_by_key(|code| i32::from(*code));
    use Code::{DeadlineExceeded, ResourceExhausted};
    assert_eq!(codes, [DeadlineExceeded, DeadlineExceeded, ResourceExhausted, ResourceExhausted]);
    assert_eq!(small.await.unwrap().code(), DeadlineExceeded);
    info(&channel).await.expect("the connection is as it was");
    cluster.stop().await;
}
