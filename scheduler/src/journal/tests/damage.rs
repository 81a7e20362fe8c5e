//! Torn, flipped, missing and foreign files.

use std::fs;

use super::*;

/// Every file of the directory with its bytes.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    segments(dir).into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Where the frames of a segment begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut starts) = (segment::HEADER_BYTES, vec![]);
    while let frame::Found::Frame { next, .. } = frame::at(bytes, at) {
        starts.push(at);
        at = next;
    }
    assert_eq!(at, bytes.len());
    starts
}

/// As it is when the machine dies before the head file was written again.
fn set_head(dir: &Path, index: u64) {
    head::write(dir, index).unwrap();
}

/// Opening it fails with this place, changes nothing, and says up to where the journal is whole.
fn is_refused(dir: &Path, at: (&Path, usize), kept: u64, what: &str) -> String {
    let before = contents(dir);
    let error = error(dir);
    let OpenError::Corrupt { path, offset, whole_to, .. } = &error else { panic!("{what}: {error}") };
    assert_eq!((&**path, *offset, *whole_to), (at.0, at.1 as u64, Some(kept)), "{what}: {error}");
    assert_eq!(contents(dir), before, "{what}: nothing is overwritten");
    error.to_string()
}

#[tokio::test]
async fn a_last_record_that_nothing_names_as_durable_is_cut_off_at_any_byte_and_the_rest_stands() {
    let (batches, _) = story(5, 12);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    let last = *frames(&whole).last().unwrap();
    let kept = &batches[..batches.len() - 1];
    let before = digest(&state_after(kept));
    for at in last..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let mut zeroed = whole.clone();
        zeroed[at..].fill(0);
        for (damage, bytes) in [("cut", &whole[..at]), ("flipped", &flipped), ("zeroed", &zeroed)] {
            if bytes == whole {
                continue;
            }
            fs::write(&path, bytes).unwrap();
            set_head(dir.path(), kept.last().unwrap().index);
            assert_eq!(digest(&opened(dir.path())), before, "{damage} at {at}");
            assert_eq!(fs::read(&path).unwrap().len(), last, "{damage} at {at}: the torn end is gone");
        }
    }
    // And what is appended after it is read again.
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    append_all(&mut journal, &batches[batches.len() - 1..]).await;
    drop(journal);
    assert_eq!(digest(&opened(dir.path())), digest(&state_after(&batches)));
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[tokio::test]
async fn a_last_record_that_was_durable_is_never_cut_off_wherever_it_is_damaged() {
    let (batches, live) = story(6, 8);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    let last = *frames(&whole).last().unwrap();
    for at in last..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        for (damage, bytes) in [("cut", &whole[..at]), ("flipped", &flipped)] {
            fs::write(&path, bytes).unwrap();
            let what = format!("{damage} at {at}");
            let words = is_refused(dir.path(), (&path, last), live.index - 1, &what);
            let durable = format!("index {} was durable", live.index);
            assert!(words.contains(&durable) && words.contains("dawn admin journal cut --at "), "{what}: {words}");
        }
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}

#[tokio::test]
async fn a_journal_cut_where_a_record_ends_is_refused_and_not_taken_for_a_shorter_one() {
    let (batches, live) = story(12, 10);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    for (i, start) in frames(&whole).into_iter().enumerate() {
        fs::write(&path, &whole[..start]).unwrap();
        is_refused(dir.path(), (&path, start), i as u64, &format!("cut before record {i}"));
        let read = crate::journal::visit(dir.path(), 0, &mut |state, batch| {
            state.apply(batch);
            std::ops::ControlFlow::Continue(())
        });
        assert!(matches!(read, Err(OpenError::Corrupt { .. })), "who reads it is told too: {read:?}");
    }
    // A file system that lost the segments, too.
    fs::remove_file(&path).unwrap();
    let message = error(dir.path()).to_string();
    assert!(message.contains("batch 1 is missing, no segment comes next"), "{message}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}

#[tokio::test]
async fn zeros_after_the_last_record_are_a_torn_write() {
    let (batches, live) = story(7, 8);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    bytes.resize(length + 4096, 0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(digest(&opened(dir.path())), digest(&live));
    assert_eq!(fs::metadata(&path).unwrap().len(), length as u64);
}

#[tokio::test]
async fn a_flipped_bit_before_the_last_record_is_refused_with_its_place_and_nothing_is_changed() {
    let (batches, _) = story(8, 6);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    let starts = frames(&whole);
    let last = *starts.last().unwrap();
    for at in 0..last {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).unwrap();
        let expected = starts.iter().copied().rfind(|start| *start <= at).unwrap_or(0);
        match error(dir.path()) {
            OpenError::Corrupt { path: named, offset, .. } => {
                assert_eq!((named, offset), (path.clone(), expected as u64), "byte {at}");
            }
            other => panic!("byte {at}: {other}"),
        }
        assert_eq!(contents(dir.path()), [(path.clone(), damaged)], "byte {at}: nothing is overwritten");
    }
}

#[tokio::test]
async fn a_torn_end_of_a_segment_that_others_follow_is_refused() {
    let (batches, _) = story(9, 40);
    let dir = tempfile::tempdir().unwrap();
    let small = JournalSettings { segment_bytes: 1500, ..settings() };
    let (mut journal, _) = Embedded::open(dir.path(), small).unwrap();
    append_all(&mut journal, &batches).await;
    drop(journal);
    let first = segments(dir.path())[0].clone();
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(error(dir.path()), OpenError::Corrupt { path, .. } if path == first));
    // Cut at a record's border it is a hole instead.
    fs::write(&first, &bytes[..*frames(&bytes).last().unwrap()]).unwrap();
    assert!(matches!(error(dir.path()), OpenError::Gap { .. }));
    fs::remove_file(&first).unwrap();
    let message = error(dir.path()).to_string();
    assert!(message.contains("batch 1 is missing"), "{message}");
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_numbers() {
    let (batches, _) = story(10, 3);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[..segment::HEADER_BYTES].copy_from_slice(&segment::header(b"DAWNJRNL", 9, 1));
    fs::write(&path, &bytes).unwrap();
    let message = error(dir.path()).to_string();
    assert!(message.contains("has format 9, this version reads up to 2"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_half_made_segment_is_no_segment() {
    let (batches, live) = story(11, 10);
    let dir = written(&batches).await;
    let half_made = segment::path_of(&dir.path().join("journal"), live.index + 1).with_extension("tmp");
    fs::write(half_made, b"DAWN").unwrap();
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}
