//! Leader election in etcd: a lease, a campaign, and word of the loss.
//!
//! etcd's election alone does not keep a paused leader from writing; the guard of every append and the epoch in every
//! order to an agent do (DESIGN: the fence). This file only says who should try.

use std::time::Duration;

use etcd_client::{LeaderKey, ResignOptions};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::store::{EtcdConfig, EtcdError, Store};
use super::tenure::Tenure;
use dawn_proto::Epoch;

/// etcd's own shortest lease; shorter ones are refused at start.
pub const MIN_LEASE_MS: u64 = 2_000;

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
    leader: LeaderKey,
    lease: i64,
    store: Store,
}

/// Waits until this scheduler is elected. `address` is what others are told to try.
///
/// # Errors
/// When etcd fails in a way that trying again can't mend; passing trouble is waited out.
pub async fn campaign(store: &Store, config: &EtcdConfig, address: &str) -> Result<Leadership, EtcdError> {
    loop {
        match try_campaign(store, config, address).await {
            Ok(leadership) => return Ok(leadership),
            Err(error) if error.is_passing() => {
                tracing::warn!("can't stand for election: {error}; trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_campaign(store: &Store, config: &EtcdConfig, address: &str) -> Result<Leadership, EtcdError> {
    let seconds = i64::try_from(config.lease_ms.div_ceil(1_000)).unwrap_or(i64::MAX);
    let mut client = store.client.clone();
    // Before the grant is asked for: etcd's own count begins later.
    let asked = Instant::now();
    let lease = store.call("granting a lease", client.lease_grant(seconds, None)).await?.id();
    let (lost, good_until) = keep_alive(store, lease, asked, config.lease_ms);
    let mut election = store.client.election_client();
    let mut gone = lost.clone();
    // A campaign waits for as long as another leads: no deadline but the life of our own lease.
    let won = tokio::select! {
        won = election.campaign(store.keys.election(), address, lease) => won,
        _ = gone.wait_for(|lost| *lost) => {
            return Err(EtcdError::Unavailable { endpoints: config.endpoints.join(","), doing: "keeping a lease", source: None });
        }
    };
    let mut answer = won.map_err(|error| EtcdError::Unavailable {
        endpoints: config.endpoints.join(","),
        doing: "campaigning",
        source: Some(error),
    })?;
    let Some(leader) = answer.take_leader() else {
        return Err(EtcdError::Corrupt {
            key: store.keys.election(),
            problem: "answers a campaign without a key".into(),
        });
    };
    let epoch = Epoch(u64::try_from(leader.rev()).unwrap_or(0));
    Ok(Leadership { epoch, key: leader.key().to_vec(), lost, good_until, leader, lease, store: store.clone() })
}

/// How a stream of renewals ended.
enum Renewal {
    /// The lease is gone, or its time ran out by our own clock.
    Gone,
    /// The stream broke; the lease may still be renewed on another.
    Broken(etcd_client::Error),
    Unwanted,
}

/// Renews the lease three times in its life. The receiver turns true when the lease is lost, and at the latest when it
/// would have run out by our own clock since the last good renewal was sent.
fn keep_alive(
    store: &Store,
    lease: i64,
    asked: Instant,
    lease_ms: u64,
) -> (watch::Receiver<bool>, watch::Receiver<Instant>) {
    let (tell, lost) = watch::channel(false);
    let mut client = store.client.clone();
    let life = Duration::from_millis(lease_ms);
    let mut tenure = Tenure::new(asked, life);
    let (good_until, until) = watch::channel(tenure.good_until());
    tokio::spawn(async move {
        loop {
            match renew(&mut client, lease, &mut tenure, &good_until, &tell).await {
                Renewal::Unwanted => return,
                Renewal::Gone => break,
                Renewal::Broken(error) => {
                    tracing::warn!("renewing the leader's lease: {error}");
                    tokio::time::sleep_until((Instant::now() + tenure.retry_after()).min(tenure.good_until())).await;
                }
            }
        }
        // Nobody listening any more is no loss.
        _ = tell.send(true);
    });
    (lost, until)
}

/// Renews on one stream for as long as that works.
async fn renew(
    client: &mut etcd_client::Client,
    lease: i64,
    tenure: &mut Tenure<Instant>,
    good_until: &watch::Sender<Instant>,
    tell: &watch::Sender<bool>,
) -> Renewal {
    let Ok(opened) = timeout_at(tenure.good_until(), client.lease_keep_alive(lease)).await else {
        return Renewal::Gone;
    };
    let (mut keeper, mut answers) = match opened {
        Ok(stream) => stream,
        Err(error) => return Renewal::Broken(error),
    };
    loop {
        if tell.is_closed() {
            return Renewal::Unwanted;
        }
        let sent = Instant::now();
        if let Err(error) = keeper.keep_alive().await {
            return Renewal::Broken(error);
        }
        match timeout_at(tenure.good_until(), answers.message()).await {
            Ok(Ok(Some(answer))) if tenure.renewed(sent, answer.ttl()) => {
                _ = good_until.send_replace(tenure.good_until());
            }
            Ok(Ok(Some(_))) | Err(_) => return Renewal::Gone,
            Ok(Ok(None)) => return Renewal::Broken(etcd_client::Error::LeaseKeepAliveError("stream closed".into())),
            Ok(Err(error)) => return Renewal::Broken(error),
        }
        tokio::time::sleep(tenure.renew_every()).await;
    }
}

impl Leadership {
    /// Hands over at once instead of letting the lease run out.
    pub async fn resign(self) {
        let mut client = self.store.client.clone();
        let options = ResignOptions::new().with_leader(self.leader);
        for result in [
            self.store.call("resigning", client.resign(Some(options))).await.map(|_| ()),
            self.store.call("revoking the lease", self.store.client.clone().lease_revoke(self.lease)).await.map(|_| ()),
        ] {
            if let Err(error) = result {
                tracing::warn!("{error}; the lease ends by itself");
            }
        }
    }
}

/// The address of whoever leads now; None when nobody does.
///
/// # Errors
/// When etcd can't be asked.
pub async fn leader(store: &Store) -> Result<Option<String>, EtcdError> {
    let mut client = store.client.clone();
    match store.call("asking who leads", client.leader(store.keys.election())).await {
        Ok(answer) => Ok(answer.kv().map(|kv| String::from_utf8_lossy(kv.value()).into_owned())),
        // etcd 3.4 answers "election: no leader" as an unknown error.
        Err(EtcdError::Unavailable { source: Some(etcd_client::Error::GRpcStatus(status)), .. })
            if status.message().contains("no leader") && status.message().contains("election") =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
