//! Reading a data directory: the newest snapshot, then every batch after it, in order and without gaps.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{OpenError, Snapshots, segment};
use crate::model::State;
use crate::wire;

/// What was read, and where to go on writing.
pub struct Replayed {
    pub state: State,
    /// The segment to append to; None: begin a new one.
    pub tail: Option<Tail>,
    /// Journal bytes after the snapshot.
    pub bytes: u64,
}

pub struct Tail {
    pub file: File,
    pub path: PathBuf,
    pub length: u64,
}

pub fn replay(data_dir: &Path, snapshots: &Snapshots) -> Result<Replayed, OpenError> {
    let dir = data_dir.join("journal");
    let mut state = snapshots.load()?;
    let snapshot_index = state.index;
    let all = segment::list(&dir).map_err(|source| OpenError::io("listing", &dir, source))?;
    let begin = all.partition_point(|(first, _)| *first <= snapshot_index + 1);
    let Some(begin) = begin.checked_sub(1) else {
        return match all.first() {
            None if snapshot_index == 0 => Ok(Replayed { state, tail: None, bytes: 0 }),
            next => Err(OpenError::Gap {
                path: dir,
                expected: snapshot_index + 1,
                found: next.map_or("no segment".into(), |(first, _)| first.to_string()),
            }),
        };
    };
    let mut expected = all[begin].0;
    let (mut bytes, mut end) = (0, (segment::End::Whole, 0));
    for (i, (first, path)) in all.iter().enumerate().skip(begin) {
        end = segment::read(path, *first, i + 1 == all.len(), |batch, offset| {
            if batch.index != expected {
                let found = format!("{} (at byte {offset})", batch.index);
                return Err(OpenError::Gap { path: path.clone(), expected, found });
            }
            expected += 1;
            if batch.index <= snapshot_index {
                return Ok(());
            }
            let index = batch.index;
            let batch = wire::batch_from_wire(batch)
                .map_err(|error| OpenError::corrupt(path, offset, format!("batch {index}: {error}")))?;
            state.apply(&batch);
            Ok(())
        })?;
        if let Some((next, path)) = all.get(i + 1)
            && *next != expected
        {
            return Err(OpenError::Gap { path: path.clone(), expected, found: next.to_string() });
        }
        bytes += end.1;
    }
    let path = all[all.len() - 1].1.clone();
    let tail = tail(path, end.0, end.1)?;
    // The batches between its last one and the snapshot are in the snapshot alone: go on in a new segment.
    let tail = (expected > snapshot_index).then_some(tail);
    Ok(Replayed { state, tail, bytes })
}

fn tail(path: PathBuf, end: segment::End, length: u64) -> Result<Tail, OpenError> {
    let opened = File::options().append(true).open(&path);
    let file = opened.map_err(|source| OpenError::io("opening", &path, source))?;
    if let segment::End::Torn { at, cause } = end {
        let cut = file.set_len(at).and_then(|()| file.sync_all());
        cut.map_err(|source| OpenError::io("cutting the torn end off", &path, source))?;
        tracing::warn!(path = %path.display(), offset = at, cause, "cut a torn last write off the journal");
    }
    Ok(Tail { file, path, length })
}
