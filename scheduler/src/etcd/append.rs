//! The etcd journal's writer: group commit, one guarded transaction a segment.
//!
//! What is asked and what an answer means is decided in [`Ledger`]. One transaction is in flight at a time; what arrives
//! meanwhile goes into the next. When an answer is lost the same transaction is sent again. etcd-client itself retries
//! only after an expired token, before anything was applied.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::election::Leadership;
use super::error::EtcdError;
use super::ledger::{Ask, Guard, Ledger, Outcome, SEGMENT_MUTATIONS};
use super::load::Head;
use super::members::Again;
use super::proof::until_another_can;
use super::renewal::Confirmer;
use super::store::Store;
use crate::drive::{AppendError, Gathered, Journal};
use crate::model::Batch;

/// Wait before a transaction is sent again.
const RETRY_MS: u64 = 100;

/// What a leader says while its appends do not go through begins with this.
pub const WAITS: &str = "waits for etcd: ";

type Done = oneshot::Sender<Result<(), AppendError>>;

/// The leader's end of the journal. Dropping it ends its writer once all is written.
pub struct EtcdJournal {
    queue: mpsc::UnboundedSender<(Arc<Batch>, Done)>,
    trouble: watch::Receiver<String>,
    good_until: watch::Receiver<Instant>,
    confirmer: Confirmer,
}

impl EtcdJournal {
    /// Starts the writer; `head` is as found after the election was won.
    pub fn start(store: Store, leadership: &Leadership, head: Head) -> EtcdJournal {
        // Bounded by the pulse, which holds back when batches in flight reach its own limit.
        let (queue, inbox) = mpsc::unbounded_channel();
        let (trouble_in, trouble) = watch::channel(String::new());
        let ledger = Ledger::new(store.keys.clone(), leadership.key.clone(), leadership.epoch.0, head);
        let (lease, life) = (leadership.lease, leadership.life);
        let writer = Writer { store, ledger, lease, life, lost: leadership.lost.clone(), trouble: trouble_in };
        tokio::spawn(writer.run(inbox));
        let (good_until, confirmer) = (leadership.good_until.clone(), leadership.confirmer.clone());
        EtcdJournal { queue, trouble, good_until, confirmer }
    }
}

impl Journal for EtcdJournal {
    fn is_leading(&self) -> bool {
        Instant::now() < *self.good_until.borrow()
    }

    fn confirm(&mut self) -> impl Future<Output = bool> + Send + 'static {
        self.confirmer.confirm()
    }

    fn trouble(&self) -> watch::Receiver<String> {
        self.trouble.clone()
    }

    fn append(&mut self, batch: Arc<Batch>) -> impl Future<Output = Result<(), AppendError>> + Send + 'static {
        let index = batch.index;
        let (done, answer) = oneshot::channel();
        let sent = self.queue.send((batch, done));
        async move {
            match sent {
                Ok(()) => answer.await.unwrap_or(Err(AppendError::NotLeader { index })),
                Err(_) => Err(AppendError::NotLeader { index }),
            }
        }
    }
}

type Waiting = (Arc<Batch>, Done);

async fn next(left: &mut Option<Waiting>, inbox: &mut mpsc::UnboundedReceiver<Waiting>) -> Option<Waiting> {
    match left.take() {
        Some(waiting) => Some(waiting),
        None => inbox.recv().await,
    }
}

/// Why a segment is not tried again.
enum Stopped {
    Failed(EtcdError),
    /// What holds it up is this scheduler's own, and another one can write.
    Yields,
}

