//! The etcd journal against a real etcd of its own on loopback. Skipped loudly where no etcd is installed.

mod answers;
mod faults;
mod large;
mod members;
mod reading;
mod restores;
mod secure;

use std::sync::Arc;
use std::time::Duration;

use dawn_proto::{Epoch, JobKey, Timestamp};

use super::fixture::{etcd, etcd_with, store};
use super::*;
use crate::drive::{AppendError, Journal};
use crate::model::{Batch, JobId, JobMade, Mutation, State};
use crate::wire::digest;

/// A batch that makes one job, so that states differ by index.
fn batch(index: u64, epoch: Epoch) -> Arc<Batch> {
    let key = JobKey::new("r", "e", &format!("j{index}")).unwrap();
    let mutations = vec![Mutation::JobMade(JobMade { job: JobId(index as u32), key })];
    Arc::new(Batch { index, epoch, at: Timestamp(index as i64), part: None, mutations })
}

fn replayed(indexes: std::ops::RangeInclusive<u64>, epoch: Epoch) -> State {
    let mut state = State::default();
    indexes.for_each(|index| state.apply(&batch(index, epoch)));
    state
}

async fn lead(config: &EtcdConfig, store: &Store) -> (Leadership, EtcdJournal) {
    let leadership = campaign(store, config, "127.0.0.1:1").await.unwrap();
    let head = head(store).await.unwrap();
    let journal = EtcdJournal::start(store.clone(), &leadership, head);
    (leadership, journal)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_is_loaded_and_followed() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let epoch = leadership.epoch;
    let mut last = Box::pin(journal.append(batch(1, epoch)));
    for index in 2..=50 {
        last = Box::pin(journal.append(batch(index, epoch)));
    }
    last.await.unwrap();
    let expected = digest(&replayed(1..=50, epoch));
    assert_eq!(digest(&load(&store).await.unwrap().state), expected);
    while tail.state().index < 50 {
        tokio::time::timeout(Duration::from_secs(10), tail.next(&mut |_| {})).await.expect("the tail moves").unwrap();
    }
    assert_eq!(digest(tail.state()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_lost_its_key_can_append_nothing() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (first, mut old) = lead(&etcd.config, &store).await;
    old.append(batch(1, first.epoch)).await.unwrap();
    let first_epoch = first.epoch;
    first.resign().await.unwrap();
    let (second, mut new) = lead(&etcd.config, &store).await;
    assert!(second.epoch > first_epoch);
    let refused = old.append(batch(2, first_epoch)).await;
    assert!(matches!(refused, Err(AppendError::NotLeader { index: 2 })), "{refused:?}");
    new.append(batch(2, second.epoch)).await.unwrap();
    let loaded = load(&store).await.unwrap().state;
    assert_eq!((loaded.index, loaded.epoch), (2, second.epoch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_paused_beyond_its_lease_is_replaced_and_learns_it() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (mut first, mut old) = lead(&etcd.config, &store).await;
    old.append(batch(1, first.epoch)).await.unwrap();
    assert_eq!(leader(&store).await.unwrap().as_deref(), Some("127.0.0.1:1"));
    // The lease dies under the leader, as it does when its process is stopped for too long.
    let leases = store.client().leases().await.unwrap();
    store.client().lease_revoke(leases.leases()[0].id()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), first.lost.wait_for(|lost| *lost)).await.expect("told").unwrap();
    assert_eq!(leader(&store).await.unwrap(), None);
    assert!(matches!(old.append(batch(2, first.epoch)).await, Err(AppendError::NotLeader { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_replaces_the_segments_it_covers() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    for index in 1..=10 {
        journal.append(batch(index, leadership.epoch)).await.unwrap();
    }
    let state = load(&store).await.unwrap().state;
    assert!(write_snapshot(&store, &state, 1).await.unwrap());
    assert!(!write_snapshot(&store, &state, 2).await.unwrap(), "a second one of the same index is not needed");
    journal.append(batch(11, leadership.epoch)).await.unwrap();
    let mut segments = 0;
    let count = |_| {
        segments += 1;
        Ok(())
    };
    store.read_from("counting", &store.keys.segments(), store.keys.segments(), count).await.unwrap();
    assert!(segments <= 2, "{segments} segments are left of 11");
    let expected = digest(&replayed(1..=11, leadership.epoch));
    assert_eq!(digest(&load(&store).await.unwrap().state), expected);
    // A follower whose segments are gone goes on from the snapshot.
    tail.to_end(&mut |_| {}).await.unwrap();
    assert_eq!(digest(tail.state()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_and_strangers_are_refused_by_name() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    assert_eq!(claim(&store, "one", "").await.unwrap(), "one");
    assert_eq!(claim(&store, "two", "one").await.unwrap(), "one");
    let stranger = claim(&store, "two", "two").await.unwrap_err().to_string();
    assert!(stranger.contains("belongs to cluster one, not to two"), "{stranger}");

    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    for index in 1..=3 {
        journal.append(batch(index, leadership.epoch)).await.unwrap();
    }
    let state = load(&store).await.unwrap().state;
    write_snapshot(&store, &state, 7).await.unwrap();
    let mut kv = store.client().kv_client();
    let chunk = store.keys.chunk(3, 7, 0);
    let good = store.read("reading", &chunk).await.unwrap().unwrap().value().to_vec();
    kv.put(chunk.as_str(), "garbage", None).await.unwrap();
    let error = load(&store).await.err().unwrap().to_string();
    assert!(error.contains(&chunk) && error.contains("no Dawn segment"), "{error}");
    kv.delete(chunk.as_str(), None).await.unwrap();
    let error = load(&store).await.err().unwrap().to_string();
    assert!(error.contains("missing") || error.contains("0 of"), "{error}");
    kv.put(chunk.as_str(), good, None).await.unwrap();
    assert_eq!(digest(&load(&store).await.unwrap().state), digest(&state));

    kv.put(store.keys.meta(), "dawn 9 one", None).await.unwrap();
    let newer = claim(&store, "x", "").await.unwrap_err().to_string();
    assert!(newer.contains("format 9") && newer.contains("up to 1"), "{newer}");
    kv.put(store.keys.meta(), "something else", None).await.unwrap();
    assert!(claim(&store, "x", "").await.unwrap_err().to_string().contains("is not Dawn's"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_is_named_and_holds_appends_up() {
    let Some(etcd) = etcd_with(&["--quota-backend-bytes", "2000000"]) else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    journal.append(batch(1, leadership.epoch)).await.unwrap();
    let mut kv = store.client().kv_client();
    for n in 0..100 {
        if kv.put(format!("/filler/{n}"), vec![7u8; 200_000], None).await.is_err() {
            break;
        }
    }
    let held = journal.append(batch(2, leadership.epoch));
    let mut trouble = journal.trouble();
    let told = tokio::time::timeout(Duration::from_secs(10), trouble.wait_for(|trouble| !trouble.is_empty()));
    let words = told.await.expect("trouble is told").unwrap().clone();
    assert!(words.starts_with(WAITS) && words.contains("out of space") && words.contains("space exceeded"), "{words}");
    drop(held);
}
