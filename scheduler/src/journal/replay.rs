//! Reading a data directory: the newest snapshot, then every batch after it, in order and without gaps, at least up to
//! the index that was durable.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::segment::{Known, Scanned, Segment};
use super::{OpenError, Snapshots, head, segment};
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
    let head = head::read(data_dir);
    let mut state = snapshots.load()?;
    let snapshot_index = state.index;
    let all = segment::list(&dir).map_err(|source| OpenError::io("listing", &dir, source))?;
    let begin = all.partition_point(|(first, _)| *first <= snapshot_index + 1);
    let Some(begin) = begin.checked_sub(1) else {
        return match all.first() {
            None if snapshot_index == 0 && head?.unwrap_or(0) == 0 => Ok(Replayed { state, tail: None, bytes: 0 }),
            next => Err(OpenError::Gap {
                path: dir,
                expected: snapshot_index + 1,
                found: next.map_or("no segment".into(), |(first, _)| first.to_string()),
            }),
        };
    };
    // A head file that can't be read is told of once it is known how far the rest is whole.
    let known = Known { durable: head.as_ref().ok().copied().flatten().unwrap_or(0), held: snapshot_index };
    let mut expected = all[begin].0;
    let (mut bytes, mut last) = (0, None);
    for (i, (first, path)) in all.iter().enumerate().skip(begin) {
        let end = (i + 1 == all.len()).then_some(known);
        let read = segment::read(&Segment { path, first: *first, end }, &mut |batch, offset| {
            if batch.index != expected {
                let found = format!("{} (at byte {offset})", batch.index);
                return Err(OpenError::Gap { path: path.clone(), expected, found });
            }
            expected += 1;
            if batch.index <= snapshot_index {
                return Ok(ControlFlow::Continue(()));
            }
            let index = batch.index;
            let batch = wire::batch_from_wire(batch)
                .map_err(|error| OpenError::corrupt(path, offset, format!("batch {index}: {error}")))?;
            state.apply(&batch);
            Ok(ControlFlow::Continue(()))
        });
        let scanned = read.map_err(|error| error.whole_to(state.index))?;
        if let Some((next, path)) = all.get(i + 1)
            && *next != expected
        {
            return Err(OpenError::Gap { path: path.clone(), expected, found: next.to_string() });
        }
        bytes += scanned.bytes;
        last = Some((path, scanned));
    }
    let tail = match last {
        Some((path, scanned)) => {
            head::prove_end(data_dir, head, &scanned).map_err(|error| error.whole_to(state.index))?;
            // The batches between its last one and the snapshot are in the snapshot alone: go on in a new segment.
            let goes_on = expected > snapshot_index && scanned.goes_on();
            Some(tail(path, scanned, expected - 1)?).filter(|_| goes_on)
        }
        None => None,
    };
    Ok(Replayed { state, tail, bytes })
}

/// Cuts a torn end off and makes what is left durable: it is built upon from now on.
fn tail(path: &Path, scanned: Scanned, kept: u64) -> Result<Tail, OpenError> {
    let opened = File::options().append(true).open(path);
    let file = opened.map_err(|source| OpenError::io("opening", path, source))?;
    if let segment::End::Torn { at, cause } = scanned.end {
        file.set_len(at).map_err(|source| OpenError::io("cutting the torn end off", path, source))?;
        tracing::warn!(
            path = %path.display(), offset = at, cause, last_index_kept = kept,
            "cut a torn last write off the journal; it was not known to be durable"
        );
    }
    file.sync_all().map_err(|source| OpenError::io("syncing", path, source))?;
    Ok(Tail { file, path: path.to_path_buf(), length: scanned.bytes })
}
