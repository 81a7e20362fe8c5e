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

#[tokio::test]
async fn a_last_record_cut_at_any_byte_is_cut_off_and_the_rest_stands() {
    let (batches, _) = story(5, 12);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    let last = *frames(&whole).last().unwrap();
    let before = digest(&state_after(&batches[..batches.len() - 1]));
    for cut in last..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(digest(&opened(dir.path())), before, "cut at {cut}");
        assert_eq!(fs::read(&path).unwrap().len(), last, "cut at {cut}: the torn end is gone");
    }
    // And what is appended after it is read again.
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    append_all(&mut journal, &batches[batches.len() - 1..]).await;
    drop(journal);
    assert_eq!(digest(&opened(dir.path())), digest(&state_after(&batches)));
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[tokio::test]
async fn a_flipped_bit_in_the_last_record_costs_that_record_alone() {
    let (batches, _) = story(6, 8);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    let last = *frames(&whole).last().unwrap();
    let before = digest(&state_after(&batches[..batches.len() - 1]));
    for at in last..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).unwrap();
        assert_eq!(digest(&opened(dir.path())), before, "byte {at}");
    }
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
    assert!(message.contains("has format 9, this version reads up to 1"), "{message}");
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
