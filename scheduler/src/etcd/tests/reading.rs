//! Reading that is broken off, fails in the middle, is overtaken by a snapshot, or goes over a slow line.

use std::pin::pin;
use std::task::{Context, Waker};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::pack::pack_batches;
use super::answers::large;
use super::*;
use crate::drive::Follower;

/// Tells a follower what a tail tells.
fn telling(follower: &Follower) -> impl FnMut(Tailed) {
    |tailed| match tailed {
        Tailed::Batch(batch) => follower.apply(&[batch]),
        Tailed::Reset(state) => follower.reset(*state),
    }
}

fn same(follower: &Follower, tail: &Tail) {
    assert_eq!(follower.read(|state| state.index), tail.state().index);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_has_what_its_tail_has_wherever_reading_is_broken_off() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    // No page comes at once.
    let behind = Store::connect(&slow_line(&etcd.config).await).await.unwrap();
    let (mut tail, follower) = (Tail::new(behind, load(&store).await.unwrap()), Follower::new(State::default()));
    for index in 1..=30 {
        journal.append(batch(index, leadership.epoch)).await.unwrap();
    }
    let mut broken_off = 0;
    while tail.state().index < 30 {
        let (mut told, mut tell_on) = (0, telling(&follower));
        {
            let mut tell = |tailed| {
                told += 1;
                tell_on(tailed);
            };
            let mut reading = pin!(tail.to_end(&mut tell));
            // Broken off as soon as it has told anything and waits for more.
            let reached = follower.read(|state| state.index);
            while reading.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                if follower.read(|state| state.index) > reached {
                    broken_off += 1;
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        assert!(told > 0);
        same(&follower, &tail);
    }
    assert!(broken_off > 0, "it came at once");
    journal.append(batch(31, leadership.epoch)).await.unwrap();
    tail.to_end(&mut telling(&follower)).await.unwrap();
    let expected = digest(&replayed(1..=31, leadership.epoch));
    assert_eq!(follower.read(|state| digest(state)), expected);
    assert_eq!(digest(tail.state()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_has_what_its_tail_has_when_a_later_page_can_not_be_read() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let (mut tail, follower) = (Tail::new(store.clone(), load(&store).await.unwrap()), Follower::new(State::default()));
    for index in 1..=30 {
        journal.append(batch(index, leadership.epoch)).await.unwrap();
    }
    let mut kv = store.client().kv_client();
    kv.put(store.keys.segment(20), "garbage", None).await.unwrap();
    let error = tail.to_end(&mut telling(&follower)).await.unwrap_err().to_string();
    assert!(error.contains(&store.keys.segment(20)), "{error}");
    assert_eq!(tail.state().index, 19, "what came before is read");
    same(&follower, &tail);
    kv.put(store.keys.segment(20), pack_batches(&[batch(20, leadership.epoch)]), None).await.unwrap();
    tail.to_end(&mut telling(&follower)).await.unwrap();
    assert_eq!(follower.read(|state| digest(state)), digest(&replayed(1..=30, leadership.epoch)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_is_read_whatever_snapshots_another_takes_meanwhile() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let epoch = leadership.epoch;
    let (mut tail, follower) = (Tail::new(store.clone(), load(&store).await.unwrap()), Follower::new(State::default()));
    for index in 1..=100 {
        journal.append(batch(index, epoch)).await.unwrap();
    }
    let (mut reader, _) = Reader::open(&store).await.unwrap();
    assert!(reader.next().await.unwrap().len() < 100, "there is a second page");
    // The first page is read; before the second is asked for, etcd forgets the revision that it was read at.
    let other = store.clone();
    let (mut snapshot_taken, mut told) = (false, 0);
    let mut tell = telling(&follower);
    let mut tell_and_take = |tailed| {
        tell(tailed);
        told += 1;
        if !std::mem::replace(&mut snapshot_taken, true) {
            let state = replayed(1..=90, epoch);
            let taken = async { write_snapshot(&other, &state, 5).await.unwrap() };
            assert!(tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(taken)));
        }
    };
    tail.to_end(&mut tell_and_take).await.unwrap();
    assert!(told > 1);
    let expected = digest(&replayed(1..=100, epoch));
    assert_eq!((digest(tail.state()), follower.read(|state| digest(state))), (expected, expected));
    // What a reader was to read next is gone, and that is no damage.
    let overtaken = reader.next().await.unwrap_err();
    assert!(matches!(overtaken, EtcdError::Overtaken { .. }) && overtaken.is_passing(), "{overtaken}");
    assert_eq!(digest(&load(&store).await.unwrap().state), expected);
}

/// Bytes a second on the way from etcd.
const LINE: usize = 3 << 19;

/// A line before etcd that brings no more than [`LINE`], and nothing at once.
async fn slow_line(etcd: &EtcdConfig) -> EtcdConfig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let to = etcd.endpoints[0].trim_start_matches("http://").to_string();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&to).await.unwrap();
            let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
            tokio::spawn(async move {
                let (mut piece, mut free_at) = (vec![0; 64 << 10], tokio::time::Instant::now());
                while let Ok(read @ 1..) = far_in.read(&mut piece).await {
                    let takes = Duration::from_secs_f64(read as f64 / LINE as f64).max(Duration::from_millis(5));
                    free_at = free_at.max(tokio::time::Instant::now()) + takes;
                    tokio::time::sleep_until(free_at).await;
                    if near_out.write_all(&piece[..read]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    EtcdConfig { endpoints: vec![format!("http://{address}")], ..etcd.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_of_large_segments_is_read_over_a_line_that_is_good_enough_to_write_it() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let mut live = State::default();
    for index in 1..=10 {
        let large = large(index, leadership.epoch, 1_200_000);
        journal.append(large.clone()).await.unwrap();
        live.apply(&large);
    }
    let behind = Store::connect(&slow_line(&etcd.config).await).await.unwrap();
    assert_eq!(digest(&load(&behind).await.unwrap().state), digest(&live));
    let (mut reader, mut state) = Reader::open(&behind).await.unwrap();
    while state.index < live.index {
        reader.next().await.unwrap().iter().for_each(|batch| state.apply(batch));
    }
    assert_eq!(digest(&state), digest(&live));
}
