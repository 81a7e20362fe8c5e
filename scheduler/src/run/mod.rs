//! The wiring: journal, pulse, followers and services of one scheduler. The only place that names concrete edges.

mod directory;
mod folding;
mod hands;
mod health;
mod home;
mod keeper;
mod lead;
mod leaving;
mod logs;
mod overhear;
mod restore;
mod serve;
mod snapshots;
mod standby;
mod verify;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::api::{AdminService, ClientService, Reader, Replies, ServerFacts, Turns, Watches};
use crate::drive::{DriveError, Follower, Inbox, PulseSettings, Role, Vitals};
use crate::etcd::{self, EtcdConfig, EtcdError, WitnessError};
use crate::journal::{JournalSettings, OpenError};
use crate::link::{Inspections, LastWords, LinkService, Links, Tunnels};
use crate::listen::Bounds;
use crate::model::{Allowed, Settings};

pub use directory::DirectoryError;
pub use hands::OwnKey;
pub use lead::{Lead, Signs, always_there};

use health::{Teller, metrics_of};
use home::Home;
use keeper::HomeKeeper;
use leaving::{ANSWER_WITHIN, HAND_OVER_WITHIN, Leaving};
use serve::{Services, serve};
use verify::Verifier;

pub use keeper::{Place, Source};
pub use leaving::STOP_WITHIN;
pub use restore::{CuttingError, RestoreOutcome, RestoringError, check_backup, cut, restore};

/// Watches of jobs at a time.
const MOST_WATCHES: usize = 16_384;
/// Open streams get this long to end when the scheduler stops.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What a scheduler is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where agents and clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Holds the journal unless that is in etcd; made when missing.
    pub data_dir: PathBuf,
    /// With etcd, where this scheduler remembers how far it has seen the journal, so that one that went back is refused;
    /// None: it relies on what agents have seen.
    pub witness_dir: Option<PathBuf>,
    /// Any number of schedulers, of which one leads; None: the journal is in `data_dir`.
    pub etcd: Option<EtcdConfig>,
    /// Where metrics are served; None: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// host:port that others are told; None: the listening address.
    pub advertise: Option<String>,
    /// Coordinators of jobs that may be asked.
    pub coordinators: Allowed,
    pub settings: Settings,
    pub pulse: PulseSettings,
    pub journal: JournalSettings,
    /// How many connections are taken; None: as many as the process's limit of open files allows.
    pub connections: Option<Bounds>,
    /// Where it shows that it lives, and what it waits for.
    pub vitals: Arc<Vitals>,
}

impl Config {
    /// Everything else as a small cluster wants it.
    pub fn new(listen: SocketAddr, data_dir: PathBuf) -> Self {
        let (settings, pulse, journal) = Default::default();
        Config {
            listen,
            data_dir,
            witness_dir: None,
            etcd: None,
            metrics_listen: None,
            advertise: None,
            coordinators: Allowed::default(),
            settings,
            pulse,
            journal,
            connections: None,
            vitals: Arc::default(),
        }
    }
}

/// Why a scheduler did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("opening the journal")]
    Open(#[from] OpenError),
    #[error("listening on {address}; is another scheduler running there? Give another address")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("making a cluster id")]
    ClusterId(#[source] std::io::Error),
    #[error("the journal in etcd")]
    Etcd(#[from] EtcdError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Witness(#[from] WitnessError),
    #[error("a lease of {} is too short for etcd; give at least {}", dawn_proto::amounts::duration(*lease_ms), dawn_proto::amounts::duration(etcd::MIN_LEASE_MS))]
    Lease { lease_ms: u64 },
    #[error(
        "stopped, and all it decided is durable; but etcd did not end its lease, so that nobody leads for {} yet",
        dawn_proto::amounts::duration(*lease_ms)
    )]
    NotHandedOver { lease_ms: u64, source: EtcdError },
    #[error(
        "it could not be ended in order within {}; what is not durable was told to nobody",
        dawn_proto::amounts::whole_seconds(HAND_OVER_WITHIN)
    )]
    StopHangs,
    #[error("the contract built into this program can't be shown by gRPC reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("serving gRPC")]
    Serve(#[source] tonic::transport::Error),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error("a part of the scheduler panicked; its message is above")]
    Panicked,
}

/// Runs a scheduler until `shutdown` resolves, then finishes what is being written; all that within [`STOP_WITHIN`].
///
/// # Errors
/// When it can't start, or a decision could not be made durable: its memory is void then.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut shutdown = pin!(shutdown);
    let scheduler = tokio::select! {
        biased;
        started = start(config) => started?,
        // It waits for etcd, or reads a long journal: nothing was decided yet.
        () = &mut shutdown => return Ok(()),
    };
    scheduler.until(shutdown).await
}

/// A scheduler at work.
pub struct Scheduler {
    address: SocketAddr,
    links: Arc<Links>,
    replies: Arc<Replies>,
    stop_pulse: oneshot::Sender<()>,
    stop_server: oneshot::Sender<()>,
    pulse: JoinHandle<Result<(), RunError>>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    snapshots: JoinHandle<()>,
    teller: Teller,
    leaving: Arc<Leaving>,
}

