//! Leading: under one epoch, with one journal, until told to stop or deposed.

use std::future::Future;
use std::sync::Arc;

use dawn_proto::Epoch;
use tokio::sync::{oneshot, watch};

use super::Config;
use super::hands::{Doer, OwnKey};
use crate::api::Replies;
use crate::coordinator::Coordinators;
use crate::drive::Follower;
use crate::drive::{Clock, DriveError, Gauges, Inbox, Inboxes, Journal, LiveView, Pulse, Role, Runner};
use crate::link::{Dispatcher, LinkSettings, Links};
use crate::model::State;

/// What the services look at to know where this scheduler stands.
pub struct Signs {
    pub role: watch::Sender<Role>,
    pub live: watch::Sender<Arc<LiveView>>,
    pub trouble: watch::Sender<String>,
    pub gauges: Arc<Gauges>,
}

impl Default for Signs {
    fn default() -> Self {
        let (role, _) = watch::channel(Role::Following { leader: None });
        let live = watch::Sender::new(Arc::new(LiveView::of_follower()));
        Signs { role, live, trouble: watch::Sender::default(), gauges: Arc::default() }
    }
}

/// Everything a leader needs but its journal and epoch.
pub struct Lead {
    pub config: Config,
    pub follower: Arc<Follower>,
    pub links: Arc<Links>,
    pub replies: Arc<Replies>,
    pub inbox: Inbox,
    pub inboxes: Inboxes,
    pub signs: Arc<Signs>,
    pub own_key: OwnKey,
}

/// The key of a scheduler that nobody else can lead in place of: its journal's lock is its own.
pub fn always_there() -> OwnKey {
    Arc::new(|| Box::pin(std::future::ready(Some(true))))
}

impl Lead {
    /// Goes on from `state`, which the follower has too, until `stop` resolves and all that is in flight is durable.
    ///
    /// # Errors
    /// When a batch could not be made durable, or an agent has obeyed a later leader.
    pub async fn under(
        self,
        epoch: Epoch,
        cluster_id: String,
        state: State,
        journal: impl Journal,
        clock: impl Clock,
        stop: impl Future<Output = ()>,
    ) -> Result<(), DriveError> {
        let settings = LinkSettings {
            heartbeat_interval_ms: self.config.settings.heartbeat_interval_ms,
            lease_ms: self.config.settings.agent_lease_ms,
        };
        let (step_down, stepped_down) = oneshot::channel();
        let hands = Doer {
            follower: self.follower.clone(),
            dispatcher: Dispatcher::new(self.links, self.follower, epoch, settings),
            replies: self.replies,
            own_key: self.own_key,
            inbox: self.inbox.clone(),
            coordinators: Coordinators { inbox: self.inbox, allowed: self.config.coordinators },
            step_down: Some(step_down),
        };
        let vitals = self.config.vitals;
        let pulse = Pulse::new(state, self.config.settings, self.config.pulse);
        let runner = Runner::new(pulse, journal, clock, self.inboxes);
        let runner = runner.publish_to(self.signs.live.clone()).count_in(self.signs.gauges.clone()).shown_in(vitals);
        self.signs.role.send_replace(Role::Leading);
        let led = tokio::select! {
            biased;
            led = runner.lead(epoch, cluster_id, hands, stop) => led,
            Ok(reason) = stepped_down => Err(DriveError::Outranked { reason }),
        };
        // Whoever asks until the process has ended is not told that it leads.
        self.signs.role.send_replace(Role::Following { leader: None });
        led
    }
}
