//! Where a scheduler tells of its health: by HTTP beside its metrics, from before its journal is open on, and by gRPC.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dawn_proto::v1::agent_link_server::AgentLinkServer;
use dawn_proto::v1::cron_server::CronServer;
use dawn_proto::v1::jobs_server::JobsServer;
use dawn_proto::v1::nodes_server::NodesServer;
use dawn_proto::v1::quotas_server::QuotasServer;
use dawn_proto::v1::tasks_server::TasksServer;
use dawn_proto::v1::updates_server::UpdatesServer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

use super::lead::Signs;
use super::{Config, RunError};
use crate::api::ClientService;
use crate::drive::{Clock, Follower, SystemClock, Vitals};
use crate::link::LinkService;
use crate::metrics::{self, Sources};

/// What a ready scheduler serves; the empty name is the whole of it.
const OF_CLIENTS: [&str; 7] = [
    "",
    <JobsServer<ClientService> as NamedService>::NAME,
    <TasksServer<ClientService> as NamedService>::NAME,
    <CronServer<ClientService> as NamedService>::NAME,
    <NodesServer<ClientService> as NamedService>::NAME,
    <QuotasServer<ClientService> as NamedService>::NAME,
    <UpdatesServer<ClientService> as NamedService>::NAME,
];
/// How often what gRPC tells is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What tells of the health. Dropped, nothing does any more.
pub(super) struct Teller {
    pub sources: Arc<OnceLock<Sources>>,
    pub vitals: Arc<Vitals>,
    serving: JoinSet<()>,
}

impl Teller {
    /// Serves on the address of the metrics, if there is one.
    pub async fn start(config: &Config) -> Result<Teller, RunError> {
        let (sources, vitals) = (Arc::<OnceLock<Sources>>::default(), config.vitals.clone());
        let mut serving = JoinSet::new();
        if let Some(address) = config.metrics_listen {
            let listener = TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })?;
            let (sources, vitals, started) = (sources.clone(), vitals.clone(), SystemClock::default().now().wall);
            serving.spawn(metrics::serve(listener, move |uri| {
                match (metrics::health_page(&vitals, uri), sources.get()) {
                    (Some(page), _) => page,
                    (None, Some(sources)) => metrics::answer(sources, uri),
                    (None, None) => metrics::answer_while_starting(&vitals, started, uri),
                }
            }));
        }
        Ok(Teller { sources, vitals, serving })
    }

    /// The journal is open.
    pub fn serves(&mut self, sources: Sources) {
        self.vitals.serves(sources.role.clone(), sources.trouble.clone());
        // Once for each start.
        _ = self.sources.set(sources);
    }

    /// The gRPC service. The empty name and the clients' service stand for readiness; the agents' is served by a leader.
    pub fn service(&mut self) -> HealthServer<impl Health> {
        let (reporter, service) = health_reporter();
        self.serving.spawn(report(self.vitals.clone(), reporter));
        service
    }
}

/// What the figures are made of.
pub(super) fn metrics_of(config: &Config, client: &ClientService, follower: &Arc<Follower>, signs: &Signs) -> Sources {
    let embedded = config.etcd.is_none().then_some(&config.data_dir);
    Sources {
        data_dir: embedded.or(config.witness_dir.as_ref()).cloned(),
        vitals: config.vitals.clone(),
        started: SystemClock::default().now().wall,
        gauges: signs.gauges.clone(),
        inbox: client.inbox.clone(),
        follower: follower.clone(),
        role: signs.role.subscribe(),
        trouble: signs.trouble.subscribe(),
        live: signs.live.subscribe(),
        settings: config.settings.clone(),
        sla: crate::api::job_sla,
        endpoints: |state, key| crate::api::list_endpoints(state, key).ok(),
    }
}

async fn report(vitals: Arc<Vitals>, reporter: HealthReporter) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        look.tick().await;
        let health = vitals.health();
        let ready = health.waits_for.is_none();
        let now = (ready, ready && health.leads);
        if told.replace(now) == Some(now) {
            continue;
        }
        let status = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in OF_CLIENTS {
            reporter.set_service_status(name, status(ready)).await;
        }
        reporter.set_service_status(<AgentLinkServer<LinkService> as NamedService>::NAME, status(now.1)).await;
    }
}
