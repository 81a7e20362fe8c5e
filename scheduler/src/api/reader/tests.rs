//! Whose reads wait for whose, and what is applied meanwhile.

use std::net::IpAddr;
use std::sync::mpsc;
use std::time::Duration;

use dawn_proto::{Epoch, Timestamp};
use tokio::task::JoinHandle;

use super::*;
use crate::model::Batch;

/// A read that hangs fails the test after it.
const DEADLINE: Duration = Duration::from_secs(30);

fn reader() -> Reader {
    Reader::new(Follower::new(State::default()))
}

fn client(number: u8) -> Option<Holder> {
    Some(IpAddr::from([10, 0, 0, number]).into())
}

/// A read that goes on looking until it is told to end.
struct Held {
    end: mpsc::Sender<()>,
    read: JoinHandle<Result<(), Status>>,
}

/// Begins a read, which tells `looks` once it looks.
fn hold(reader: &Reader, client: Option<Holder>, entries: usize, looks: &mpsc::Sender<()>) -> Held {
    let (end, ended) = mpsc::channel();
    let (reader, looks) = (reader.clone(), looks.clone());
    let look = move |_: &State| {
        _ = looks.send(());
        _ = ended.recv_timeout(DEADLINE);
    };
    let read = tokio::spawn(async move { reader.read(client, move |_| entries, look).await });
    Held { end, read }
}

/// Ends the reads, whichever of them look already.
async fn end(held: Vec<Held>) {
    held.iter().for_each(|held| held.end.send(()).unwrap());
    for held in held {
        within(held.read).await.unwrap().unwrap();
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("waits for reads that are not its own")
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_one_client_keep_neither_commands_nor_other_clients() {
    let reader = reader();
    let (looks, looking) = mpsc::channel();
    let held: Vec<Held> = (0..20).map(|_| hold(&reader, client(1), 1, &looks)).collect();
    looking.recv_timeout(DEADLINE).unwrap();
    assert_eq!(within(reader.find(|state| state.index)).await.unwrap(), 0);
    assert_eq!(within(reader.read(client(2), |_| 1, |state| state.index)).await.unwrap(), 0);
    let at_once = 1 + looking.try_iter().count();
    assert!(at_once <= READS_OF_ONE_CLIENT, "{at_once} reads of one client at once");
    end(held).await;
    // Nothing is kept of clients that read no more.
    within(reader.read(client(3), |_| 1, |_| ())).await.unwrap();
    let clients = reader.long.of_holders.lock().unwrap();
    assert!(clients.len() <= 3, "{} clients", clients.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_read_looks_at_a_copy_while_batches_are_applied() {
    let reader = reader();
    let (looks, looking) = mpsc::channel();
    let held = hold(&reader, client(1), MOST_ENTRIES_UNDER_LOCK + 1, &looks);
    looking.recv_timeout(DEADLINE).unwrap();
    let follower = reader.follower.clone();
    let (epoch, at) = (Epoch(1), Timestamp(1));
    let batch = Batch { index: 1, epoch, at, part: None, mutations: Vec::new() };
    within(tokio::task::spawn_blocking(move || follower.apply(&[Arc::new(batch)]))).await.unwrap();
    assert_eq!(within(reader.find(|state| state.index)).await.unwrap(), 1);
    end(vec![held]).await;
}
