//! Everything that should agree, compared: the journal as it lies, the leader's state, the state that reads see, and what
//! agents and their kernels hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dawn_proto::v1;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::keeper::Source;
use crate::decide::verify::{Finding, Promise, Verified, verify};
use crate::drive::{Follower, Inbox, LiveView, Role};
use crate::etcd;
use crate::journal::{self, OpenError};
use crate::link::{Inspections, Links};
use crate::model::{AgentNo, Alarm, Batch, Inspection, Mutation, State};
use crate::wire;

/// Agents asked at the same time.
const ASKED_AT_ONCE: usize = 32;
/// What does not hold is looked at again: a task may start or end between two answers.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1_500);
/// Violations told of one promise; more are counted.
const TOLD: usize = 100;
/// The reading state comes up with the leader's within this time.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(30);

pub(super) struct Verifier {
    pub follower: Arc<Follower>,
    pub source: Source,
    pub inbox: Inbox,
    pub links: Arc<Links>,
    pub inspections: Arc<Inspections>,
    pub role: watch::Receiver<Role>,
    pub live: watch::Receiver<Arc<LiveView>>,
    /// What holds writes up; empty: nothing.
    pub trouble: watch::Receiver<String>,
}

/// Why the journal was not replayed.
enum Unread {
    /// It is not as it was written.
    Wrong(String),
    /// It could not be read now, which says nothing of it.
    NotNow(String),
}

/// What replaying the journal found.
#[derive(Default)]
struct Replayed {
    batches: u64,
    epochs: u64,
    wrong: Vec<String>,
    /// By index.
    digests: BTreeMap<u64, u64>,
    epoch: Option<u64>,
}

impl Replayed {
    fn take(&mut self, state: &mut State, batch: &Batch, marks: &[u64]) {
        let begins = batch.mutations.iter().any(|mutation| matches!(mutation, Mutation::EpochBegun(_)));
        let epoch = batch.epoch.0;
        if self.epoch.is_some_and(|before| epoch < before) {
            self.wrong.push(format!("batch {} is of epoch {epoch}, one before it of a later", batch.index));
        }
        if begins && self.epoch == Some(epoch) {
            self.wrong.push(format!("epoch {epoch} begins twice, again in batch {}", batch.index));
        }
        self.epochs += u64::from(begins);
        self.epoch = Some(epoch);
        self.batches += 1;
        state.apply(batch);
        if marks.contains(&state.index) {
            self.digests.insert(state.index, wire::digest(state));
        }
    }
}

impl Verifier {
    /// # Errors
    /// Words, when it can't be done at all.
    pub async fn verify(&self) -> Result<v1::VerifyResponse, String> {
        let leads = self.role.borrow().is_leading();
        let mut response = v1::VerifyResponse { leader: leads, ..Default::default() };
        let mut states = Vec::new();
        if leads {
            match self.own_state(&mut response).await {
                Ok((index, digest)) => states.push(("the leader's state", index, digest)),
                Err(words) => response.not_checked.push(format!("the leader's own state: {words}")),
            }
        }
        let follower = self.follower.clone();
        let read = move || follower.read(|state| (state.index, wire::digest(state)));
        let (index, digest) = tokio::task::spawn_blocking(read).await.map_err(|_| "a digest panicked")?;
        states.push(("the state that reads see", index, digest));
        response.index = index;
        self.journal(&states, &mut response).await;
        if leads {
            self.cluster(&mut response).await?;
        }
        Ok(response)
    }

