//! A whole scheduler tells of its health, by HTTP and by gRPC, to real clients: one that works, one that is wedged, one
//! that waits for etcd.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use dawn_proto::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::super::start;
use super::{DEADLINE, config, service};
use crate::drive::Vitals;
use crate::etcd::EtcdConfig;
use crate::etcd::fixture::etcd;

const WEDGED_AFTER: Duration = Duration::from_secs(2);
/// Wedged only after a while, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(60);

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Status and body.
async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.trim().to_string()))
}

async fn until_page(address: SocketAddr, path: &str, status: u16, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = get(address, path).await;
        if page.as_ref().is_some_and(|(found, body)| *found == status && body.contains(words)) {
            return;
        }
        assert!(Instant::now() < deadline, "{path}: wanted {status} {words:?}, have {page:?}");
        tokio::task::yield_now().await;
    }
}

async fn health_client(address: SocketAddr) -> HealthClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

async fn served(address: SocketAddr, service: &str) -> Result<ServingStatus, Code> {
    let checked = health_client(address).await.check(HealthCheckRequest { service: service.into() }).await;
    checked.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

async fn until_served(address: SocketAddr, service: &str, wanted: ServingStatus) {
    let deadline = Instant::now() + PATIENCE;
    while served(address, service).await != Ok(wanted) {
        assert!(Instant::now() < deadline, "{service:?}: wanted {wanted:?}, have {:?}", served(address, service).await);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wedged_scheduler_is_told_from_one_that_works_by_http_and_grpc() {
    let (dir, metrics) = (tempfile::tempdir().unwrap(), free_address());
    let mut config = config(dir.path());
    (config.metrics_listen, config.vitals) = (Some(metrics), Arc::new(Vitals::wedged_after(WEDGED_AFTER)));
    let scheduler = start(config).await.unwrap();
    let (address, follower) = (scheduler.address(), scheduler.teller.sources.get().unwrap().follower.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(scheduler.until(async move { _ = stopped.await }));
    until_page(metrics, "/readyz", 200, "ok").await;
    assert_eq!(get(metrics, "/livez").await, Some((200, "ok".into())));
    for service in ["", "dawn.v1.Jobs", "dawn.v1.Updates", "dawn.v1.AgentLink"] {
        until_served(address, service, ServingStatus::Serving).await;
    }
    assert_eq!(served(address, "dawn.v1.Nothing").await, Err(Code::NotFound));

    // A reader that never ends: what is durable can't be applied, nor anybody be answered.
    let (release, released) = blocking::channel::<()>();
    let reader = std::thread::spawn(move || follower.read(|_| released.recv()));
    let client = super::connect(address).await;
    let request = v1::SubmitJobRequest { spec: Some(service(1)), author: "ann".into(), message: String::new() };
    let submitted = tokio::spawn(async move { client.jobs().submit_job(request).await });
    until_page(metrics, "/livez", 503, "the part that carries out decisions has not turned for").await;
    until_page(metrics, "/readyz", 503, "has not turned for").await;
    until_served(address, "", ServingStatus::NotServing).await;
    until_served(address, "dawn.v1.AgentLink", ServingStatus::NotServing).await;
    release.send(()).unwrap();
    reader.join().unwrap().unwrap();
    submitted.await.unwrap().unwrap();
    until_page(metrics, "/livez", 200, "ok").await;
    until_served(address, "", ServingStatus::Serving).await;

    let mut watch = health_client(address).await.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    stop.send(()).unwrap();
    tokio::time::timeout(DEADLINE, running).await.unwrap().unwrap().unwrap();
    assert_eq!(get(metrics, "/livez").await, None, "nobody serves any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_waits_for_etcd_lives_and_says_what_it_waits_for() {
    let (dir, metrics, nobody) = (tempfile::tempdir().unwrap(), free_address(), free_address());
    let mut config = config(dir.path());
    let endpoints = vec![format!("http://{nobody}")];
    config.etcd = Some(EtcdConfig { endpoints, prefix: "dawn".into(), user: None, tls: None, lease_ms: 5_000 });
    (config.metrics_listen, config.vitals) = (Some(metrics), Arc::new(Vitals::wedged_after(WEDGED_AFTER)));
    let starting = tokio::spawn(async move { start(config).await.map(|_| ()) });
    until_page(metrics, "/readyz", 503, &format!("etcd at http://{nobody} does not answer")).await;
    let until = Instant::now() + WEDGED_AFTER * 2;
    while Instant::now() < until {
        assert_eq!(get(metrics, "/livez").await, Some((200, "ok".into())));
    }
    // It is no target that is down.
    let (code, page) = get(metrics, "/metrics").await.unwrap();
    assert_eq!(code, 200, "{page}");
    for figure in ["dawn_scheduler_leading 0", "dawn_scheduler_journal_trouble 1", "dawn_scheduler_start_time_seconds "]
    {
        assert!(page.contains(figure), "{page}");
    }
    assert!(get(metrics, "/endpoints").await.unwrap().1.contains("the scheduler is starting"));
    starting.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_is_ready_for_reads_until_etcd_is_gone_and_lives_on_without_it() {
    let Some(etcd) = etcd() else { return };
    let (dir, metrics) = (tempfile::tempdir().unwrap(), free_address());
    let mut leading = config(&dir.path().join("leader"));
    leading.etcd = Some(etcd.config.clone());
    let mut following = config(&dir.path().join("follower"));
    following.etcd = Some(etcd.config.clone());
    (following.metrics_listen, following.vitals) = (Some(metrics), Arc::new(Vitals::wedged_after(WEDGED_AFTER)));
    let leader_vitals = leading.vitals.clone();
    let leader = tokio::spawn(start(leading).await.unwrap().until(std::future::pending()));
    let deadline = Instant::now() + PATIENCE;
    while leader_vitals.health().doing != "leads" {
        assert!(Instant::now() < deadline, "{:?}", leader_vitals.health());
        tokio::task::yield_now().await;
    }
    let follower = start(following).await.unwrap();
    let address = follower.address();
    let follower = tokio::spawn(follower.until(std::future::pending()));
    until_page(metrics, "/readyz", 200, "ok").await;
    until_served(address, "dawn.v1.Jobs", ServingStatus::Serving).await;
    until_served(address, "dawn.v1.AgentLink", ServingStatus::NotServing).await;
    drop(etcd);
    until_page(metrics, "/readyz", 503, "does not answer").await;
    until_served(address, "dawn.v1.Jobs", ServingStatus::NotServing).await;
    let until = Instant::now() + WEDGED_AFTER * 2;
    while Instant::now() < until {
        assert_eq!(get(metrics, "/livez").await, Some((200, "ok".into())));
    }
    leader.abort();
    follower.abort();
}