struct Writer {
    store: Store,
    ledger: Ledger,
    lease: i64,
    life: Duration,
    lost: watch::Receiver<bool>,
    trouble: watch::Sender<String>,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<(Arc<Batch>, Done)>) {
        // One that did not fit into the segment before.
        let mut left = None;
        while let Some(first) = next(&mut left, &mut inbox).await {
            let (mut gathered, mut group) = (Gathered::new(SEGMENT_MUTATIONS), Vec::new());
            gathered.takes(&first.0);
            group.push(first);
            while let Ok(next) = inbox.try_recv() {
                if !gathered.takes(&next.0) {
                    left = Some(next);
                    break;
                }
                group.push(next);
            }
            let (batches, waiting): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let outcome = self.write(&batches).await;
            let written = matches!(outcome, Ok(Outcome::Written));
            let mut cause = outcome.err();
            for (batch, done) in batches.iter().zip(waiting) {
                let answer = match cause.take() {
                    _ if written => Ok(()),
                    Some(Stopped::Failed(error)) => {
                        let (index, place) = (batch.index, "etcd".to_string());
                        Err(AppendError::Failed { index, place, source: Box::new(error) })
                    }
                    Some(Stopped::Yields) => Err(AppendError::Yields { trouble: self.trouble.borrow().clone() }),
                    None => Err(AppendError::NotLeader { index: batch.index }),
                };
                // A caller that went away needs no answer.
                _ = done.send(answer);
            }
            if !written {
                // Everything still queued gets its refusal by the closing of its answer.
                return;
            }
        }
    }

    /// Writes consecutive batches as one segment; waits out passing trouble for as long as the lease holds, unless
    /// another one shows that it can write.
    async fn write(&mut self, batches: &[Arc<Batch>]) -> Result<Outcome, Stopped> {
        let Some(ask) = self.ledger.ask(batches) else { return Ok(Outcome::Written) };
        let store = self.store.clone();
        let mut another_can = pin!(until_another_can(&store, self.lease, self.life));
        loop {
            if *self.lost.borrow() {
                return Ok(Outcome::NotLeader);
            }
            let answered = tokio::select! {
                biased;
                answered = self.transact(&ask) => answered,
                () = &mut another_can => return Err(Stopped::Yields),
            };
            match answered {
                Ok((applied, found)) => {
                    self.say(String::new());
                    let outcome = self.ledger.answered(&ask, applied, found.as_deref());
                    if let (Outcome::Written, Some(last)) = (outcome, batches.last()) {
                        self.store.growth.add(last.index, ask.bytes());
                    }
                    return Ok(outcome);
                }
                Err(error) if error.is_passing() => self.say(format!("{WAITS}{error}")),
                Err(error) => return Err(Stopped::Failed(error)),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(RETRY_MS)) => {}
                () = &mut another_can => return Err(Stopped::Yields),
                _ = self.lost.wait_for(|lost| *lost) => return Ok(Outcome::NotLeader),
            }
        }
    }

    /// Whether it applied; where not, what the head holds.
    async fn transact(&self, ask: &Ask) -> Result<(bool, Option<Vec<u8>>), EtcdError> {
        let guards: Vec<Compare> = ask.guards.iter().map(compare).collect();
        let puts: Vec<TxnOp> =
            ask.puts.iter().map(|(key, value)| TxnOp::put(key.clone(), value.clone(), None)).collect();
        let look = [TxnOp::get(ask.head_key.clone(), None)];
        let txn = Txn::new().when(guards).and_then(puts).or_else(look);
        let answer = self.store.transact("appending to the journal", Again::Broken, txn).await?;
        let found = answer.op_responses().into_iter().next().and_then(|response| match response {
            TxnOpResponse::Get(get) => get.kvs().first().map(|kv| kv.value().to_vec()),
            _ => None,
        });
        Ok((answer.succeeded(), found))
    }

    fn say(&self, trouble: String) {
        self.trouble.send_if_modified(|told| {
            let changed = *told != trouble;
            if changed {
                if trouble.is_empty() {
                    tracing::info!("etcd takes appends again");
                } else {
                    tracing::warn!("writes are held up: {trouble}");
                }
                *told = trouble;
            }
            changed
        });
    }
}

fn compare(guard: &Guard) -> Compare {
    match guard {
        Guard::MadeAt { key, revision } => {
            Compare::create_revision(key.clone(), CompareOp::Equal, i64::try_from(*revision).unwrap_or(i64::MAX))
        }
        Guard::Absent { key } => Compare::create_revision(key.clone(), CompareOp::Equal, 0),
        Guard::Holds { key, value } => Compare::value(key.clone(), CompareOp::Equal, value.clone()),
    }
}
