//! What may be wrong with a journal in etcd: chunks that are gone or damaged, a newer writer, a database that only grows.

use super::super::pack::{pack, pack_batches};
use super::*;
use crate::model::QuotaSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_chunk_of_a_snapshot_that_is_missing_or_damaged_is_named() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    for index in 1..=3 {
        journal.append(batch(index, leadership.epoch)).await.unwrap();
    }
    write_snapshot(&store, &load(&store).await.unwrap().state, 7).await.unwrap();
    let chunks = crate::wire::snapshot_chunks(&load(&store).await.unwrap().state).len();
    assert!(chunks >= 2, "{chunks}");
    let mut kv = store.client().kv_client();
    for number in 0..chunks {
        let key = store.keys.chunk(3, 7, number);
        let good = store.read("reading", &key).await.unwrap().unwrap().value().to_vec();
        kv.delete(key.as_str(), None).await.unwrap();
        let missing = load(&store).await.err().unwrap().to_string();
        assert!(missing.contains("is missing") || missing.contains(&format!("of {chunks} chunks")), "{missing}");
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        kv.put(key.as_str(), damaged, None).await.unwrap();
        let error = load(&store).await.err().unwrap().to_string();
        assert!(error.contains(&key) && error.contains("does not match its checksum"), "{error}");
        kv.put(key.as_str(), good, None).await.unwrap();
    }
    assert_eq!(digest(&load(&store).await.unwrap().state), digest(&replayed(1..=3, leadership.epoch)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_a_newer_version_wrote_is_refused_with_both_versions() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    journal.append(batch(1, leadership.epoch)).await.unwrap();
    let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
    let mut newer = pack_batches(&[batch(2, leadership.epoch)]);
    newer[4] = 9;
    let mut kv = store.client().kv_client();
    kv.put(store.keys.segment(2), newer, None).await.unwrap();
    for error in [load(&store).await.err().unwrap(), tail.to_end(&mut |_| {}).await.err().unwrap()] {
        let error = error.to_string();
        assert!(error.contains(&store.keys.segment(2)), "{error}");
        assert!(error.contains("format 9") && error.contains("up to 2"), "{error}");
    }
    // A record that this version does not know, in a format that it does.
    let unknown = [0xc2, 0x3e, 0x00]; // field 1000, empty
    let wire = [&[8, 2, 0x22, unknown.len() as u8][..], &unknown].concat();
    let body = [&[wire.len() as u8][..], &wire].concat();
    kv.put(store.keys.segment(2), pack(&body), None).await.unwrap();
    let error = load(&store).await.err().unwrap().to_string();
    assert!(error.contains("a newer one wrote it"), "{error}");
}

/// Hexadecimal digits without any pattern.
fn noise(seed: u64, digits: usize) -> String {
    let mut state = seed;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit((state >> 60) as u32, 16).unwrap()
    };
    (0..digits).map(|_| digit()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_stays_bounded_over_thousands_of_batches() {
    const ROUNDS: u64 = 10;
    const BATCHES: u64 = 250;
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
    // A state that stays as large as it is, and a journal that does not compress.
    let quota = |index: u64| {
        let quota = crate::model::Quota { weight: 2 + (index % 7) as u32, ..Default::default() };
        let mutations =
            vec![Mutation::QuotaSet(Box::new(QuotaSet { role: "r".into(), quota, author: noise(index, 4_000) }))];
        Arc::new(Batch { index, epoch: leadership.epoch, at: Timestamp(index as i64), part: None, mutations })
    };
    let (mut index, mut sizes) = (0, Vec::new());
    for round in 0..ROUNDS {
        for _ in 0..BATCHES {
            index += 1;
            journal.append(quota(index)).await.unwrap();
        }
        tail.to_end(&mut |_| {}).await.unwrap();
        assert!(write_snapshot(&store, tail.state(), round).await.unwrap());
        let mut keys = 0;
        let each = |_| {
            keys += 1;
            Ok(())
        };
        store.read_from("counting", "/dawn/", "/dawn/".into(), each).await.unwrap();
        assert!(keys < 12, "{keys} keys after {index} batches");
        sizes.push(store.client().status().await.unwrap().db_size());
    }
    assert_eq!(load(&store).await.unwrap().state.index, ROUNDS * BATCHES);
    // The file never shrinks, and takes in again what was forgotten: without that it would be more than three times as
    // large at the end as after three rounds.
    assert!(sizes[sizes.len() - 1] < sizes[2] * 3 / 2, "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_which_etcd_takes_only_a_part_leaves_nothing_behind() {
    let Some(etcd) = etcd_with(&["--max-request-bytes", "65536"]) else { return };
    let store = store(&etcd.config).await;
    let mut live = State::default();
    crate::wire::sample::largest_steps(1, Epoch(1)).iter().for_each(|step| live.apply(step));
    let refused = write_snapshot(&store, &live, 1).await.unwrap_err();
    assert!(matches!(refused, EtcdError::TooLarge { .. }), "{refused}");
    let mut keys = Vec::new();
    let each = |kv: etcd_client::KeyValue| {
        keys.push(String::from_utf8_lossy(kv.key()).into_owned());
        Ok(())
    };
    let all = store.keys.snapshots();
    let revision = store.read_from("counting", &all, all.clone(), each).await.unwrap();
    assert_eq!(keys, Vec::<String>::new());
    assert!(revision > 2, "some of it was there");
}
