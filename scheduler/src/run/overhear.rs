//! What a follower knows of the leader: who it is, by etcd, and whether it says that it waits for etcd.

use std::sync::Arc;
use std::time::Duration;

use dawn_proto::v1;
use dawn_proto::v1::admin_client::AdminClient;
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use super::lead::Signs;
use crate::drive::{Role, Vitals};
use crate::etcd::{self, Store, WAITS};

/// How often a follower asks who leads.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Every so many questions who leads, the leader itself is asked how it is.
const LISTEN_EVERY: u32 = 2;
const LISTEN_WITHIN: Duration = Duration::from_secs(1);
/// Most of what a leader says that is repeated.
const MAX_WORDS_BYTES: usize = 1_000;

/// Keeps the signs of a follower.
pub(super) struct Watch {
    pub store: Store,
    pub signs: Arc<Signs>,
    /// Why this scheduler can't stand for election.
    pub own_trouble: watch::Receiver<String>,
    /// Whether the leader says that it waits for etcd: candidates then show whether they can write.
    pub leader_waits: watch::Sender<bool>,
    pub vitals: Arc<Vitals>,
}

impl Watch {
    /// Tells the services whom to name, and what holds up writes as far as it can be told. Ends when it is dropped.
    pub async fn keep(self) {
        let mut line: Option<(String, AdminClient<Channel>)> = None;
        let mut heard = String::new();
        for turn in 0u32.. {
            let asked = etcd::leader(&self.store).await;
            self.vitals.etcd_answered(asked.as_ref().map(|_| ()).map_err(ToString::to_string));
            let leader = asked.as_ref().ok().cloned().flatten();
            if line.as_ref().map(|(address, _)| address) != leader.as_ref() {
                line = leader.clone().and_then(|address| Some((address.clone(), dial(&address)?)));
                heard.clear();
            }
            if turn % LISTEN_EVERY == 0
                && let Some((address, client)) = &mut line
            {
                heard = listen(address, client).await;
            }
            let waits = !heard.is_empty();
            self.leader_waits.send_if_modified(|told| std::mem::replace(told, waits) != waits);
            self.tell(asked.err().map(|error| format!("{WAITS}{error}")), leader, &heard);
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn tell(&self, asked: Option<String>, leader: Option<String>, heard: &str) {
        let own = self.own_trouble.borrow().clone();
        let known = [asked.unwrap_or_default(), own, heard.to_string()];
        let trouble = known.into_iter().find(|words| !words.is_empty()).unwrap_or_default();
        self.signs.trouble.send_if_modified(|told| {
            let changed = *told != trouble;
            *told = trouble;
            changed
        });
        self.signs.role.send_if_modified(|role| {
            let now = Role::Following { leader };
            let changed = !role.is_leading() && *role != now;
            if changed {
                *role = now;
            }
            changed
        });
    }
}

fn dial(address: &str) -> Option<AdminClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    Some(AdminClient::new(endpoint.connect_timeout(LISTEN_WITHIN).connect_lazy()))
}

/// What the leader says of its own waiting; empty when it says nothing of the kind, or nothing at all.
async fn listen(address: &str, client: &mut AdminClient<Channel>) -> String {
    let asked = client.get_server_info(v1::GetServerInfoRequest {});
    let Ok(Ok(info)) = tokio::time::timeout(LISTEN_WITHIN, asked).await else { return String::new() };
    let info = info.into_inner();
    let waits = info.troubles.into_iter().find(|trouble| trouble.starts_with(WAITS));
    let Some(mut words) = waits.filter(|_| info.leader) else { return String::new() };
    words.truncate(words.floor_char_boundary(MAX_WORDS_BYTES));
    format!("the leader at {address} {words}")
}
