//! Appending to each home: how many batches and mutations a second become durable, and how long one waits.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, TaskId, TaskState, Timestamp};
use dawn_scheduler::drive::{AppendError, Journal};
use dawn_scheduler::etcd::{self, EtcdJournal};
use dawn_scheduler::journal::{Embedded, JournalSettings};
use dawn_scheduler::model::{Batch, Mutation, TaskAssigned, TaskMoved};
use futures_util::stream::{FuturesOrdered, StreamExt};

use crate::homes::{Etcd, members_of};
use crate::options::Options;

/// Mutations in a batch, and batches in flight.
const STRETCHES: [(usize, usize); 5] = [(1, 1), (1, 4), (100, 4), (2000, 1), (2000, 4)];

pub async fn run(options: &Options) -> anyhow::Result<()> {
    println!("| home | mutations a batch | in flight | batches/s | mutations/s | p50 ms | p99 ms |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    // One home if it is named, or each.
    let homes = options.home.as_deref().map_or(vec!["embedded", "etcd", "etcd3"], |home| vec![home]);
    // Kept to the end, so that none gets the ports of one before it, whose clients may still try them.
    let mut kept = Vec::new();
    for home in homes {
        let folder = tempfile::tempdir().context("a folder for the journal")?;
        match members_of(home)? {
            None => {
                let (mut journal, state) = Embedded::open(folder.path(), JournalSettings::default())?;
                stretches(home, &mut journal, state.index, options).await?;
            }
            Some(members) => {
                let etcd = Etcd::start(members, folder.path(), options.lease_ms).await?;
                let leadership = etcd::campaign(&etcd.store, &etcd.config, "bench").await?;
                let head = etcd::head(&etcd.store).await?;
                let mut journal = EtcdJournal::start(etcd.store.clone(), &leadership, head);
                stretches(home, &mut journal, 0, options).await?;
                kept.push((etcd, leadership));
            }
        }
    }
    Ok(())
}

async fn stretches(home: &str, journal: &mut impl Journal, mut index: u64, options: &Options) -> anyhow::Result<()> {
    for (mutations, in_flight) in STRETCHES {
        let (batches, mut waits, took) = stretch(journal, &mut index, mutations, in_flight, options).await?;
        waits.sort_unstable();
        let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        let rate = batches as f64 / took.as_secs_f64();
        let of = mutations as f64 * rate;
        println!("| {home} | {mutations} | {in_flight} | {rate:.0} | {of:.0} | {:.2} | {:.2} |", at(0.5), at(0.99));
    }
    Ok(())
}

async fn stretch(
    journal: &mut impl Journal,
    index: &mut u64,
    mutations: usize,
    in_flight: usize,
    options: &Options,
) -> anyhow::Result<(usize, Vec<Duration>, Duration)> {
    let begun = Instant::now();
    let (mut flying, mut waits) = (FuturesOrdered::new(), Vec::new());
    while begun.elapsed() < Duration::from_secs(options.seconds.div_ceil(2)) {
        while flying.len() < in_flight {
            *index += 1;
            let (sent, appended) = (Instant::now(), journal.append(batch(*index, mutations)));
            flying.push_back(timed(sent, appended));
        }
        if let Some(wait) = flying.next().await {
            waits.push(wait?);
        }
    }
    while let Some(wait) = flying.next().await {
        waits.push(wait?);
    }
    Ok((waits.len(), waits, begun.elapsed()))
}

async fn timed(
    sent: Instant,
    appended: impl Future<Output = Result<(), AppendError>>,
) -> Result<Duration, AppendError> {
    appended.await.map(|()| sent.elapsed())
}

/// What placing and reports leave: a few tens of bytes each.
fn batch(index: u64, mutations: usize) -> Arc<Batch> {
    let mutation = |at: usize| {
        let task = TaskId(index * 2000 + at as u64);
        match at % 2 {
            0 => Mutation::TaskMoved(TaskMoved {
                task,
                to: TaskState::Running,
                reason: Reason::None,
                message: "".into(),
                exit: None,
                ended: None,
            }),
            _ => Mutation::TaskAssigned(TaskAssigned {
                task,
                agent: dawn_scheduler::model::AgentNo(at as u32),
                ports: [31_000].into(),
                devices: Box::default(),
            }),
        }
    };
    let at = Timestamp(1_700_000_000_000 + index as i64);
    Arc::new(Batch { index, epoch: Epoch(1), at, part: None, mutations: (0..mutations).map(mutation).collect() })
}
