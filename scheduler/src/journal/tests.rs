//! What survives a crash, what is recovered, and what is refused.

mod backups;
mod cuts;
mod damage;
mod heads;
mod large;
mod snapshots;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::model::{ClusterMade, EpochBegun, Mutation};
use crate::wire::digest;
use crate::wire::sample::story;

fn settings() -> JournalSettings {
    JournalSettings::default()
}

async fn append_all(journal: &mut Embedded, batches: &[Arc<Batch>]) {
    for batch in batches {
        journal.append(batch.clone()).await.unwrap();
    }
}

/// A directory with the story's batches in it, each its own group.
async fn written(batches: &[Arc<Batch>]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, state) = Embedded::open(dir.path(), settings()).unwrap();
    assert_eq!(state.index, 0);
    append_all(&mut journal, batches).await;
    dir
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    segment::list(&dir.join("journal")).unwrap().into_iter().map(|(_, path)| path).collect()
}

fn state_after(batches: &[Arc<Batch>]) -> State {
    let mut state = State::default();
    batches.iter().for_each(|batch| state.apply(batch));
    state
}

fn opened(dir: &Path) -> State {
    Embedded::open(dir, settings()).unwrap().1
}

fn error(dir: &Path) -> OpenError {
    Embedded::open(dir, settings()).err().expect("it opens")
}

#[tokio::test]
async fn what_was_appended_is_read_again_and_appended_to() {
    let (batches, live) = story(1, 60);
    let half = batches.len() / 2;
    let dir = written(&batches[..half]).await;
    let (mut journal, state) = Embedded::open(dir.path(), settings()).unwrap();
    assert_eq!(digest(&state), digest(&state_after(&batches[..half])));
    append_all(&mut journal, &batches[half..]).await;
    drop(journal);
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}

#[tokio::test]
async fn batches_appended_together_become_durable_in_order() {
    let (batches, live) = story(2, 60);
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    let mut appends = Vec::new();
    for batch in &batches {
        appends.push(journal.append(batch.clone()));
    }
    for append in appends {
        append.await.unwrap();
    }
    drop(journal);
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}

#[tokio::test]
async fn a_dropped_journal_has_written_what_it_was_given() {
    let (batches, live) = story(3, 40);
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    // Nobody waits for them.
    batches.iter().for_each(|batch| drop(journal.append(batch.clone())));
    drop(journal);
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}

#[tokio::test]
async fn a_full_segment_is_followed_by_a_new_one() {
    let (batches, live) = story(4, 160);
    let dir = tempfile::tempdir().unwrap();
    let small = JournalSettings { segment_bytes: 2000, ..settings() };
    let (mut journal, _) = Embedded::open(dir.path(), small).unwrap();
    append_all(&mut journal, &batches).await;
    drop(journal);
    assert!(segments(dir.path()).len() > 3, "{:?}", segments(dir.path()));
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    let message = error(dir.path()).to_string();
    assert!(message.contains(&format!("in use by pid {} on host", std::process::id())), "{message}");
    drop(journal);
    opened(dir.path());
}

#[test]
fn a_directory_that_can_not_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let message = error(file.path()).to_string();
    assert!(message.contains(&file.path().display().to_string()), "{message}");
}

#[test]
fn a_full_disk_fails_the_append_with_its_cause_and_all_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let tail = replay::Tail { file: full, path: "/dev/full".into(), length: 0 };
    let mut writer = writer::Writer::start(dir.path(), Some(tail), 0, 0, settings(), None).unwrap();
    let batch = |index| {
        Arc::new(Batch { index, epoch: Default::default(), at: Default::default(), part: None, mutations: vec![] })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first = runtime.block_on(writer.append(batch(1))).unwrap_err();
    assert_eq!(first.to_string(), "appending batch 1 to /dev/full");
    let cause = std::error::Error::source(&first).unwrap().to_string();
    assert!(cause.contains("No space left on device"), "{cause}");
    let second = runtime.block_on(writer.append(batch(2))).unwrap_err();
    assert!(matches!(second, AppendError::Failed { index: 2, .. }), "{second:?}");
    _ = &mut writer;
}

#[test]
fn a_stop_waits_for_no_disk_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let lock = lock::Lock::take(dir.path()).unwrap();
    // Takes 64 KiB, and then no more until somebody reads.
    let (reader, hangs) = std::io::pipe().unwrap();
    let tail = replay::Tail { file: std::os::fd::OwnedFd::from(hangs).into(), path: "hangs".into(), length: 0 };
    let writer = writer::Writer::start(dir.path(), Some(tail), 0, 0, settings(), Some(lock)).unwrap();
    let kind = Mutation::ClusterMade(ClusterMade { cluster_id: "x".repeat(1 << 20) });
    let batch =
        Batch { index: 1, epoch: Default::default(), at: Default::default(), part: None, mutations: vec![kind] };
    let append = writer.append(Arc::new(batch));
    let (stopped, stops) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(writer);
        _ = stopped.send(());
    });
    stops.recv_timeout(std::time::Duration::from_secs(30)).expect("waits for the disk");
    // Its last write may still reach the disk: nobody else writes there before.
    assert!(matches!(lock::Lock::take(dir.path()), Err(OpenError::Locked { .. })));
    drop(reader);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(append).is_err());
}

#[tokio::test]
async fn a_hole_in_the_indexes_is_refused() {
    let batch = |index| {
        let mutations = vec![Mutation::EpochBegun(EpochBegun { epoch: dawn_proto::Epoch(index) })];
        Arc::new(Batch { index, epoch: dawn_proto::Epoch(index), at: Default::default(), part: None, mutations })
    };
    let dir = written(&[batch(1), batch(2), batch(4)]).await;
    let message = error(dir.path()).to_string();
    assert!(message.contains("batch 3 is missing, 4"), "{message}");
}
