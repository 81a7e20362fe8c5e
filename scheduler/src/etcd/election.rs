//! Leader election in etcd: a lease, a campaign, and what ends it.
//!
//! etcd's election alone does not keep a paused leader from writing; the guard of every append and the epoch in every
//! order to an agent do (DESIGN: the fence). This file only says who should try. Not here: renewals (`renewal`).

use std::time::Duration;

use etcd_client::Client;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::{EtcdError, classify};
use super::members::Again;
use super::proof::keep_proving;
use super::renewal::{Confirmer, Renewal, keep_alive};
use super::store::{EtcdConfig, Store};
use super::trial::trial;
use dawn_proto::Epoch;

/// etcd's own shortest lease; shorter ones are refused at start.
pub const MIN_LEASE_MS: u64 = 2_000;

/// Between two tries to stand for election.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Between two trials of the largest transaction, once etcd has refused one.
const TRIAL_AFTER: Duration = Duration::from_secs(5);
/// So long etcd is asked to end a lease.
const REVOKE_WITHIN: Duration = Duration::from_secs(5);

/// This scheduler was elected.
pub struct Leadership {
    /// The election key's create revision: grows from leader to leader.
    pub epoch: Epoch,
    /// The election key; while it lives nobody else leads.
    pub key: Vec<u8>,
    /// Turns true once, when the lease is lost or can't be renewed in time.
    pub lost: watch::Receiver<bool>,
    /// Nobody else leads before, by our own clock. Nothing is decided after it, whether the loss was told yet or not.
    pub good_until: watch::Receiver<Instant>,
    pub(super) confirmer: Confirmer,
    pub(super) lease: i64,
    pub(super) life: Duration,
    store: Store,
}

/// A scheduler that stands for election.
pub struct Candidate {
    store: Store,
    life: Duration,
    /// What others are told to try.
    address: String,
    /// The leader says that it can't write: others show whether they can.
    leader_waits: watch::Receiver<bool>,
    trouble: watch::Sender<String>,
    lease: Option<i64>,
    tried: bool,
}

/// Waits until this scheduler is elected, whatever another leader says of itself.
///
/// # Errors
/// As [`Candidate::win`].
pub async fn campaign(store: &Store, config: &EtcdConfig, address: &str) -> Result<Leadership, EtcdError> {
    let leader_waits = watch::Sender::new(false);
    Candidate::new(store, config, address, leader_waits.subscribe()).win().await
}

impl Candidate {
    /// `leader_waits`: whether the leader says that it waits for etcd.
    pub fn new(store: &Store, config: &EtcdConfig, address: &str, leader_waits: watch::Receiver<bool>) -> Candidate {
        Candidate {
            store: store.clone(),
            life: Duration::from_millis(config.lease_ms),
            address: address.to_string(),
            leader_waits,
            trouble: watch::Sender::default(),
            lease: None,
            tried: false,
        }
    }

    /// Stands without having tried the largest transaction.
    #[cfg(test)]
    pub fn untried(mut self) -> Candidate {
        self.tried = true;
        self
    }

    /// Empty while it stands for election; otherwise why it can't.
    pub fn trouble(&self) -> watch::Receiver<String> {
        self.trouble.subscribe()
    }

    /// Waits until this scheduler is elected. One whose transactions etcd does not take as large as they may become does
    /// not stand, and tries again.
    ///
    /// # Errors
    /// When etcd fails in a way that trying again can't mend; passing trouble is waited out.
    pub async fn win(&mut self) -> Result<Leadership, EtcdError> {
        let mut broke_before = false;
        loop {
            let begun = Instant::now();
            let won = self.try_to_win().await;
            // One that stood for a while and whose line broke stands again, at another member: nobody needs to know.
            let broke = self.lease.is_some() && matches!(&won, Err(error) if error.is_passing());
            let first_break = broke && (!broke_before || begun.elapsed() > self.life);
            broke_before = broke;
            let (error, again) = match won {
                Ok(leadership) => {
                    self.trouble.send_replace(String::new());
                    return Ok(leadership);
                }
                Err(error @ EtcdError::TooLarge { .. }) => (error, TRIAL_AFTER),
                Err(error) if error.is_passing() => (error, AGAIN_AFTER),
                Err(error) => return Err(error),
            };
            let words = format!("can't stand for election: {error}");
            if first_break {
                tracing::debug!("{words}; trying again");
            } else if *self.trouble.borrow() != words {
                tracing::warn!("{words}; trying again");
                self.trouble.send_replace(words);
            }
            tokio::time::sleep(again).await;
        }
    }