    /// Index and digest of the leader's state, once it is durable up to there.
    async fn own_state(&self, response: &mut v1::VerifyResponse) -> Result<(u64, u64), String> {
        let began = Instant::now();
        let mut trouble = self.trouble.clone();
        let look = self.inbox.look(|state| (state.index, wire::digest(state)));
        let (index, digest) = tokio::select! {
            look = look => look.map_err(|error| error.to_string())?,
            // Nothing is decided then, and nobody looks at what is.
            Ok(words) = trouble.wait_for(|words| !words.is_empty()) => return Err(format!("the leader {}", *words)),
            () = tokio::time::sleep(CATCH_UP_WITHIN) => {
                return Err(format!("it decided nothing for {}", dawn_proto::amounts::whole_seconds(CATCH_UP_WITHIN)));
            }
        };
        response.stalled_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut reached = self.follower.index();
        let reach = reached.wait_for(|at| *at >= index);
        match tokio::time::timeout(CATCH_UP_WITHIN, reach).await {
            Ok(Ok(_)) => Ok((index, digest)),
            _ => Err(format!(
                "batch {index} is not durable after {}",
                dawn_proto::amounts::whole_seconds(CATCH_UP_WITHIN)
            )),
        }
    }

    /// The journal as it lies, against the states.
    async fn journal(&self, states: &[(&str, u64, u64)], response: &mut v1::VerifyResponse) {
        let marks: Vec<u64> = states.iter().map(|(_, index, _)| *index).collect();
        let replayed = replay(&self.source, marks).await;
        let id = |id: &str, text: &str| v1::Promise { id: id.into(), text: text.into(), ..Default::default() };
        let mut whole = id("journal", "every segment is whole, every batch follows the one before it");
        let mut epochs = id("S1", "one leader after the other: epochs in the journal only grow");
        let mut equal = id("S11", "replaying the journal gives the states that schedulers have");
        match replayed {
            Ok(replayed) => {
                (whole.checked, epochs.checked) = (replayed.batches, replayed.epochs);
                epochs.violations = replayed.wrong;
                for (name, index, digest) in states {
                    // A snapshot taken meanwhile may have the batch in it.
                    let Some(found) = replayed.digests.get(index) else { continue };
                    equal.checked += 1;
                    if found != digest {
                        equal.violations.push(format!("{name} differs from the journal at index {index}"));
                    }
                }
            }
            Err(Unread::Wrong(words)) => whole.violations.push(words),
            Err(Unread::NotNow(words)) => response.not_checked.push(format!("the journal: {words}")),
        }
        for mut promise in [whole, epochs, equal] {
            promise.violations_total = promise.violations.len() as u64;
            promise.violations.truncate(TOLD);
            response.promises.push(promise);
        }
    }

    async fn cluster(&self, response: &mut v1::VerifyResponse) -> Result<(), String> {
        let mut lasting: Option<BTreeSet<Finding>> = None;
        let mut checked = BTreeMap::new();
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            let (held, unreached) = self.ask_agents().await;
            (response.agents, response.unreached) = (held.len() as u32, unreached);
            let follower = self.follower.clone();
            let verified = tokio::task::spawn_blocking(move || follower.read(|state| verify(state, &held))).await;
            let Verified { checked: counts, findings } = verified.map_err(|_| "verifying panicked")?;
            checked = counts;
            let mut found: BTreeSet<Finding> = findings.into_iter().collect();
            found.extend(self.obeyed_others());
            let still = match lasting {
                Some(before) => before.intersection(&found).cloned().collect(),
                None => found,
            };
            let over = still.is_empty();
            lasting = Some(still);
            if over {
                break;
            }
        }
        response.promises.extend(told(&checked, &lasting.unwrap_or_default()));
        Ok(())
    }

    /// Agents that are not taken in, since they have obeyed a leader that this journal does not know.
    fn obeyed_others(&self) -> Vec<Finding> {
        let live = self.live.borrow().clone();
        let shows = |alarm: &Alarm| matches!(alarm, Alarm::EpochAhead(_) | Alarm::StrangerAhead | Alarm::JournalBehind);
        let alarms = live.alarms.iter().filter(|(alarm, _)| shows(alarm));
        let finding = |text: &String| Finding { promise: Promise::Epoch, text: text.clone(), drifted: false };
        alarms.map(|(_, words)| finding(words)).collect()
    }

    async fn ask_agents(&self) -> (BTreeMap<AgentNo, Inspection>, Vec<String>) {
        let agents: Vec<_> = self.follower.read(|state| {
            let agents = state.agents.values();
            agents.map(|agent| (agent.no, agent.hostname.clone())).collect()
        });
        let live = self.live.borrow().clone();
        let (connected, away): (Vec<_>, Vec<_>) = agents.into_iter().partition(|(no, _)| live.is_connected(*no));
        let mut unreached: Vec<String> =
            away.into_iter().map(|(_, host)| format!("{host}: it is not connected")).collect();
        let asked = stream::iter(connected).map(|(no, host)| async move {
            (no, self.inspections.ask(&self.links, no).await.map_err(|error| format!("{host}: {error}")))
        });
        let answers: Vec<_> = asked.buffer_unordered(ASKED_AT_ONCE).collect().await;
        let mut held = BTreeMap::new();
        for (no, answer) in answers {
            match answer {
                Ok(inspection) => _ = held.insert(no, inspection),
                Err(words) => unreached.push(words),
            }
        }
        (held, unreached)
    }
}

