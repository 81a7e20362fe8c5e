//! A way to etcd that can refuse or swallow writes and nothing else: what is said goes on, call by call.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Collected, Full};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};

/// The gate; what it lets through goes to one etcd.
pub(super) struct Gate {
    pub address: SocketAddr,
    mode: Arc<AtomicU8>,
}

/// Every write passes.
const OPEN: u8 = 0;
/// Every write is answered as a member does that has lost its place in the cluster.
const CLOSED: u8 = 1;
/// No write is ever answered.
const SILENT: u8 = 2;
/// No write that is larger than [`SMALL_BYTES`] is ever answered.
const NARROW: u8 = 3;
const SMALL_BYTES: usize = 16 << 10;

impl Gate {
    pub async fn before(etcd: &str) -> Gate {
        let channel = Channel::from_shared(etcd.to_string()).unwrap().connect_lazy();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(AtomicU8::new(OPEN));
        let way = Way { channel, mode: mode.clone() };
        let services = Server::builder()
            .add_service(Kv(way.clone()))
            .add_service(Lease(way.clone()))
            .add_service(Watch(way.clone()))
            .add_service(Maintenance(way.clone()))
            .add_service(Election(way));
        tokio::spawn(services.serve_with_incoming(TcpIncoming::from(listener)));
        Gate { address, mode }
    }

    pub fn close(&self) {
        self.mode.store(CLOSED, Ordering::Relaxed);
    }

    pub fn swallow(&self) {
        self.mode.store(SILENT, Ordering::Relaxed);
    }

    pub fn narrow(&self) {
        self.mode.store(NARROW, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Way {
    channel: Channel,
    mode: Arc<AtomicU8>,
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Way {
    fn pass(&self, mut request: http::Request<Body>) -> Answering {
        let (mut channel, mode) = (self.channel.clone(), self.mode.clone());
        Box::pin(async move {
            let path = request.uri().path();
            let is_write = path.ends_with("KV/Txn") || path.ends_with("KV/Put");
            let mode = if is_write { mode.load(Ordering::Relaxed) } else { OPEN };
            if mode == CLOSED {
                return Ok(tonic::Status::unavailable("etcdserver: request timed out").into_http());
            }
            if mode != OPEN {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
                if mode == SILENT || body.len() > SMALL_BYTES {
                    return std::future::pending().await;
                }
                request = http::Request::from_parts(head, Body::new(Full::new(body)));
            }
            let sent = async {
                std::future::poll_fn(|context| channel.poll_ready(context)).await?;
                channel.call(request).await
            };
            Ok(sent.await.unwrap_or_else(|error| tonic::Status::unavailable(error.to_string()).into_http()))
        })
    }
}

macro_rules! service {
    ($name:ident, $path:literal) => {
        #[derive(Clone)]
        struct $name(Way);

        impl NamedService for $name {
            const NAME: &'static str = $path;
        }

        impl Service<http::Request<Body>> for $name {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Answering;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Answering {
                self.0.pass(request)
            }
        }
    };
}

service!(Kv, "etcdserverpb.KV");
service!(Lease, "etcdserverpb.Lease");
service!(Watch, "etcdserverpb.Watch");
service!(Maintenance, "etcdserverpb.Maintenance");
service!(Election, "v3electionpb.Election");
