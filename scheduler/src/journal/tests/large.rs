//! The largest that a leader writes, and parts of a step.

use std::ops::ControlFlow;

use super::*;
use crate::model::JobMade;
use crate::model::bounds::{CHUNK_BYTES, SEGMENT_BYTES};
use crate::wire::sample::largest_steps;
use crate::wire::{journal_entries, snapshot_chunks};

#[tokio::test]
async fn the_largest_steps_and_snapshots_are_written_and_read_again() {
    let steps = largest_steps(1, dawn_proto::Epoch(1));
    let live = state_after(&steps);
    assert_eq!(live.jobs.len(), steps.len());
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    // All at once: only bounds in bytes keep them apart.
    let mut appends = Vec::new();
    for step in &steps {
        appends.push(journal.append(step.clone()));
    }
    for append in appends {
        append.await.unwrap();
    }
    let bytes = std::fs::read(&segments(dir.path())[0]).unwrap();
    let (mut at, mut groups) = (segment::HEADER_BYTES, 0);
    while let frame::Found::Frame { body, next } = frame::at(&bytes, at) {
        assert!(body.len() <= SEGMENT_BYTES, "a group of {} bytes", body.len());
        (at, groups) = (next, groups + 1);
    }
    assert_eq!(groups, steps.len());
    let chunks = snapshot_chunks(&live);
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
    journal.snapshots().save(live.index, &chunks).unwrap();
    drop(journal);
    assert_eq!(digest(&opened(dir.path())), digest(&live));
    std::fs::remove_dir_all(dir.path().join("snapshot")).unwrap();
    assert_eq!(digest(&opened(dir.path())), digest(&live));
    let file = dir.path().join("backup");
    std::fs::write(&file, backup_pieces(&live, 0, "1").unwrap().concat()).unwrap();
    assert_eq!(digest(&read_backup(&file).unwrap().state), digest(&live));
}

#[tokio::test]
async fn parts_without_their_last_one_are_not_there_for_whoever_reads() {
    let (mut batches, before) = story(5, 20);
    let of = |number| {
        let part = Some(crate::model::Part { number, of: 3 });
        let key = dawn_proto::JobKey::new("r", "e", &format!("part{number}")).unwrap();
        let mutations = vec![Mutation::JobMade(JobMade { job: crate::model::JobId(1_000 + number), key })];
        let index = before.index + u64::from(number);
        Arc::new(Batch { index, epoch: before.epoch, at: before.at, part, mutations })
    };
    batches.extend([of(1), of(2)]);
    let dir = written(&batches).await;
    let found = opened(dir.path());
    assert_eq!((found.index, found.jobs.len()), (before.index + 2, before.jobs.len()));
    let shown = |dir: &Path| {
        let mut shown = Vec::new();
        let state = visit(dir, 0, &mut |state, batch| {
            shown.extend(journal_entries(state, batch).into_iter().map(|entry| entry.index));
            ControlFlow::Continue(())
        });
        (shown, state.unwrap())
    };
    assert_eq!(shown(dir.path()).0.last(), Some(&before.index), "the journal's reader shows none of them");
    let next = Batch { index: found.index + 1, epoch: before.epoch, at: before.at, part: None, mutations: vec![] };
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    append_all(&mut journal, &[Arc::new(next)]).await;
    drop(journal);
    let found = opened(dir.path());
    assert_eq!((found.jobs.len(), found.parts.len()), (before.jobs.len(), 0));
    // With the last one all of them are there, each under its own index.
    let dir = written(&[&batches[..], &[of(3)]].concat()).await;
    let (indexes, state) = shown(dir.path());
    assert_eq!(indexes[indexes.len() - 3..], [before.index + 1, before.index + 2, before.index + 3]);
    assert_eq!((state.jobs.len(), digest(&state)), (before.jobs.len() + 3, digest(&opened(dir.path()))));
}
