//! A way to etcd that can refuse writes and nothing else: what is said goes on, call by call.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};

/// The gate; what it lets through goes to one etcd.
pub(super) struct Gate {
    pub address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Gate {
    pub async fn before(etcd: &str) -> Gate {
        let channel = Channel::from_shared(etcd.to_string()).unwrap().connect_lazy();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closed = Arc::<AtomicBool>::default();
        let way = Way { channel, closed: closed.clone() };
        let services = Server::builder()
            .add_service(Kv(way.clone()))
            .add_service(Lease(way.clone()))
            .add_service(Watch(way.clone()))
            .add_service(Maintenance(way.clone()))
            .add_service(Election(way));
        tokio::spawn(services.serve_with_incoming(TcpIncoming::from(listener)));
        Gate { address, closed }
    }

    /// Every write is answered as a member does that has lost its place in the cluster.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Way {
    channel: Channel,
    closed: Arc<AtomicBool>,
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Way {
    fn pass(&self, request: http::Request<Body>) -> Answering {
        let (mut channel, closed) = (self.channel.clone(), self.closed.clone());
        Box::pin(async move {
            let path = request.uri().path();
            let is_write = path.ends_with("KV/Txn") || path.ends_with("KV/Put");
            if is_write && closed.load(Ordering::Relaxed) {
                return Ok(tonic::Status::unavailable("etcdserver: request timed out").into_http());
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
