//! The head file: when it is written, what is made of one that is missing, corrupt, behind or ahead, and journals of the
//! version before, which had none.

use std::fs;
use std::time::{Duration, Instant};

use dawn_proto::v1;
use prost::Message;

use super::*;

/// Far longer than the second in which the file is written, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(60);

fn head_of(dir: &Path) -> Option<u64> {
    head::read(dir).unwrap()
}

#[tokio::test]
async fn it_is_made_at_the_start_follows_the_last_group_and_is_there_after_an_orderly_stop() {
    let (batches, live) = story(30, 10);
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    assert_eq!(head_of(dir.path()), Some(0));
    let half = batches.len() / 2;
    append_all(&mut journal, &batches[..half]).await;
    let deadline = Instant::now() + PATIENCE;
    while head_of(dir.path()) != Some(batches[half - 1].index) {
        assert!(Instant::now() < deadline, "it stays at {:?}", head_of(dir.path()));
        std::thread::yield_now();
    }
    append_all(&mut journal, &batches[half..]).await;
    drop(journal);
    assert_eq!(head_of(dir.path()), Some(live.index));
}

#[tokio::test]
async fn it_is_never_ahead_of_what_is_synced() {
    let (batches, _) = story(31, 40);
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    for batch in &batches {
        append_all(&mut journal, std::slice::from_ref(batch)).await;
        assert!(head_of(dir.path()).unwrap() <= batch.index);
    }
    // A write that fails is not counted: the file stays where the disk was.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let tail = replay::Tail { file: full, path: "/dev/full".into(), length: 0 };
    let dir = tempfile::tempdir().unwrap();
    head::write(dir.path(), 7).unwrap();
    let writer = writer::Writer::start(dir.path(), Some(tail), 0, 7, settings(), None).unwrap();
    assert!(writer.append(batches[0].clone()).await.is_err());
    drop(writer);
    assert_eq!(head_of(dir.path()), Some(7));
}

#[tokio::test]
async fn behind_its_data_after_a_crash_it_costs_nothing() {
    let (batches, live) = story(32, 20);
    let dir = written(&batches).await;
    for index in [0, 1, live.index / 2, live.index - 1] {
        head::write(dir.path(), index).unwrap();
        assert_eq!(digest(&opened(dir.path())), digest(&live), "head {index}");
        assert_eq!(head_of(dir.path()), Some(live.index), "what was read is durable, and known to be");
    }
}

#[tokio::test]
async fn ahead_of_its_data_it_says_that_the_journal_lost_its_end() {
    let (batches, live) = story(33, 20);
    let dir = written(&batches).await;
    head::write(dir.path(), live.index + 1).unwrap();
    let message = error(dir.path()).to_string();
    let wanted = format!("the journal ends with index {} here, and index {} was durable", live.index, live.index + 1);
    assert!(message.contains(&wanted) && message.contains("nothing was changed"), "{message}");
}

#[tokio::test]
async fn a_corrupt_or_missing_one_is_refused_and_named() {
    let (batches, live) = story(34, 12);
    let dir = written(&batches).await;
    let path = dir.path().join("head");
    let whole = fs::read(&path).unwrap();
    let refused = |what: &str, words: &str| {
        let error = error(dir.path());
        assert!(
            matches!(&error, OpenError::Corrupt { path: named, whole_to, .. } if *named == path && *whole_to == Some(live.index)),
            "{what}: {error}"
        );
        assert!(error.to_string().contains(words), "{what}: {error}");
    };
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        refused("flipped", "it does not match its checksum");
        fs::write(&path, &whole[..at]).unwrap();
        refused("cut", "it does not match its checksum");
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    refused("longer", "no file of this kind");
    fs::remove_file(&path).unwrap();
    refused("missing", "nobody knows whether the journal has lost its end");
    fs::write(&path, segment::header(b"DAWNHEAD", 9, 1)).unwrap();
    assert!(matches!(error(dir.path()), OpenError::Newer { found: 9, supported: 1, .. }));
    fs::write(&path, whole).unwrap();
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}

/// A segment as the version before wrote it, each batch its own frame.
fn of_the_version_before(batches: &[Arc<Batch>]) -> Vec<u8> {
    let mut bytes = segment::header(b"DAWNJRNL", 1, batches[0].index);
    for batch in batches {
        let batch: v1::Batch = crate::wire::batch_to_wire(batch);
        frame::push(&mut bytes, &batch.encode_length_delimited_to_vec()).unwrap();
    }
    bytes
}

#[tokio::test]
async fn a_journal_of_the_version_before_opens_and_has_one_from_then_on() {
    let (batches, live) = story(35, 40);
    let half = batches.len() / 2;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("journal");
    fs::create_dir(&folder).unwrap();
    let old = segment::path_of(&folder, 1);
    let mut bytes = of_the_version_before(&batches[..half]);
    let whole = bytes.len();
    // Torn, as only the end of the last segment may be.
    bytes.extend_from_slice(&of_the_version_before(&batches[half..half + 1])[segment::HEADER_BYTES..]);
    fs::write(&old, &bytes[..bytes.len() - 1]).unwrap();
    let (mut journal, state) = Embedded::open(dir.path(), settings()).unwrap();
    assert_eq!(digest(&state), digest(&state_after(&batches[..half])));
    assert_eq!((fs::read(&old).unwrap().len(), head_of(dir.path())), (whole, Some(state.index)));
    append_all(&mut journal, &batches[half..]).await;
    drop(journal);
    assert_eq!(fs::read(&old).unwrap().len(), whole, "the new records are in a segment of the new format");
    assert_eq!(segments(dir.path()).len(), 2);
    assert_eq!(digest(&opened(dir.path())), digest(&live));
    // Before its writer is known to the head file, a record in the middle is refused as ever.
    bytes[segment::HEADER_BYTES + 20] ^= 1;
    fs::write(&old, &bytes).unwrap();
    assert!(matches!(error(dir.path()), OpenError::Corrupt { path, .. } if path == old));
}

#[tokio::test]
async fn a_segment_of_the_version_before_that_holds_nothing_yet_is_replaced() {
    let (batches, live) = story(36, 20);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("journal")).unwrap();
    let empty = segment::path_of(&dir.path().join("journal"), 1);
    fs::write(&empty, segment::header(b"DAWNJRNL", 1, 1)).unwrap();
    let (mut journal, state) = Embedded::open(dir.path(), settings()).unwrap();
    assert_eq!(state.index, 0);
    append_all(&mut journal, &batches).await;
    drop(journal);
    assert_eq!(segments(dir.path()), [empty]);
    assert_eq!(digest(&opened(dir.path())), digest(&live));
}