    async fn try_to_win(&mut self) -> Result<Leadership, EtcdError> {
        if !self.tried {
            trial(&self.store).await?;
            self.tried = true;
        }
        self.withdraw().await;
        let seconds = i64::try_from(self.life.as_secs() + u64::from(self.life.subsec_nanos() > 0)).unwrap_or(i64::MAX);
        // Before the grant is asked for: etcd's own count begins later.
        let asked = Instant::now();
        let grant = |mut client: Client| async move { client.lease_grant(seconds, None).await };
        let lease = self.store.call("granting a lease", Again::Slow, grant).await?.id();
        self.lease = Some(lease);
        self.trouble.send_replace(String::new());
        let Renewal { mut lost, good_until, confirmer } = keep_alive(&self.store, lease, asked, self.life);
        let member = self.store.members.preferred();
        let stand = async {
            let mut election = self.store.members.client().await?.election_client();
            election.campaign(self.store.keys.election(), self.address.clone(), lease).await
        };
        // A campaign waits for as long as another leads: no deadline but the life of our own lease.
        let won = tokio::select! {
            won = stand => won,
            _ = lost.wait_for(|lost| *lost) => {
                let endpoints = self.store.endpoints().to_string();
                return Err(EtcdError::Unavailable { endpoints, doing: "keeping a candidate's lease", source: None });
            }
            () = keep_proving(self.store.clone(), lease, self.life, self.leader_waits.clone()) => unreachable!("it never ends"),
        };
        let mut answer = won.map_err(|error| self.campaign_failed(member, error))?;
        let Some(leader) = answer.take_leader() else {
            let problem = "answers a campaign without a key".into();
            return Err(EtcdError::Corrupt { key: self.store.keys.election(), problem });
        };
        let epoch = Epoch(u64::try_from(leader.rev()).unwrap_or(0));
        // From now on it is the leadership's.
        self.lease = None;
        let (key, life, store) = (leader.key().to_vec(), self.life, self.store.clone());
        Ok(Leadership { epoch, key, lost, good_until, confirmer, lease, life, store })
    }

    /// Another campaign may go better, with a lease of its own: what is left of this one may end the key of its lease.
    fn campaign_failed(&self, member: usize, error: etcd_client::Error) -> EtcdError {
        let error = classify(self.store.endpoints(), "campaigning", error);
        if let EtcdError::Unavailable { .. } | EtcdError::Passing { .. } = error {
            self.store.members.avoid(member);
        }
        match error.said().map(str::to_string) {
            // A lease that ended meanwhile.
            Some(said) if matches!(error, EtcdError::Failed { .. }) => {
                EtcdError::Passing { endpoints: self.store.endpoints().to_string(), doing: "campaigning", said }
            }
            _ => error,
        }
    }

    /// Stands no more: nobody behind it waits for the end of its lease.
    pub async fn withdraw(&mut self) {
        if let Some(lease) = self.lease.take() {
            // What is not heard ends by itself.
            _ = revoke(&self.store, "ending a candidate's lease", lease).await;
        }
    }
}

impl Leadership {
    /// Hands over at once instead of letting the lease run out.
    ///
    /// # Errors
    /// When etcd did not take it in time: the lease then ends by itself.
    pub async fn resign(self) -> Result<(), EtcdError> {
        let until = Instant::now() + REVOKE_WITHIN;
        loop {
            // The election key goes with its lease.
            match revoke(&self.store, "ending the leader's lease", self.lease).await {
                Ok(()) => return Ok(()),
                // It has ended already.
                Err(EtcdError::Failed { source: etcd_client::Error::GRpcStatus(status), .. })
                    if status.code() == tonic::Code::NotFound =>
                {
                    return Ok(());
                }
                Err(error) if error.is_passing() && Instant::now() + AGAIN_AFTER < until => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Ends a lease, and what hangs on it.
async fn revoke(store: &Store, doing: &'static str, lease: i64) -> Result<(), EtcdError> {
    let revoke = |mut client: Client| async move { client.lease_revoke(lease).await };
    store.call(doing, Again::Slow, revoke).await.map(|_| ())
}

/// Whether a leader's key is there with its own create revision, which is what it was elected under. Linearizable: what any
/// member has agreed to is seen.
///
/// # Errors
/// When etcd can't be asked.
pub async fn is_there(store: &Store, key: Vec<u8>, epoch: Epoch) -> Result<bool, EtcdError> {
    let found = store.get("looking at the own leader key", key, None).await?;
    Ok(found.kvs().first().is_some_and(|kv| u64::try_from(kv.create_revision()) == Ok(epoch.0)))
}

/// The address of the one that leads now; None when nobody does.
///
/// # Errors
/// When etcd can't be asked.
pub async fn leader(store: &Store) -> Result<Option<String>, EtcdError> {
    let ask = |mut client: Client| async move { client.leader(store.keys.election()).await };
    match store.call("asking who leads", Again::Slow, ask).await {
        Ok(answer) => Ok(answer.kv().map(|kv| String::from_utf8_lossy(kv.value()).into_owned())),
        // etcd 3.4 answers "election: no leader" as an unknown error.
        Err(EtcdError::Passing { said, .. }) if said.contains("no leader") && said.contains("election") => Ok(None),
        Err(error) => Err(error),
    }
}
