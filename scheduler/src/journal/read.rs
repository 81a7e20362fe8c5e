//! Reading a data directory without changing anything in it, also beside the scheduler that writes to it.

use std::ops::ControlFlow;
use std::path::Path;

use super::segment::{Known, Segment};
use super::{OpenError, Snapshots, head, segment};
use crate::model::{Batch, State};
use crate::wire;

/// What is done with each batch and the state before it: it is to be applied, and may be the last.
pub type Visit<'v> = dyn FnMut(&mut State, &Batch) -> ControlFlow<()> + 'v;

/// How far a journal was read.
pub(super) struct Walked {
    /// The index of the state that it began with.
    pub first: u64,
    pub state: State,
    /// Why it could not be read on, if so.
    pub stopped: Option<OpenError>,
}

/// Shows every batch from `from` on, or from as far back as there is a state to begin with. Answers the state at the end.
///
/// # Errors
/// When anything on the way is not as it was written.
pub fn visit(data_dir: &Path, from: u64, visit: &mut Visit) -> Result<State, OpenError> {
    let walked = walk(data_dir, from, visit)?;
    match walked.stopped {
        Some(error) => Err(error.whole_to(walked.state.index)),
        None => Ok(walked.state),
    }
}

/// The same up to what can't be read.
///
/// # Errors
/// When there is no state to begin with.
pub(super) fn walk(data_dir: &Path, from: u64, visit: &mut Visit) -> Result<Walked, OpenError> {
    // Before the segments: a writer that goes on meanwhile is behind it then, never ahead.
    let head = head::read(data_dir);
    let dir = data_dir.join("journal");
    let segments = segment::list(&dir).map_err(|source| OpenError::io("listing", &dir, source))?;
    let first = segments.first().map_or(0, |(first, _)| *first);
    let mut state = Snapshots::new(data_dir).before(first, from)?;
    let begun_with = state.index;
    let begin = segments.partition_point(|(first, _)| *first <= state.index + 1);
    let Some(begin) = begin.checked_sub(1) else {
        let found = segments.first().map_or("no segment".into(), |(first, _)| first.to_string());
        let gap = OpenError::Gap { path: dir, expected: state.index + 1, found };
        let stopped = (state.index > 0 || !segments.is_empty()).then_some(gap);
        return Ok(Walked { first: begun_with, state, stopped });
    };
    let known = Known { durable: head.as_ref().ok().copied().flatten().unwrap_or(0), held: state.index };
    let (mut ended, mut last) = (false, None);
    for (i, (first, path)) in segments.iter().enumerate().skip(begin) {
        let end = (i + 1 == segments.len()).then_some(known);
        let read = segment::read(&Segment { path, first: *first, end }, &mut |batch, offset| {
            if batch.index <= state.index {
                return Ok(ControlFlow::Continue(()));
            }
            if batch.index != state.index + 1 {
                let found = format!("{} (at byte {offset})", batch.index);
                return Err(OpenError::Gap { path: path.clone(), expected: state.index + 1, found });
            }
            let index = batch.index;
            let batch = wire::batch_from_wire(batch)
                .map_err(|error| OpenError::corrupt(path, offset, format!("batch {index}: {error}")))?;
            let flow = visit(&mut state, &batch);
            ended = flow.is_break();
            Ok(flow)
        });
        match read {
            Ok(_) if ended => return Ok(Walked { first: begun_with, state, stopped: None }),
            Ok(scanned) => last = Some(scanned),
            Err(error) => return Ok(Walked { first: begun_with, state, stopped: Some(error) }),
        }
    }
    let stopped = last.and_then(|last| head::prove_end(data_dir, head, &last).err());
    Ok(Walked { first: begun_with, state, stopped })
}

/// Whose journal it is, as far as it can be read.
pub(super) fn cluster_id(data_dir: &Path) -> Option<String> {
    let mut known = None;
    let read = visit(data_dir, 0, &mut |state, batch| {
        state.apply(batch);
        known = Some(state.cluster_id.clone());
        ControlFlow::Break(())
    });
    read.ok().map(|state| state.cluster_id.clone()).or(known)
}
