//! The largest that a leader writes: etcd takes it as it comes, and every reader reads it.

use super::*;
use crate::model::bounds::{CHUNK_BYTES, SEGMENT_BYTES, VALUE_BYTES};
use crate::wire::sample::largest_steps;
use crate::wire::snapshot_chunks;

async fn followed(tail: &mut Tail, index: u64) {
    while tail.state().index < index {
        tokio::time::timeout(Duration::from_secs(60), tail.next(&mut |_| {})).await.expect("the tail moves").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_steps_and_snapshots_are_taken_by_etcd_and_read_again() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let steps = largest_steps(1, leadership.epoch);
    let last = steps.len() as u64;
    // All at once: only bounds in bytes keep them apart.
    let mut appends = Vec::new();
    for step in &steps {
        appends.push(journal.append(step.clone()));
    }
    for append in appends {
        append.await.unwrap();
    }
    let mut live = State::default();
    steps.iter().for_each(|step| live.apply(step));
    assert_eq!(live.jobs.len(), steps.len());
    let (mut segments, mut incompressible) = (0, 0);
    let each = |kv: etcd_client::KeyValue| {
        segments += 1;
        incompressible += usize::from(kv.value().len() > SEGMENT_BYTES - 1024);
        assert!(kv.value().len() <= VALUE_BYTES, "{} bytes", kv.value().len());
        Ok(())
    };
    store.read_from("counting", &store.keys.segments(), store.keys.segments(), each).await.unwrap();
    assert_eq!((segments, incompressible), (steps.len(), steps.len() / 2));
    assert_eq!(digest(&load(&store).await.unwrap().state), digest(&live));
    followed(&mut tail, last).await;
    assert_eq!(digest(tail.state()), digest(&live));
    let (mut reader, mut read) = Reader::open(&store).await.unwrap();
    while read.index < last {
        reader.next().await.unwrap().iter().for_each(|batch| read.apply(batch));
    }
    assert_eq!(digest(&read), digest(&live));

    let chunks = snapshot_chunks(&live);
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
    assert!(write_snapshot(&store, &live, 1).await.unwrap());
    assert_eq!(digest(&load(&store).await.unwrap().state), digest(&live));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_without_their_last_one_are_void_under_the_next_leader() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let part = |number| Some(crate::model::Part { number, of: 3 });
    let of_step =
        |index, number| Arc::new(Batch { part: part(number), ..Batch::clone(&batch(index, leadership.epoch)) });
    journal.append(batch(1, leadership.epoch)).await.unwrap();
    journal.append(of_step(2, 1)).await.unwrap();
    journal.append(of_step(3, 2)).await.unwrap();
    // A follower takes a snapshot just then.
    followed(&mut tail, 3).await;
    assert_eq!(tail.state().jobs.len(), 1);
    assert!(write_snapshot(&store, tail.state(), 1).await.unwrap());
    leadership.resign().await.unwrap();
    let (second, mut journal) = lead(&etcd.config, &store).await;
    let loaded = load(&store).await.unwrap().state;
    assert_eq!((loaded.index, loaded.jobs.len(), loaded.parts.len()), (3, 1, 2));
    journal.append(batch(4, second.epoch)).await.unwrap();
    followed(&mut tail, 4).await;
    let loaded = load(&store).await.unwrap().state;
    for state in [tail.state(), &loaded] {
        let jobs: Vec<_> = state.jobs.keys().map(|job| job.0).collect();
        assert_eq!((jobs, state.parts.len()), (vec![1, 4], 0));
    }
    assert_eq!(digest(&loaded), digest(tail.state()));
}
