//! Backups: whole or refused; a directory that begins anew with one.

use std::ops::ControlFlow;

use dawn_proto::Timestamp;

use super::*;
use crate::journal::{BackupError, RestoreError, backup_pieces, read_backup, visit};
use crate::model::{Restored, Truth};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A backup of the state, as a file.
fn backup(state: &State) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let (file, bytes) = (dir.path().join("backup"), backup_pieces(state, 5, "test").unwrap().concat());
    std::fs::write(&file, &bytes).unwrap();
    (dir, file, bytes)
}

fn entries(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != "lock").collect();
    names.sort();
    names
}

#[test]
fn a_backup_reads_back_as_the_state_it_was_made_of() {
    let (_, state) = story(5, 150);
    let (_dir, file, bytes) = backup(&state);
    let read = read_backup(&file).unwrap();
    assert_eq!((digest(&read.state), read.bytes), (digest(&state), bytes.len() as u64));
    assert_eq!((read.head.index, read.head.tasks as usize), (state.index, state.tasks.len()));
    assert_eq!((read.head.version.as_str(), read.head.made_ms), ("test", 5));
}

#[test]
fn a_backup_cut_or_changed_anywhere_a_newer_one_and_a_stranger_are_refused() {
    let (_, state) = story(5, 40);
    let (_dir, file, bytes) = backup(&state);
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        read_backup(&file).unwrap_err()
    };
    for cut in (0..bytes.len()).step_by(7) {
        let error = refused(&bytes[..cut]);
        assert!(matches!(error, BackupError::Damaged { .. } | BackupError::NoBackup { .. }), "cut at {cut}: {error}");
    }
    let last = refused(&bytes[..bytes.len() - frame::HEADER_BYTES]).to_string();
    assert!(last.contains("cut short") && last.contains("use another one"), "{last}");
    for at in (0..bytes.len()).step_by(5) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        let error = refused(&changed).to_string();
        assert!(error.contains("backup"), "changed at {at}: {error}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(refused(&longer).to_string().contains("bytes follow its end"));
    let mut newer = segment::header(b"DAWNBKUP", 9, state.index);
    newer.extend(&bytes[segment::HEADER_BYTES..]);
    let error = refused(&newer).to_string();
    assert!(error.contains("format 9") && error.contains("up to 1") && error.contains("newer dawn"), "{error}");
    assert!(refused(b"PK\x03\x04 a zip file").to_string().contains("no backup of Dawn's"));
}

#[tokio::test]
async fn an_empty_directory_begins_with_the_backup_and_everything_counted_is_ahead() {
    let (batches, live) = story(6, 80);
    let (state, batch) = Restored::from_backup(live.clone(), NOW);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(restore(dir.path(), &state, &batch, false).unwrap(), None);
    assert_eq!(entries(dir.path()), ["head", "journal", "snapshot"]);
    let (journal, opened) = Embedded::open(dir.path(), settings()).unwrap();
    let busy = restore(dir.path(), &state, &batch, true).unwrap_err().to_string();
    assert!(busy.contains("in use by pid"), "{busy}");
    drop(journal);
    let restored = opened.restores.last().unwrap();
    assert!(opened.restores.waiting && opened.index == batch.index && opened.epoch == restored.epoch);
    assert_eq!((restored.at, restored.first_lost_task, opened.next_task), (NOW, live.next_task, restored.next_task));
    let last = batches.last().unwrap();
    for (now, before) in
        [(opened.index, last.index), (opened.epoch.0, last.epoch.0), (opened.next_task.0, live.next_task.0)]
    {
        assert!(now > before + 1_000_000 && now < 1 << 53, "{now} after {before}");
    }
    assert_eq!((&opened.tasks, &opened.jobs), (&live.tasks, &live.jobs));
}

#[tokio::test]
async fn a_directory_with_a_journal_is_replaced_only_when_told_and_only_by_its_own_cluster() {
    let (batches, live) = story(6, 60);
    let dir = written(&batches).await;
    let before = digest(&opened(dir.path()));
    let (state, batch) = Restored::from_backup(live.clone(), NOW);
    let refused = restore(dir.path(), &state, &batch, false).unwrap_err();
    assert!(
        matches!(&refused, RestoreError::Occupied { .. }) && refused.to_string().contains("--replace"),
        "{refused}"
    );
    let stranger = State::of(Truth { cluster_id: "another".into(), ..state.clone().truth().clone() });
    let refused = restore(dir.path(), &stranger, &batch, true).unwrap_err().to_string();
    assert!(refused.contains("the backup is of cluster another; give another --data-dir"), "{refused}");
    assert_eq!(digest(&opened(dir.path())), before, "a refusal changes nothing");

    let aside = restore(dir.path(), &state, &batch, true).unwrap().expect("what was there is moved aside");
    assert_eq!(entries(&aside), ["head", "journal", "snapshot"]);
    assert_eq!(opened(dir.path()).index, batch.index);
    assert_eq!(digest(&opened(&aside)), before, "what was moved aside is whole");
    // A journal that can't be read any more is what backups are for.
    let path = segments(dir.path()).pop().unwrap();
    std::fs::write(&path, b"garbage that is long enough for a header").unwrap();
    let later = Restored::from_backup(live, Timestamp(NOW.0 + 10_000));
    assert!(restore(dir.path(), &later.0, &later.1, true).unwrap().is_some());
    assert_eq!(opened(dir.path()).index, later.1.index);
}

#[tokio::test]
async fn a_restore_cut_short_is_not_taken_for_a_journal() {
    let (batches, live) = story(6, 60);
    let dir = written(&batches).await;
    std::fs::create_dir(dir.path().join("restoring")).unwrap();
    let refused = error(dir.path()).to_string();
    assert!(refused.contains("cut short") && refused.contains("--replace"), "{refused}");
    let (state, batch) = Restored::from_backup(live, NOW);
    restore(dir.path(), &state, &batch, true).unwrap();
    assert_eq!(opened(dir.path()).index, batch.index);
}

#[tokio::test]
async fn a_journal_is_read_from_any_index_beside_its_writer_and_nothing_is_changed() {
    let (batches, live) = story(7, 80);
    let half = batches.len() / 2;
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    append_all(&mut journal, &batches[..half]).await;
    let middle = state_after(&batches[..half]);
    journal.snapshots().save(middle.index, &crate::wire::snapshot_chunks(&middle)).unwrap();
    append_all(&mut journal, &batches[half..]).await;
    for from in [0, 1, batches[half].index, batches.last().unwrap().index + 1] {
        let mut seen = Vec::new();
        let state = visit(dir.path(), from, &mut |state, batch| {
            state.apply(batch);
            seen.extend((batch.index >= from).then_some(batch.index));
            ControlFlow::Continue(())
        });
        assert_eq!(digest(&state.unwrap()), digest(&live), "from {from}");
        let wanted: Vec<u64> = batches.iter().map(|batch| batch.index).filter(|index| *index >= from).collect();
        assert_eq!(seen, wanted, "from {from}");
    }
    // A last write that is not whole is not there yet.
    let path = segments(dir.path()).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let torn = [&whole[..], &whole[segment::HEADER_BYTES..segment::HEADER_BYTES + 20]].concat();
    std::fs::write(&path, &torn).unwrap();
    let state = visit(dir.path(), 0, &mut |state, batch| {
        state.apply(batch);
        ControlFlow::Continue(())
    });
    assert_eq!(state.unwrap().index, live.index);
    assert_eq!(std::fs::read(&path).unwrap(), torn, "nothing is cut off");
}
