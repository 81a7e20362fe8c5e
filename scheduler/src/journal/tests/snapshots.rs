//! Snapshots: what they spare, and what stands in when one is damaged.

use std::fs;

use super::*;
use crate::wire::snapshot_chunks;

fn small() -> JournalSettings {
    JournalSettings { segment_bytes: 1500, snapshot_after_bytes: 4000 }
}

fn numbers(dir: &Path, folder: &str, extension: &str) -> Vec<u64> {
    segment::list_numbered(&dir.join(folder), extension).unwrap().into_iter().map(|(number, _)| number).collect()
}

/// Appends the story and saves a snapshot at each of `at`, as a follower would.
async fn with_snapshots(batches: &[Arc<Batch>], at: &[usize]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, mut state) = Embedded::open(dir.path(), small()).unwrap();
    for (i, batch) in batches.iter().enumerate() {
        append_all(&mut journal, std::slice::from_ref(batch)).await;
        state.apply(batch);
        if at.contains(&i) {
            journal.snapshots().save(state.index, &snapshot_chunks(&state)).unwrap();
        }
    }
    dir
}

#[tokio::test]
async fn a_snapshot_spares_the_segments_before_the_last_two() {
    let (batches, live) = story(20, 200);
    let dir = with_snapshots(&batches, &[20, 60, 100]).await;
    assert_eq!(numbers(dir.path(), "snapshot", "snap"), [61, 101]);
    let first = numbers(dir.path(), "journal", "seg");
    assert!(first[0] > 1 && first[0] <= 62 && first[1] > 62, "those after the spare are all there: {first:?}");
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}

#[tokio::test]
async fn a_damaged_snapshot_is_set_aside_and_its_spare_used() {
    let (batches, live) = story(21, 150);
    let dir = with_snapshots(&batches, &[20, 60, 100]).await;
    let newest = dir.path().join(format!("snapshot/{:020}.snap", 101));
    let bytes = fs::read(&newest).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&newest, &damaged).unwrap();
        assert_eq!(digest(&opened(dir.path())), digest(&live), "byte {at}");
        assert!(!newest.exists());
    }
    for cut in (0..bytes.len()).step_by(97) {
        fs::write(&newest, &bytes[..cut]).unwrap();
        assert_eq!(digest(&opened(dir.path())), digest(&live), "cut at {cut}");
    }
}

#[tokio::test]
async fn without_any_whole_snapshot_the_missing_segments_are_named() {
    let (batches, _) = story(22, 150);
    let dir = with_snapshots(&batches, &[20, 60, 100]).await;
    for number in [61, 101] {
        fs::write(dir.path().join(format!("snapshot/{number:020}.snap")), b"nothing").unwrap();
    }
    let message = error(dir.path()).to_string();
    assert!(message.contains("batch 1 is missing"), "{message}");
}

#[tokio::test]
async fn a_journal_that_lost_what_its_snapshot_has_goes_on_after_it() {
    let (batches, live) = story(23, 40);
    let last = batches.len() - 1;
    let dir = with_snapshots(&batches, &[last]).await;
    let path = segments(dir.path()).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let (mut journal, state) = Embedded::open(dir.path(), small()).unwrap();
    assert_eq!(digest(&state), digest(&live));
    let next = Batch { index: live.index + 1, epoch: live.epoch, at: live.at, part: None, mutations: vec![] };
    append_all(&mut journal, &[Arc::new(next)]).await;
    drop(journal);
    assert_eq!(opened(dir.path()).index, live.index + 1);
}

#[tokio::test]
async fn a_snapshot_is_due_when_enough_was_appended_since_the_last() {
    let (batches, _) = story(24, 150);
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Embedded::open(dir.path(), small()).unwrap();
    let due = journal.snapshot_due();
    let is_due = async || tokio::time::timeout(std::time::Duration::ZERO, due.wait()).await.is_ok();
    append_all(&mut journal, &batches[..1]).await;
    assert!(!is_due().await, "a batch is not enough");
    append_all(&mut journal, &batches[1..]).await;
    assert!(is_due().await);
    assert!(!is_due().await, "the count begins anew");
    drop(journal);
    let (journal, _) = Embedded::open(dir.path(), small()).unwrap();
    let due = journal.snapshot_due();
    assert!(tokio::time::timeout(std::time::Duration::ZERO, due.wait()).await.is_ok(), "a long replay makes it due");
}
