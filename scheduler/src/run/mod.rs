//! The wiring: journal, pulse, followers and services of one scheduler. The only place that names concrete edges.

mod hands;
mod logs;
mod snapshots;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dawn_proto::Epoch;
use dawn_proto::v1::agent_link_server::AgentLinkServer;
use dawn_proto::v1::scheduler_server::SchedulerServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::api::{self, ClientService, Replies, ServerFacts};
use crate::drive::{DriveError, Inbox, Pulse, PulseSettings, Runner, SystemClock};
use crate::journal::{Embedded, JournalSettings, OpenError};
use crate::link::{self, Dispatcher, LinkService, LinkSettings, Links, Tunnels};
use crate::model::Settings;
use crate::reads::Follower;

/// A connection that answers no ping within these two is dropped.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Open streams get this long to end when the scheduler stops.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What a scheduler is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where agents and clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Holds the journal; made when missing.
    pub data_dir: PathBuf,
    /// host:port that others are told; None: the listening address.
    pub advertise: Option<String>,
    pub settings: Settings,
    pub pulse: PulseSettings,
    pub journal: JournalSettings,
}

impl Config {
    /// Everything else as a small cluster wants it.
    pub fn new(listen: SocketAddr, data_dir: PathBuf) -> Self {
        let (settings, pulse, journal) = Default::default();
        Config { listen, data_dir, advertise: None, settings, pulse, journal }
    }
}

/// Why a scheduler did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("opening the journal")]
    Open(#[from] OpenError),
    #[error("listening on {address}; is another scheduler running there? Give another --listen")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("making a cluster id")]
    ClusterId(#[source] std::io::Error),
    #[error("serving gRPC")]
    Serve(#[source] tonic::transport::Error),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error("a part of the scheduler panicked; its message is above")]
    Panicked,
}

/// Runs a scheduler until `shutdown` resolves, then finishes what is being written.
///
/// # Errors
/// When it can't start, or a decision could not be made durable: its memory is void then.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    start(config).await?.until(shutdown).await
}

/// A scheduler at work.
pub struct Scheduler {
    address: SocketAddr,
    links: Arc<Links>,
    replies: Arc<Replies>,
    stop_pulse: oneshot::Sender<()>,
    stop_server: oneshot::Sender<()>,
    pulse: JoinHandle<Result<(), DriveError>>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    snapshots: JoinHandle<()>,
}

/// Opens the journal, replays it, begins an epoch and serves.
///
/// # Errors
/// When the journal or the address can't be opened.
pub async fn start(config: Config) -> Result<Scheduler, RunError> {
    let data_dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&data_dir, config.journal)).await;
    let (journal, state) = opened.map_err(|_| RunError::Panicked)??;
    let listen_error = |source| RunError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let epoch = Epoch(state.epoch.0 + 1);
    let (jobs, tasks, index) = (state.jobs.len(), state.tasks.len(), state.index);

    let follower = Follower::new(state.clone());
    let snapshots = tokio::spawn(snapshots::keep(journal.snapshots(), journal.snapshot_due(), follower.clone()));
    let links = Arc::new(Links::default());
    let replies = Arc::new(Replies::default());
    let (inbox, inboxes) = Inbox::new();
    let link_settings = LinkSettings {
        heartbeat_interval_ms: config.settings.heartbeat_interval_ms,
        lease_ms: config.settings.agent_lease_ms,
    };
    let hands = hands::Doer {
        follower: follower.clone(),
        dispatcher: Dispatcher::new(links.clone(), follower.clone(), epoch, link_settings),
        replies: replies.clone(),
    };
    let pulse = Pulse::new(state, config.settings.clone(), config.pulse.clone());
    let runner = Runner::new(pulse, journal, SystemClock::default(), inboxes);
    let (stop_pulse, pulse_stopped) = oneshot::channel::<()>();
    let tunnels = Arc::new(Tunnels::default());
    let client = ClientService {
        inbox: inbox.clone(),
        replies: replies.clone(),
        follower: follower.clone(),
        live: runner.live(),
        logs: Arc::new(logs::AgentLogs { links: links.clone(), tunnels: tunnels.clone() }),
        facts: Arc::new(ServerFacts {
            address: config.advertise.clone().unwrap_or_else(|| address.to_string()),
            journal: "embedded",
            settings: config.settings.clone(),
            place: config.pulse.place.clone(),
        }),
    };
    let agents = LinkService { links: links.clone(), tunnels, inbox, follower };
    let stop = async move { _ = pulse_stopped.await };
    let pulse = tokio::spawn(runner.lead(epoch, cluster_id().map_err(RunError::ClusterId)?, hands, stop));
    let (stop_server, server) = serve(listener, client, agents);
    let dir = config.data_dir.display();
    tracing::info!(%address, %epoch, data_dir = %dir, index, jobs, tasks, "dawn scheduler is ready on {address}");
    Ok(Scheduler { address, links, replies, stop_pulse, stop_server, pulse, server, snapshots })
}

type Serving = JoinHandle<Result<(), tonic::transport::Error>>;

fn serve(listener: TcpListener, client: ClientService, agents: LinkService) -> (oneshot::Sender<()>, Serving) {
    let (stop, stopped) = oneshot::channel::<()>();
    let client = SchedulerServer::new(client).max_decoding_message_size(api::MAX_REQUEST_BYTES);
    let agents = AgentLinkServer::new(agents).max_decoding_message_size(link::MAX_MESSAGE_BYTES);
    let router = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PONG_WITHIN))
        .add_service(client.max_encoding_message_size(usize::MAX))
        .add_service(agents.max_encoding_message_size(usize::MAX));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = router.serve_with_incoming_shutdown(incoming, async move { _ = stopped.await });
    (stop, tokio::spawn(serving))
}

impl Scheduler {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Works on until `shutdown` resolves or it can't go on.
    ///
    /// # Errors
    /// Why it could not go on.
    pub async fn until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let ended = tokio::select! {
            () = shutdown => None,
            led = &mut self.pulse => Some(led.map_err(|_| RunError::Panicked).and_then(|led| Ok(led?))),
            served = &mut self.server => {
                return served.map_err(|_| RunError::Panicked)?.map_err(RunError::Serve);
            }
        };
        self.links.close_all();
        _ = self.stop_pulse.send(());
        let led = match ended {
            Some(led) => led,
            None => self.pulse.await.map_err(|_| RunError::Panicked).and_then(|led| Ok(led?)),
        };
        self.replies.close();
        _ = self.stop_server.send(());
        self.snapshots.abort();
        if tokio::time::timeout(CLOSE_WITHIN, &mut self.server).await.is_err() {
            // Streams that clients hold open: watches, followed logs.
            self.server.abort();
        }
        if led.is_ok() {
            tracing::info!("dawn scheduler stopped; everything decided is durable");
        }
        led
    }
}

fn cluster_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_string())
}

#[cfg(test)]
mod tests;