/// Opens the journal, replays it and serves; leads at once, or with a journal in etcd when elected.
///
/// # Errors
/// When the journal or the address can't be opened.
pub async fn start(config: Config) -> Result<Scheduler, RunError> {
    let mut teller = Teller::start(&config).await?;
    let home = Home::open(&config).await?;
    let listen_error = |source| RunError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let advertised = config.advertise.clone().unwrap_or_else(|| address.to_string());
    let state = home.state().clone();
    let (jobs, tasks, index) = (state.jobs.len(), state.tasks.len(), state.index);
    let follower = Follower::new(state);
    let signs = Arc::new(Signs::default());
    if home.leads_alone() {
        // What comes before the pulse runs waits for it.
        signs.role.send_replace(Role::Leading);
    }
    let (links, replies, tunnels) = (Arc::<Links>::default(), Arc::<Replies>::default(), Arc::<Tunnels>::default());
    let (words, leaving) = (Arc::<LastWords>::default(), Arc::<Leaving>::default());
    let (inbox, inboxes) = Inbox::new();
    let client = ClientService {
        inbox: inbox.clone(),
        replies: replies.clone(),
        reader: Reader::new(follower.clone()),
        live: signs.live.subscribe(),
        role: signs.role.subscribe(),
        trouble: signs.trouble.subscribe(),
        logs: Arc::new(logs::AgentLogs { links: links.clone(), tunnels: tunnels.clone(), words: words.clone() }),
        watches: Watches::new(Reader::new(follower.clone()), MOST_WATCHES),
        streams: Arc::default(),
        facts: Arc::new(facts(&config, &advertised, home.name())),
    };
    let agents = LinkService {
        links: links.clone(),
        tunnels,
        inspections: Arc::<Inspections>::default(),
        words,
        inbox: inbox.clone(),
        follower: follower.clone(),
        role: signs.role.subscribe(),
        fresh_number: crate::link::by_chance(),
    };
    let admin = operators(&home, &config, &client, &agents, &leaving);
    let (stop_pulse, pulse_stopped) = oneshot::channel::<()>();
    let snapshots = home.keep_snapshots(&follower, &signs);
    teller.serves(metrics_of(&config, &client, &follower, &signs));
    let bounds = config.connections.unwrap_or_else(Bounds::of_this_process);
    let (journal, own_key) = (home.name(), lead::always_there());
    let lead =
        Lead { config, follower, links: links.clone(), replies: replies.clone(), inbox, inboxes, signs, own_key };
    let pulse = tokio::spawn(home.lead(lead, advertised, async move { _ = pulse_stopped.await }));
    let (stop_server, server) = serve(listener, Services { client, admin, agents, health: teller.service() }, bounds)?;
    tracing::info!(%address, journal, index, jobs, tasks, "dawn scheduler is ready on {address}");
    Ok(Scheduler { address, links, replies, stop_pulse, stop_server, pulse, server, snapshots, teller, leaving })
}

/// What operators ask for, of this scheduler and of the agents linked to it.
fn operators(
    home: &Home,
    config: &Config,
    client: &ClientService,
    agents: &LinkService,
    leaving: &Arc<Leaving>,
) -> AdminService {
    let (follower, source) = (agents.follower.clone(), home.source(config));
    let verifier = Arc::new(Verifier {
        follower: follower.clone(),
        source: source.clone(),
        inbox: client.inbox.clone(),
        links: agents.links.clone(),
        inspections: agents.inspections.clone(),
        role: client.role.clone(),
        live: client.live.clone(),
        trouble: client.trouble.clone(),
    });
    let address = client.facts.address.clone();
    let keeper = HomeKeeper { follower: follower.clone(), source, leaving: leaving.clone(), address, verifier };
    AdminService {
        keeper: Arc::new(keeper),
        reader: Reader::new(follower),
        clients: client.clone(),
        role: client.role.clone(),
        alone: home.leads_alone(),
        turns: Turns::default(),
    }
}

fn facts(config: &Config, address: &str, journal: &'static str) -> ServerFacts {
    let (settings, place) = (config.settings.clone(), config.pulse.place.clone());
    let coordinators = config.coordinators.clone();
    ServerFacts { address: address.to_string(), journal, settings, place, coordinators }
}

impl Scheduler {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Works on until `shutdown` resolves, it is asked to leave, or it can't go on.
    ///
    /// # Errors
    /// Why it could not go on.
    pub async fn until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let ended = tokio::select! {
            () = shutdown => None,
            () = self.leaving.asked() => None,
            led = &mut self.pulse => Some(led.map_err(|_| RunError::Panicked).and_then(|led| led)),
            served = &mut self.server => {
                return served.map_err(|_| RunError::Panicked)?.map_err(RunError::Serve);
            }
        };
        self.teller.vitals.stops();
        self.links.close_all();
        _ = self.stop_pulse.send(());
        let led = match ended {
            Some(led) => led,
            None => match tokio::time::timeout(HAND_OVER_WITHIN, &mut self.pulse).await {
                Ok(led) => led.map_err(|_| RunError::Panicked).and_then(|led| led),
                Err(_) => Err(RunError::StopHangs),
            },
        };
        self.replies.close();
        let asked = self.leaving.is_asked();
        self.leaving.ended(led.as_ref().copied().map_err(said));
        if asked {
            // One who asked it to leave is told first what came of it.
            _ = tokio::time::timeout(ANSWER_WITHIN, self.leaving.answered()).await;
        }
        _ = self.stop_server.send(());
        self.snapshots.abort();
        drop(self.teller);
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

/// An error with its causes, on one line.
fn said(error: &RunError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl RunError {
    /// A change of leader, as happens whenever etcd or a scheduler was away for a while: nothing is wrong with this one, and
    /// started again it follows.
    pub fn is_deposed(&self) -> bool {
        matches!(self, RunError::Drive(error) if error.is_deposed())
    }
}

fn cluster_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_string())
}

#[cfg(test)]
mod tests;
