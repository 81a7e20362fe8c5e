//! A scheduler among several: follows the journal in etcd until it is elected, then leads until it is deposed or told to
//! stop. A deposed leader's memory is void: its process ends.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::directory::take_for_etcd;
use super::hands::OwnKey;
use super::lead::{Lead, Signs};
use super::{RunError, cluster_id, overhear};
use crate::drive::{DriveError, Journal, SystemClock};
use crate::drive::{Follower, Vitals};
use crate::etcd::{
    self, Candidate, EtcdConfig, EtcdError, EtcdJournal, Leadership, Seen, Store, Tail, Tailed, Witness,
};
use crate::journal::Lock;
use crate::model::State;

/// At most how often what was seen of the journal is noted.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// A journal in etcd, opened.
pub struct Standby {
    store: Store,
    etcd: EtcdConfig,
    cluster_id: String,
    tail: Tail,
    witness: Option<Witness>,
    /// Of the witness's directory.
    _lock: Option<Lock>,
}

impl Standby {
    /// Connects, makes sure the prefix is Dawn's, and loads the journal; waits out an etcd that is not there yet.
    ///
    /// # Errors
    /// What trying again can't mend: a stranger's prefix, a damaged or newer journal, one that went back, a refused user.
    pub async fn open(etcd: EtcdConfig, witness_dir: Option<&Path>, vitals: &Vitals) -> Result<Standby, RunError> {
        if etcd.lease_ms < etcd::MIN_LEASE_MS {
            return Err(RunError::Lease { lease_ms: etcd.lease_ms });
        }
        let lock = witness_dir.map(take_for_etcd).transpose()?;
        let witness = witness_dir.map(Witness::open).transpose()?;
        let seen = witness.as_ref().map(Witness::recall).transpose()?.flatten();
        let expected = seen.as_ref().map_or("", |seen| &seen.cluster_id);
        let fresh = cluster_id().map_err(RunError::ClusterId)?;
        let mut wait = Duration::from_millis(250);
        loop {
            match Self::try_open(&etcd, &fresh, expected).await {
                Ok((store, cluster_id, tail)) => {
                    if let (Some(witness), Some(seen)) = (&witness, &seen) {
                        witness.check(seen, tail.state().epoch, tail.state().index)?;
                    }
                    vitals.etcd_answered(Ok(()));
                    return Ok(Standby { store, etcd, cluster_id, tail, witness, _lock: lock });
                }
                Err(error) if error.is_passing() => {
                    vitals.etcd_answered(Err(error.to_string()));
                    tracing::warn!(
                        "{error}; trying again in {}",
                        dawn_proto::amounts::duration(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn try_open(config: &EtcdConfig, fresh: &str, expected: &str) -> Result<(Store, String, Tail), EtcdError> {
        let store = Store::connect(config).await?;
        let cluster_id = etcd::claim(&store, fresh, expected).await?;
        let loaded = etcd::load(&store).await?;
        if !loaded.state.cluster_id.is_empty() && loaded.state.cluster_id != cluster_id {
            etcd::claim(&store, fresh, &loaded.state.cluster_id).await?;
        }
        let tail = Tail::new(store.clone(), loaded);
        Ok((store, cluster_id, tail))
    }

    pub fn state(&self) -> &State {
        self.tail.state()
    }

    /// Follows, is elected, leads; Ok when `stop` resolved, after handing over at once if it led.
    ///
    /// # Errors
    /// When the journal is damaged, this leader was deposed, or it could not hand over.
    pub async fn run(mut self, lead: Lead, address: String, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut stop = pin!(stop);
        if let Some(witness) = self.witness.take() {
            // Ends with the process: it sees what is durable, whoever leads.
            tokio::spawn(bear_witness(witness, lead.follower.clone()));
        }
        let leader_waits = watch::Sender::new(false);
        let mut candidate = Candidate::new(&self.store, &self.etcd, &address, leader_waits.subscribe());
        let watch = overhear::Watch {
            store: self.store.clone(),
            signs: lead.signs.clone(),
            own_trouble: candidate.trouble(),
            leader_waits,
            vitals: lead.config.vitals.clone(),
        };
        let watching = tokio::spawn(watch.keep());
        let elected = self.until_elected(&mut candidate, &lead.follower, &lead.config.vitals, stop.as_mut()).await;
        watching.abort();
        lead.signs.trouble.send_replace(String::new());
        let (leadership, head) = match elected {
            Ok(Some(elected)) => elected,
            Ok(None) => {
                candidate.withdraw().await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.lead(lead, leadership, head, stop).await
    }

    async fn lead(
        self,
        lead: Lead,
        leadership: Leadership,
        head: etcd::Head,
        stop: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let journal = EtcdJournal::start(self.store.clone(), &leadership, head);
        let troubles = tokio::spawn(pass_troubles(journal.trouble(), lead.signs.clone()));
        let epoch = self.tail.state().epoch_of(leadership.epoch.0);
        tracing::info!(%epoch, "elected: leading from batch {}", self.tail.state().index);
        let (mut lost, state) = (leadership.lost.clone(), self.tail.into_state());
        let lead = Lead { own_key: own_key(self.store.clone(), &leadership), ..lead };
        let leading = lead.under(epoch, self.cluster_id, state, journal, SystemClock::default(), stop);
        let led = tokio::select! {
            led = leading => led,
            _ = lost.wait_for(|lost| *lost) => Err(DriveError::lease_is_over()),
        };
        troubles.abort();
        let resigned = leadership.resign().await;
        match (led, resigned) {
            (Err(error), resigned) => {
                if let Err(kept) = resigned {
                    tracing::warn!(
                        "{kept}; it ends by itself after {}",
                        dawn_proto::amounts::duration(self.etcd.lease_ms)
                    );
                }
                Err(error.into())
            }
            (Ok(()), Err(source)) => Err(RunError::NotHandedOver { lease_ms: self.etcd.lease_ms, source }),
            (Ok(()), Ok(())) => Ok(()),
        }
    }

    /// Keeps the follower at the journal's end until elected and at the end itself, or told to stop (None). One that loses
    /// its lease on the way, or can't reach etcd just then, goes on as a follower: it has decided nothing yet.
    async fn until_elected(
        &mut self,
        candidate: &mut Candidate,
        follower: &Follower,
        vitals: &Vitals,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<(Leadership, etcd::Head)>, RunError> {
        loop {
            let Some(leadership) = self.follow(candidate, follower, vitals, stop.as_mut()).await? else {
                return Ok(None);
            };
            let mut lost = leadership.lost.clone();
            let read = async {
                self.tail.to_end(&mut |tailed| pass_on(tailed, follower, vitals)).await?;
                etcd::head(&self.store).await
            };
            let lost = async { _ = lost.wait_for(|lost| *lost).await };
            let read = tokio::select! {
                read = read => read,
                () = lost => {
                    tracing::info!("elected, but the lease was over before the journal was read: going on as a follower");
                    continue;
                }
                () = stop.as_mut() => {
                    // Otherwise the lease ends by itself.
                    _ = leadership.resign().await;
                    return Ok(None);
                }
            };
            match read {
                Ok(head) => return Ok(Some((leadership, head))),
                Err(error) if error.is_passing() => {
                    tracing::warn!("elected, but {error}: going on as a follower");
                    // Otherwise the lease ends by itself.
                    _ = leadership.resign().await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Keeps the follower at the journal's end until elected (Some) or told to stop (None).
    async fn follow(
        &mut self,
        candidate: &mut Candidate,
        follower: &Follower,
        vitals: &Vitals,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Leadership>, RunError> {
        let mut winning = pin!(candidate.win());
        let mut tell = |tailed| pass_on(tailed, follower, vitals);
        loop {
            tokio::select! {
                won = &mut winning => return Ok(Some(won?)),
                told = self.tail.next(&mut tell) => told?,
                () = stop.as_mut() => return Ok(None),
            }
        }
    }
}

/// Reads this leader's own key in etcd, past whatever a member of it may be behind.
fn own_key(store: Store, leadership: &Leadership) -> OwnKey {
    let (key, epoch) = (leadership.key.clone(), leadership.epoch);
    Arc::new(move || {
        let (store, key) = (store.clone(), key.clone());
        Box::pin(async move {
            let looked = etcd::is_there(&store, key, epoch).await;
            looked.map_err(|error| tracing::warn!("can't look at this leader's own key: {error}")).ok()
        })
    })
}

/// One batch at a time: however much there is to catch up with, the sign of life stays fresh.
fn pass_on(tailed: Tailed, follower: &Follower, vitals: &Vitals) {
    vitals.follower_turns();
    match tailed {
        Tailed::Batch(batch) => follower.apply(&[batch]),
        Tailed::Reset(state) => follower.reset(*state),
    }
    vitals.follower_rests();
}

/// Notes now and then how far the journal was seen.
async fn bear_witness(witness: Witness, follower: Arc<Follower>) {
    let mut index = follower.index();
    loop {
        index.borrow_and_update();
        let seen = follower.read(|state| Seen {
            cluster_id: state.cluster_id.clone(),
            epoch: state.epoch,
            index: state.index,
        });
        if !seen.cluster_id.is_empty() {
            let witness = witness.clone();
            match tokio::task::spawn_blocking(move || witness.note(&seen)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("{error}; an older backup of etcd may go unnoticed"),
                Err(_) => return,
            }
            tokio::time::sleep(NOTE_EVERY).await;
        }
        if index.changed().await.is_err() {
            return;
        }
    }
}

async fn pass_troubles(mut trouble: watch::Receiver<String>, signs: Arc<Signs>) {
    while trouble.changed().await.is_ok() {
        signs.trouble.send_replace(trouble.borrow_and_update().clone());
    }
}

impl Standby {
    pub fn store(&self) -> Store {
        self.store.clone()
    }
}
