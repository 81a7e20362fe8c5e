//! The services of the contract on one port, with the bounds of a connection, and reflection, by which tools that know nothing
//! of Dawn (grpcurl, for instance) list services and call them.

use std::time::Duration;

use dawn_proto::v1::admin_server::AdminServer;
use dawn_proto::v1::agent_link_server::AgentLinkServer;
use dawn_proto::v1::cron_server::CronServer;
use dawn_proto::v1::jobs_server::JobsServer;
use dawn_proto::v1::nodes_server::NodesServer;
use dawn_proto::v1::quotas_server::QuotasServer;
use dawn_proto::v1::reach_server::ReachServer;
use dawn_proto::v1::tasks_server::TasksServer;
use dawn_proto::v1::updates_server::UpdatesServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::api::{self, AdminService, ClientService, ReachService, WatchFront};
use crate::link::{self, LinkService};
use crate::listen::{self, Bounds, Door, Places};

/// A connection that answers no ping within these two is dropped.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Requests and streams of one connection at a time; more wait at the client.
const STREAMS_A_CONNECTION: u32 = 1_024;
/// Ends when serving does.
pub type Serving = JoinHandle<Result<(), tonic::transport::Error>>;

/// What answers behind the one port.
pub struct Services<H: Health> {
    pub client: ClientService,
    pub admin: AdminService,
    pub agents: LinkService,
    pub health: HealthServer<H>,
}

/// Serves until the sender is used or dropped.
///
/// # Errors
/// When the contract that reflection shows can't be read, which is a fault of the build.
pub fn serve<H: Health>(
    listener: TcpListener,
    services: Services<H>,
    bounds: Bounds,
) -> Result<(oneshot::Sender<()>, Serving), tonic_reflection::server::Error> {
    let Services { client, admin, agents, health } = services;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(dawn_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let reach = ReachServer::new(ReachService(client.clone())).max_decoding_message_size(api::MAX_REQUEST_BYTES);
    // A job of many instances comes with all its tasks.
    let jobs = JobsServer::new(client.clone())
        .max_decoding_message_size(api::MAX_REQUEST_BYTES)
        .max_encoding_message_size(usize::MAX);
    let jobs = WatchFront { inner: jobs, client: client.clone() };
    let tasks = TasksServer::new(client.clone()).max_decoding_message_size(api::MAX_REQUEST_BYTES);
    let cron = CronServer::new(client.clone()).max_decoding_message_size(api::MAX_REQUEST_BYTES);
    let nodes = NodesServer::new(client.clone()).max_decoding_message_size(api::MAX_REQUEST_BYTES);
    let quotas = QuotasServer::new(client.clone()).max_decoding_message_size(api::MAX_REQUEST_BYTES);
    let updates = UpdatesServer::new(client).max_decoding_message_size(api::MAX_REQUEST_BYTES);
    let agents = AgentLinkServer::new(agents).max_decoding_message_size(link::MAX_MESSAGE_BYTES);
    let router = Server::builder()
        .http2_max_header_list_size(Some(MAX_HEADER_BYTES))
        .max_concurrent_streams(Some(STREAMS_A_CONNECTION))
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PONG_WITHIN))
        .add_service(Door(health))
        .add_service(Door(reflection))
        .add_service(Door(reach))
        .add_service(Door(jobs))
        .add_service(Door(tasks.max_encoding_message_size(usize::MAX)))
        .add_service(Door(cron.max_encoding_message_size(usize::MAX)))
        .add_service(Door(nodes.max_encoding_message_size(usize::MAX)))
        .add_service(Door(quotas.max_encoding_message_size(usize::MAX)))
        .add_service(Door(updates.max_encoding_message_size(usize::MAX)))
        .add_service(Door(AdminServer::new(admin).max_encoding_message_size(usize::MAX)))
        .add_service(Door(agents.max_encoding_message_size(usize::MAX)));
    let incoming = listen::incoming(listener, Places::new(bounds));
    let serving = router.serve_with_incoming_shutdown(incoming, async move { _ = stopped.await });
    Ok((stop, tokio::spawn(serving)))
}
