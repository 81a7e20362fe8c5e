//! A lease in etcd, renewed for as long as somebody wants it: a third of its life after the last renewal, and sooner when
//! somebody wants to know that it still stands.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::store::Store;
use super::tenure::Tenure;

/// At least between two renewals, however many are asked for: what is asked meanwhile shares the next.
const APART: Duration = Duration::from_millis(50);

/// Asks for a renewal now.
#[derive(Clone, Debug)]
pub struct Confirmer {
    asks: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl Confirmer {
    /// Resolves once a renewal that was sent after this call was answered: the lease lived then, and nobody else led.
    /// False: it never will.
    pub fn confirm(&self) -> impl Future<Output = bool> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        // One that is not taken is dropped, and so is its answer.
        _ = self.asks.send(answer);
        async move { answered.await.is_ok() }
    }
}

/// What is known of a lease that is renewed.
pub(super) struct Renewal {
    /// Turns true when the lease is lost, and at the latest when it would have run out by our own clock since the last
    /// good renewal was sent.
    pub lost: watch::Receiver<bool>,
    pub good_until: watch::Receiver<Instant>,
    pub confirmer: Confirmer,
}

/// Renews the lease until nobody listens for its loss any more.
pub(super) fn keep_alive(store: &Store, lease: i64, asked: Instant, life: Duration) -> Renewal {
    let (tell, lost) = watch::channel(false);
    let (asks, asks_out) = mpsc::unbounded_channel();
    let tenure = Tenure::new(asked, life);
    let (good_until, until) = watch::channel(tenure.good_until());
    let keeper = Keeper { store: store.clone(), lease, tenure, good_until, tell, asks: asks_out, waiting: Vec::new() };
    tokio::spawn(keeper.keep());
    Renewal { lost, good_until: until, confirmer: Confirmer { asks } }
}

/// How a stream of renewals ended.
enum End {
    /// The lease is gone, or its time ran out by our own clock.
    Gone,
    /// The stream broke; the lease may still be renewed on another.
    Broken(etcd_client::Error),
    Unwanted,
}

struct Keeper {
    store: Store,
    lease: i64,
    tenure: Tenure<Instant>,
    good_until: watch::Sender<Instant>,
    tell: watch::Sender<bool>,
    asks: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    /// Asked since the last renewal was sent, or the one before, whose answer did not come.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Keeper {
    async fn keep(mut self) {
        loop {
            let member = self.store.members.preferred();
            match self.renew().await {
                End::Unwanted => return,
                End::Gone => break,
                End::Broken(error) => {
                    tracing::warn!("renewing a lease in etcd: {error}; trying again");
                    self.store.members.avoid(member);
                    let again = (Instant::now() + self.tenure.retry_after()).min(self.tenure.good_until());
                    tokio::time::sleep_until(again).await;
                }
            }
        }
        // Nobody listening any more is no loss.
        _ = self.tell.send(true);
    }

    /// Renews on one stream for as long as that works.
    async fn renew(&mut self) -> End {
        let patience = self.patience(Instant::now());
        let (store, lease) = (self.store.clone(), self.lease);
        let open = async { store.members.client().await?.lease_keep_alive(lease).await };
        let Ok(opened) = timeout_at(patience, open).await else {
            return self.silent("no stream was opened");
        };
        let (mut keeper, mut answers) = match opened {
            Ok(stream) => stream,
            Err(error) => return self.broken(error),
        };
        loop {
            if self.tell.is_closed() {
                return End::Unwanted;
            }
            // All of these were asked before it is sent.
            self.waiting.extend(std::iter::from_fn(|| self.asks.try_recv().ok()));
            let sent = Instant::now();
            if let Err(error) = keeper.keep_alive().await {
                return self.broken(error);
            }
            match timeout_at(self.patience(sent), answers.message()).await {
                Ok(Ok(Some(answer))) if self.tenure.renewed(sent, answer.ttl()) => {
                    _ = self.good_until.send_replace(self.tenure.good_until());
                    // One that does not listen any more needs no answer.
                    self.waiting.drain(..).for_each(|ask| _ = ask.send(()));
                }
                Ok(Ok(Some(_))) => return End::Gone,
                Ok(Ok(None)) => return self.silent("the stream was closed"),
                Ok(Err(error)) => return self.broken(error),
                Err(_) => return self.silent("a renewal was not answered"),
            }
            self.wait(sent).await;
        }
    }

    /// Until the next renewal is due, or one is asked for.
    async fn wait(&mut self, sent: Instant) {
        let due = sent + self.tenure.renew_every();
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            Some(ask) = self.asks.recv() => {
                self.waiting.push(ask);
                tokio::time::sleep_until(sent + APART).await;
            }
        }
    }

    /// An answer is waited for until then; then another stream may do better, perhaps to another member.
    fn patience(&self, from: Instant) -> Instant {
        (from + self.tenure.renew_every()).min(self.tenure.good_until())
    }

    fn silent(&self, what: &str) -> End {
        self.broken(etcd_client::Error::LeaseKeepAliveError(what.into()))
    }

    fn broken(&self, error: etcd_client::Error) -> End {
        if Instant::now() >= self.tenure.good_until() { End::Gone } else { End::Broken(error) }
    }
}