async fn replay(source: &Source, marks: Vec<u64>) -> Result<Replayed, Unread> {
    let end = marks.iter().max().copied().unwrap_or(0);
    let from = marks.iter().min().copied().unwrap_or(0);
    match source.clone() {
        Source::Directory(dir) => {
            let read = tokio::task::spawn_blocking(move || {
                let mut replayed = Replayed::default();
                let state = journal::visit(&dir, from, &mut |state, batch| {
                    if batch.index > end {
                        return ControlFlow::Break(());
                    }
                    replayed.take(state, batch, &marks);
                    ControlFlow::Continue(())
                });
                state.map(|_| replayed).map_err(|error| match error {
                    OpenError::Io { ref source, .. } => Unread::NotNow(format!("{error}: {source}")),
                    OpenError::Locked { .. } => Unread::NotNow(error.to_string()),
                    error => Unread::Wrong(error.to_string()),
                })
            });
            let panicked = "a batch does not fit the state before it; the scheduler's log says how";
            read.await.map_err(|_| Unread::Wrong(panicked.into()))?
        }
        Source::Etcd(store) => loop {
            match replay_etcd(&store, &marks, end).await {
                // There is another snapshot to begin at.
                Err(etcd::EtcdError::Overtaken { .. }) => {}
                Err(error @ etcd::EtcdError::Corrupt { .. }) => return Err(Unread::Wrong(error.to_string())),
                Err(error) => return Err(Unread::NotNow(error.to_string())),
                Ok(replayed) => return Ok(replayed),
            }
        },
    }
}

async fn replay_etcd(store: &etcd::Store, marks: &[u64], end: u64) -> Result<Replayed, etcd::EtcdError> {
    let (mut reader, mut state) = etcd::Reader::open(store).await?;
    let mut replayed = Replayed::default();
    loop {
        let batches = reader.next().await?;
        for batch in batches.iter().filter(|batch| batch.index <= end) {
            replayed.take(&mut state, batch, marks);
        }
        if batches.last().is_none_or(|last| last.index >= end) {
            return Ok(replayed);
        }
    }
}

/// Every promise, kept or not, in its order.
fn told(checked: &BTreeMap<Promise, u64>, findings: &BTreeSet<Finding>) -> Vec<v1::Promise> {
    let promise = |promise: Promise| {
        let (id, text) = promise.words();
        let of = |drifted: bool| {
            let found = findings.iter().filter(move |one| one.promise == promise && one.drifted == drifted);
            found.map(|one| one.text.clone())
        };
        v1::Promise {
            id: id.into(),
            text: text.into(),
            checked: checked.get(&promise).copied().unwrap_or(0),
            violations: of(false).take(TOLD).collect(),
            violations_total: of(false).count() as u64,
            drifts: of(true).take(TOLD).collect(),
        }
    };
    Promise::ALL.into_iter().map(promise).collect()
}
