//! The journal's home as operators see it: read without changing it, by this scheduler or from outside.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dawn_proto::v1;
use futures_util::future::BoxFuture;
use prost::Message;
use tokio::sync::mpsc;

use super::RunError;
use super::leaving::{ANSWER_WITHIN, Leaving};
use super::verify::Verifier;
use crate::api::{Entries, Keeper};
use crate::drive::Follower;
use crate::etcd::{self, EtcdConfig, Store};
use crate::journal;
use crate::wire;

/// Entries sent at once, their bytes without the last one, and such portions on their way.
const PORTION: usize = 256;
const PORTION_BYTES: usize = 1 << 20;
const PORTIONS: usize = 4;

/// Where a journal lies.
#[derive(Clone, Debug)]
pub enum Place {
    Directory(PathBuf),
    Etcd(EtcdConfig),
}

/// The same, opened.
#[derive(Clone)]
pub enum Source {
    Directory(PathBuf),
    Etcd(Store),
}

impl Source {
    /// # Errors
    /// When etcd can't be reached, or the prefix is not Dawn's.
    pub async fn open(place: &Place) -> Result<Source, RunError> {
        match place {
            Place::Directory(dir) => Ok(Source::Directory(dir.clone())),
            Place::Etcd(config) => Ok(Source::Etcd(Store::connect(config).await?)),
        }
    }

    /// Sends the records from one index to the other (0: the end as of now).
    pub fn entries(&self, from: u64, to: u64) -> Entries {
        let (sender, entries) = mpsc::channel(PORTIONS);
        let to = if to == 0 { u64::MAX } else { to };
        match self.clone() {
            Source::Directory(dir) => _ = tokio::task::spawn_blocking(move || from_files(&dir, from, to, &sender)),
            Source::Etcd(store) => _ = tokio::spawn(from_etcd(store, from, to, sender)),
        }
        entries
    }
}

type Sender = mpsc::Sender<Result<v1::JournalEntries, String>>;

/// Entries that are sent together.
#[derive(Default)]
struct Portion {
    entries: v1::JournalEntries,
    bytes: usize,
}

impl Portion {
    /// Answers what is to be sent when it is full with the entry.
    fn add(&mut self, entry: v1::JournalEntry) -> Option<v1::JournalEntries> {
        self.bytes += entry.encoded_len();
        self.entries.entries.push(entry);
        let is_full = self.entries.entries.len() >= PORTION || self.bytes >= PORTION_BYTES;
        is_full.then(|| std::mem::take(self).entries)
    }
}

fn from_files(dir: &std::path::Path, from: u64, to: u64, sender: &Sender) {
    let mut portion = Portion::default();
    let read = journal::visit(dir, from, &mut |state, batch| {
        if batch.index > to {
            return ControlFlow::Break(());
        }
        let entries = wire::journal_entries(state, batch);
        for entry in entries.into_iter().filter(|_| batch.index >= from) {
            if let Some(full) = portion.add(entry)
                && sender.blocking_send(Ok(full)).is_err()
            {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    // Whoever asked may have gone.
    _ = sender.blocking_send(Ok(portion.entries));
    if let Err(error) = read {
        _ = sender.blocking_send(Err(error.to_string()));
    }
}

async fn from_etcd(store: Store, from: u64, to: u64, sender: Sender) {
    let read = async {
        let (mut reader, mut state) = etcd::Reader::open(&store).await?;
        loop {
            let batches = reader.next().await?;
            let mut portion = Portion::default();
            let is_over = batches.last().is_none_or(|last| last.index >= to);
            for batch in batches.iter().filter(|batch| batch.index <= to) {
                let entries = wire::journal_entries(&mut state, batch);
                for entry in entries.into_iter().filter(|_| batch.index >= from) {
                    if let Some(full) = portion.add(entry)
                        && sender.send(Ok(full)).await.is_err()
                    {
                        return Ok(());
                    }
                }
            }
            if sender.send(Ok(portion.entries)).await.is_err() || is_over {
                return Ok::<(), etcd::EtcdError>(());
            }
        }
    };
    if let Err(error) = read.await {
        _ = sender.send(Err(error.to_string())).await;
    }
}

/// Of a scheduler at work.
pub(super) struct HomeKeeper {
    pub follower: Arc<Follower>,
    pub source: Source,
    pub leaving: Arc<Leaving>,
    /// This scheduler's own, as others are told it.
    pub address: String,
    pub verifier: Arc<Verifier>,
}

impl Keeper for HomeKeeper {
    fn backup(&self) -> BoxFuture<'static, Result<Vec<Vec<u8>>, String>> {
        let follower = self.follower.clone();
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(move || {
                follower.read(|state| journal::backup_pieces(state, now_ms(), env!("CARGO_PKG_VERSION")))
            });
            let made =
                made.await.map_err(|_| "taking the backup panicked; the scheduler's log says why".to_string())?;
            made.ok_or_else(|| "a part of the state is above 4 GiB".to_string())
        })
    }

    fn journal(&self, from: u64, to: u64) -> Entries {
        self.source.entries(from, to)
    }

    fn verify(&self) -> BoxFuture<'static, Result<v1::VerifyResponse, String>> {
        let verifier = self.verifier.clone();
        Box::pin(async move { verifier.verify().await })
    }

    fn leave(&self, led: bool) -> BoxFuture<'static, Result<Option<String>, String>> {
        let (leaving, source, address) = (self.leaving.clone(), self.source.clone(), self.address.clone());
        Box::pin(async move {
            leaving.ask();
            let left = match (leaving.until_ended().await, source) {
                (Ok(()), Source::Etcd(store)) if led => next_leader(&store, &address).await.map(Some),
                (ended, _) => ended.map(|()| None),
            };
            leaving.answer();
            left
        })
    }
}

/// Who is elected after this scheduler has left.
async fn next_leader(store: &Store, own_address: &str) -> Result<String, String> {
    let patience = ANSWER_WITHIN - Duration::from_secs(1);
    let until = tokio::time::Instant::now() + patience;
    let mut why = String::new();
    loop {
        match tokio::time::timeout_at(until, etcd::leader(store)).await {
            Ok(Ok(Some(leader))) if leader != own_address => return Ok(leader),
            Ok(Ok(_)) => why = "no other scheduler stands for election".to_string(),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => {
                let patience = dawn_proto::amounts::whole_seconds(patience);
                return Err(format!("it handed over, but nobody else was elected within {patience}: {why}"));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The wall clock, in milliseconds.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
