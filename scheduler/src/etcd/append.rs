//! The etcd journal's writer: group commit, one guarded transaction a segment.
//!
//! The guard is "the leader key I was elected with is still there, and the head is where I left it". One transaction is
//! in flight at a time; what arrives meanwhile goes into the next. When an answer is lost the same transaction is sent
//! again: if the first one did apply, its head fails the guard of the second and is found to be ours, so a retry can
//! neither append twice nor fork. etcd-client itself retries only after an expired token, before anything was applied.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use tokio::sync::{mpsc, oneshot, watch};

use super::election::Leadership;
use super::load::Head;
use super::pack::pack_batches;
use super::store::{EtcdError, Store};
use crate::drive::{AppendError, Journal};
use crate::model::Batch;

/// Batches put into one segment are cut here, measured before compression; a single larger batch goes alone.
const SEGMENT_MUTATIONS: usize = 4_096;

/// Wait before a transaction is sent again.
const RETRY_MS: u64 = 100;

type Done = oneshot::Sender<Result<(), AppendError>>;

/// The leader's end of the journal. Dropping it ends its writer once all is written.
pub struct EtcdJournal {
    queue: mpsc::UnboundedSender<(Arc<Batch>, Done)>,
    trouble: watch::Receiver<String>,
    good_until: watch::Receiver<tokio::time::Instant>,
}

impl EtcdJournal {
    /// Starts the writer; `head` is as found after the election was won.
    pub fn start(store: Store, leadership: &Leadership, head: Head) -> EtcdJournal {
        // Bounded by the pulse, which holds back when batches in flight reach its own limit.
        let (queue, inbox) = mpsc::unbounded_channel();
        let (trouble_in, trouble) = watch::channel(String::new());
        let writer = Writer {
            store,
            leader_key: leadership.key.clone(),
            epoch: leadership.epoch.0,
            head,
            lost: leadership.lost.clone(),
            trouble: trouble_in,
        };
        tokio::spawn(writer.run(inbox));
        EtcdJournal { queue, trouble, good_until: leadership.good_until.clone() }
    }

    /// Empty while appends go through; otherwise what holds them up and what to do.
    pub fn trouble(&self) -> watch::Receiver<String> {
        self.trouble.clone()
    }
}

impl Journal for EtcdJournal {
    fn is_leading(&self) -> bool {
        tokio::time::Instant::now() < *self.good_until.borrow()
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

struct Writer {
    store: Store,
    leader_key: Vec<u8>,
    epoch: u64,
    head: Head,
    lost: watch::Receiver<bool>,
    trouble: watch::Sender<String>,
}

/// What a transaction that was answered came to.
enum Outcome {
    Written,
    NotLeader,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<(Arc<Batch>, Done)>) {
        while let Some(first) = inbox.recv().await {
            let mut size = first.0.mutations.len();
            let mut group = vec![first];
            while size < SEGMENT_MUTATIONS {
                let Ok(next) = inbox.try_recv() else { break };
                size += next.0.mutations.len();
                group.push(next);
            }
            let (batches, waiting): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let outcome = self.write(&batches).await;
            let written = matches!(outcome, Ok(Outcome::Written));
            let mut cause = outcome.err();
            for (batch, done) in batches.iter().zip(waiting) {
                let answer = match cause.take() {
                    _ if written => Ok(()),
                    Some(error) => {
                        let (index, place) = (batch.index, "etcd".to_string());
                        Err(AppendError::Failed { index, place, source: Box::new(error) })
                    }
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

    /// Writes consecutive batches as one segment; waits out passing trouble for as long as the lease holds.
    async fn write(&mut self, batches: &[Arc<Batch>]) -> Result<Outcome, EtcdError> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(Outcome::Written) };
        assert_eq!(first.index, self.head.index + 1, "a segment that does not follow the head");
        let segment = self.store.keys.segment(first.index);
        let value = pack_batches(batches);
        loop {
            if *self.lost.borrow() {
                return Ok(Outcome::NotLeader);
            }
            match self.transact(&segment, &value, last.index).await {
                Ok(outcome) => {
                    self.say(String::new());
                    self.head = Head { index: last.index, value: Some(self.head_value(last.index).into_bytes()) };
                    return Ok(outcome);
                }
                Err(error) if error.is_passing() => self.say(error.to_string()),
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(RETRY_MS)) => {}
                _ = self.lost.wait_for(|lost| *lost) => return Ok(Outcome::NotLeader),
            }
        }
    }

    async fn transact(&self, segment: &str, value: &[u8], last: u64) -> Result<Outcome, EtcdError> {
        let (head, ours) = (self.store.keys.head(), self.head_value(last));
        let guard = [
            Compare::create_revision(self.leader_key.clone(), CompareOp::Equal, self.epoch as i64),
            self.head_guard(&head),
            Compare::create_revision(segment, CompareOp::Equal, 0),
        ];
        let puts = [TxnOp::put(segment, value, None), TxnOp::put(head.as_str(), ours.as_str(), None)];
        let looks = [TxnOp::get(self.leader_key.clone(), None), TxnOp::get(head.as_str(), None)];
        let txn = Txn::new().when(guard).and_then(puts).or_else(looks);
        let mut kv = self.store.client.kv_client();
        let answer = self.store.call("appending to the journal", kv.txn(txn)).await?;
        if answer.succeeded() {
            return Ok(Outcome::Written);
        }
        let found = answer.op_responses().into_iter().nth(1).and_then(|response| match response {
            TxnOpResponse::Get(get) => get.kvs().first().map(|kv| kv.value().to_vec()),
            _ => None,
        });
        // The head names its writer's epoch, so one that equals ours was written by this very segment's first try.
        if found.as_deref() == Some(ours.as_bytes()) { Ok(Outcome::Written) } else { Ok(Outcome::NotLeader) }
    }

    fn head_value(&self, index: u64) -> String {
        format!("{index} {}", self.epoch)
    }

    /// The head is exactly as we found it when elected, or as we left it.
    fn head_guard(&self, key: &str) -> Compare {
        match &self.head.value {
            None => Compare::create_revision(key, CompareOp::Equal, 0),
            Some(value) => Compare::value(key, CompareOp::Equal, value.clone()),
        }
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
