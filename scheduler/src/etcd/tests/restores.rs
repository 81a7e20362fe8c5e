//! A journal in etcd that begins anew with a backup.

use super::*;
use crate::model::{EpochBegun, Restored, Truth};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// What a backup of cluster `one` after three batches is restored as.
fn backup(epoch: Epoch) -> (State, Batch) {
    let state = State::of(Truth { cluster_id: "one".into(), ..replayed(1..=3, epoch).truth().clone() });
    Restored::from_backup(state, NOW)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_prefix_begins_with_the_backup_and_leads_on_above_every_epoch() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (state, first) = backup(Epoch(5));
    restore(&store, &state, &first, false).await.unwrap();
    assert_eq!(claim(&store, "x", "one").await.unwrap(), "one");
    let loaded = load(&store).await.unwrap().state;
    assert_eq!((loaded.index, loaded.epoch, loaded.restores.waiting), (first.index, first.epoch, true));
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let epoch = loaded.epoch_of(leadership.epoch.0);
    assert!(epoch > first.epoch && leadership.epoch < first.epoch);
    let mutations = vec![Mutation::EpochBegun(EpochBegun { epoch })];
    let next = Batch { index: first.index + 1, epoch, at: Timestamp(NOW.0 + 1), part: None, mutations };
    journal.append(Arc::new(next)).await.unwrap();
    assert_eq!(load(&store).await.unwrap().state.epoch, epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_with_a_journal_is_replaced_only_when_told_unused_and_by_its_own_cluster() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    claim(&store, "one", "").await.unwrap();
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    let epoch = leadership.epoch;
    for index in 1..=5 {
        journal.append(batch(index, epoch)).await.unwrap();
    }
    write_snapshot(&store, &load(&store).await.unwrap().state, 7).await.unwrap();
    let mut tail = Tail::new(store.clone(), load(&store).await.unwrap());
    let (state, first) = backup(epoch);
    let error = async |state: &State, replace| restore(&store, state, &first, replace).await.unwrap_err().to_string();
    assert!(error(&state, true).await.contains("stop every scheduler"));
    leadership.resign().await.unwrap();
    let occupied = error(&state, false).await;
    assert!(occupied.contains("up to batch 5") && occupied.contains("--replace"), "{occupied}");
    let stranger = State::of(Truth { cluster_id: "two".into(), ..state.clone().truth().clone() });
    assert!(error(&stranger, true).await.contains("belongs to cluster one, not to two"));
    assert_eq!(load(&store).await.unwrap().state.index, 5, "a refusal changes nothing");

    restore(&store, &state, &first, true).await.unwrap();
    let mut keys = Vec::new();
    let each = |kv: etcd_client::KeyValue| {
        keys.push(String::from_utf8_lossy(kv.key()).into_owned());
        Ok(())
    };
    store.read_from("counting", "/dawn/", "/dawn/".into(), each).await.unwrap();
    assert_eq!(keys.iter().filter(|key| key.contains("/journal/")).count(), 1, "{keys:?}");
    assert!(keys.iter().filter(|key| key.contains("/snapshot/")).all(|key| key.contains(&format!("{}", state.index))));
    assert_eq!(load(&store).await.unwrap().state.jobs.len(), 3);
    // A follower of the journal as it was does not mistake this one for its own.
    let mut told = Vec::new();
    tail.to_end(&mut |tailed| told.push(tailed)).await.unwrap();
    assert!(matches!(told[..], [Tailed::Reset(_)]), "{told:?}");
    assert!(matches!(journal.append(batch(6, epoch)).await, Err(AppendError::NotLeader { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_is_read_page_by_page_from_its_snapshot_on() {
    let Some(etcd) = etcd() else { return };
    let store = store(&etcd.config).await;
    let (leadership, mut journal) = lead(&etcd.config, &store).await;
    for index in 1..=40 {
        journal.append(batch(index, leadership.epoch)).await.unwrap();
        if index == 3 {
            write_snapshot(&store, &load(&store).await.unwrap().state, 7).await.unwrap();
        }
    }
    let (mut reader, mut state) = Reader::open(&store).await.unwrap();
    assert_eq!(state.index, 3);
    loop {
        let batches = reader.next().await.unwrap();
        if batches.is_empty() {
            break;
        }
        batches.iter().for_each(|batch| state.apply(batch));
    }
    assert_eq!(digest(&state), digest(&replayed(1..=40, leadership.epoch)));
    let mut kv = store.client().kv_client();
    kv.delete(store.keys.segment(20), None).await.unwrap();
    let (mut reader, _) = Reader::open(&store).await.unwrap();
    let missing = loop {
        match reader.next().await {
            Ok(batches) => assert!(!batches.is_empty(), "the gap is not seen"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(missing.contains("where 20 is missing"), "{missing}");
}
