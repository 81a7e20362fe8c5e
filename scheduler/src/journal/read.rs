//! Reading a data directory without changing anything in it, also beside the scheduler that writes to it.

use std::ops::ControlFlow;
use std::path::Path;

use super::{OpenError, Snapshots, segment};
use crate::model::{Batch, State};
use crate::wire;

/// What is done with each batch and the state before it: it is to be applied, and may be the last.
pub type Visit<'v> = dyn FnMut(&mut State, &Batch) -> ControlFlow<()> + 'v;

/// Shows every batch from `from` on, or from as far back as there is a state to begin with. Answers the state at the end.
///
/// # Errors
/// When anything on the way is not as it was written.
pub fn visit(data_dir: &Path, from: u64, visit: &mut Visit) -> Result<State, OpenError> {
    let dir = data_dir.join("journal");
    let segments = segment::list(&dir).map_err(|source| OpenError::io("listing", &dir, source))?;
    let first = segments.first().map_or(u64::MAX, |(first, _)| *first);
    let mut state = Snapshots::new(data_dir).before(first, from)?;
    let begin = segments.partition_point(|(first, _)| *first <= state.index + 1);
    let Some(begin) = begin.checked_sub(1) else {
        let found = segments.first().map_or("no segment".into(), |(first, _)| first.to_string());
        return match state.index {
            0 if segments.is_empty() => Ok(state),
            index => Err(OpenError::Gap { path: dir, expected: index + 1, found }),
        };
    };
    for (i, (first, path)) in segments.iter().enumerate().skip(begin) {
        let mut ended = false;
        segment::read(path, *first, i + 1 == segments.len(), |batch, offset| {
            if ended || batch.index <= state.index {
                return Ok(());
            }
            if batch.index != state.index + 1 {
                let found = format!("{} (at byte {offset})", batch.index);
                return Err(OpenError::Gap { path: path.clone(), expected: state.index + 1, found });
            }
            let index = batch.index;
            let batch = wire::batch_from_wire(batch)
                .map_err(|error| OpenError::corrupt(path, offset, format!("batch {index}: {error}")))?;
            ended = visit(&mut state, &batch).is_break();
            Ok(())
        })?;
        if ended {
            break;
        }
    }
    Ok(state)
}

/// Whose journal it is, as far as it can be read.
pub(super) fn cluster_id(data_dir: &Path) -> Option<String> {
    let mut known = None;
    let read = visit(data_dir, 0, &mut |state, batch| {
        state.apply(batch);
        known = Some(state.cluster_id.clone());
        ControlFlow::Break(())
    });
    read.ok().map(|state| state.cluster_id).or(known)
}
