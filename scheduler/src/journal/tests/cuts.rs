//! A journal that an operator cuts: what is kept, what is refused, and that nothing is lost on the way.

use std::fs;

use dawn_proto::Timestamp;

use super::*;
use crate::journal::{CutError, cut};
use crate::model::Restored;
use crate::wire::snapshot_chunks;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// What a journal goes on with that was cut after these.
fn goes_on(batches: &[Arc<Batch>]) -> State {
    let (mut state, batch) = Restored::from_backup(state_after(batches), NOW);
    state.apply(&batch);
    state
}

#[tokio::test]
async fn it_ends_where_it_was_told_and_goes_on_as_a_restored_one_does() {
    let (batches, live) = story(40, 30);
    for kept in [1, batches.len() / 2, batches.len() - 1] {
        let dir = written(&batches).await;
        let at = batches[kept - 1].index;
        let done = cut(dir.path(), at, NOW).unwrap();
        let wanted = goes_on(&batches[..kept]);
        assert_eq!((done.index, done.epoch), (wanted.index, wanted.epoch.0));
        assert_eq!((done.given_up_to, done.cluster_id), (Some(live.index), live.cluster_id.clone()));
        let (mut journal, state) = Embedded::open(dir.path(), settings()).unwrap();
        assert_eq!(digest(&state), digest(&wanted), "cut after {at}");
        assert!(state.restores.waiting && state.epoch.0 > live.epoch.0 && state.next_task > live.next_task);
        let next = Batch { index: state.index + 1, epoch: state.epoch, at: state.at, part: None, mutations: vec![] };
        append_all(&mut journal, &[Arc::new(next)]).await;
        drop(journal);
        assert_eq!(opened(dir.path()).index, wanted.index + 1);
        let aside = done.aside.unwrap();
        assert_eq!(digest(&opened(&aside)), digest(&live), "what was there is whole");
    }
}

#[tokio::test]
async fn a_damaged_journal_is_cut_where_the_refusal_says() {
    let (batches, live) = story(41, 12);
    let dir = written(&batches).await;
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - 1;
    let damaged = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let OpenError::Corrupt { whole_to: Some(index), .. } = error(dir.path()) else { panic!("it is damaged") };
        index
    };
    let flipped = [&whole[..last], &[whole[last] ^ 1]].concat();
    let readable = damaged(&flipped);
    assert_eq!(readable, live.index - 1);
    let above = cut(dir.path(), live.index, NOW).unwrap_err();
    assert!(
        above.to_string().contains(&format!("can be read up to index {readable}, not to {}", live.index)),
        "{above}"
    );
    assert!(std::error::Error::source(&above).unwrap().to_string().contains("is damaged at byte"), "{above:?}");
    assert_eq!(fs::read(&path).unwrap(), flipped, "a refusal changes nothing");
    let done = cut(dir.path(), readable, NOW).unwrap();
    assert_eq!(done.given_up_to, Some(live.index), "the head file knew of it");
    assert_eq!(digest(&opened(dir.path())), digest(&goes_on(&batches[..batches.len() - 1])));
}

#[tokio::test]
async fn without_a_head_file_the_whole_journal_can_be_kept() {
    let (batches, live) = story(42, 12);
    let dir = written(&batches).await;
    fs::remove_file(dir.path().join("head")).unwrap();
    error(dir.path());
    let done = cut(dir.path(), live.index, NOW);
    assert!(matches!(done, Ok(ref done) if done.given_up_to.is_none()), "{done:?}");
    assert_eq!(digest(&opened(dir.path())), digest(&goes_on(&batches)));
}

#[tokio::test]
async fn what_can_not_be_cut_is_refused_and_left() {
    let (batches, live) = story(43, 60);
    let dir = written(&batches).await;
    let whole = cut(dir.path(), live.index, NOW).unwrap_err();
    assert!(matches!(whole, CutError::Whole { at } if at == live.index), "{whole}");
    let above = cut(dir.path(), live.index + 5, NOW).unwrap_err();
    assert!(matches!(above, CutError::Above { readable, .. } if readable == live.index), "{above}");
    let nothing = cut(dir.path(), 0, NOW).unwrap_err();
    assert!(matches!(nothing, CutError::Below { at: 0, kept: 1 }), "{nothing}");
    let none = tempfile::tempdir().unwrap();
    let none = cut(none.path(), 1, NOW).unwrap_err();
    assert!(matches!(none, CutError::NoJournal { .. }), "{none}");
    let (journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    let busy = cut(dir.path(), 1, NOW).unwrap_err().to_string();
    assert!(busy.contains("in use by pid"), "{busy}");
    drop(journal);
    // Snapshots and pruned segments: it is kept from the older one of the two.
    let middle = state_after(&batches[..20]);
    let (journal, _) = Embedded::open(dir.path(), settings()).unwrap();
    journal.snapshots().save(middle.index, &snapshot_chunks(&middle)).unwrap();
    drop(journal);
    fs::remove_file(&segments(dir.path())[0]).unwrap();
    let below = cut(dir.path(), 3, NOW).unwrap_err();
    assert!(matches!(below, CutError::Below { kept, .. } if kept == middle.index), "{below}");
    assert_eq!(cut(dir.path(), middle.index, NOW).unwrap().given_up_to, Some(live.index));
    assert_eq!(digest(&opened(dir.path())), digest(&goes_on(&batches[..20])));
}

#[tokio::test]
async fn a_cut_that_is_cut_short_while_files_are_moved_is_finished_by_the_next_start() {
    let (batches, _) = story(44, 20);
    let new = {
        let dir = written(&batches).await;
        cut(dir.path(), 5, NOW).unwrap();
        dir
    };
    let names = ["journal", "snapshot", "head"];
    for moved in 0..=names.len() {
        let dir = written(&batches).await;
        let (whole, aside) = (dir.path().join("replacing"), dir.path().join("replaced-0"));
        fs::create_dir(&whole).unwrap();
        fs::create_dir(&aside).unwrap();
        for (i, name) in names.iter().enumerate() {
            let to = if i < moved { dir.path().join(name) } else { whole.join(name) };
            if i < moved {
                fs::rename(&to, aside.join(name)).unwrap();
            }
            copy(&new.path().join(name), &to);
        }
        assert_eq!(digest(&opened(dir.path())), digest(&goes_on(&batches[..5])), "{moved} were moved");
        assert!(!whole.exists());
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        copy(&path, &to.join(path.file_name().unwrap()));
    }
}
