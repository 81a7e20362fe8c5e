//! A journal that an operator has cut: what came after an index is given up, and it goes on as after a restore.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dawn_proto::Timestamp;

use super::lock::Lock;
use super::{OpenError, head, read, restore};
use crate::model::{Restored, State};

/// Why nothing was cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{} holds no journal; give the --data-dir of a scheduler", dir.display())]
    NoJournal { dir: PathBuf },
    #[error("the journal can be read up to index {readable}, not to {at}; give --at {readable} or less")]
    Above { at: u64, readable: u64, source: Option<OpenError> },
    #[error("the journal is kept from index {kept} on, not from {at}; give --at {kept} or more")]
    Below { at: u64, kept: u64 },
    #[error("the journal is whole and ends with index {at}: there is nothing to cut")]
    Whole { at: u64 },
}

/// What came of a cut.
#[derive(Clone, Debug)]
pub struct Cut {
    pub cluster_id: String,
    /// When the last batch that is kept was decided.
    pub kept_at: Timestamp,
    /// The highest index that is known to have been durable and is given up; None: none is known.
    pub given_up_to: Option<u64>,
    pub index: u64,
    pub epoch: u64,
    /// Where the journal before is now.
    pub aside: Option<PathBuf>,
}

/// Makes the directory's journal end with index `at`, and go on from there as if restored `now`. What was there is moved aside.
///
/// # Errors
/// When a scheduler runs on it, or it can't be read up to `at`. Nothing is changed then.
pub fn cut(data_dir: &Path, at: u64, now: Timestamp) -> Result<Cut, CutError> {
    if !super::is_there(data_dir) {
        return Err(CutError::NoJournal { dir: data_dir.to_path_buf() });
    }
    let _lock = Lock::take(data_dir)?;
    restore::finish(data_dir)?;
    let (state, highest) = read_up_to(data_dir, at)?;
    let (cluster_id, kept_at) = (state.cluster_id.clone(), state.at);
    let (state, batch) = Restored::from_backup(state, now);
    let aside = restore::put(data_dir, &state, &batch)?;
    let given_up_to = (highest > at).then_some(highest);
    Ok(Cut { cluster_id, kept_at, given_up_to, index: batch.index, epoch: batch.epoch.0, aside })
}

/// The state at the index, and the highest that is known.
fn read_up_to(data_dir: &Path, at: u64) -> Result<(State, u64), CutError> {
    let mut kept = None;
    let walked = read::walk(data_dir, at.saturating_add(1), &mut |state, batch| {
        if state.index == at {
            kept = Some(state.clone());
        }
        state.apply(batch);
        ControlFlow::Continue(())
    })?;
    let (readable, stopped) = (walked.state.index, walked.stopped);
    let highest = readable.max(head::read(data_dir).ok().flatten().unwrap_or(0));
    match kept.filter(|state: &State| !state.cluster_id.is_empty()) {
        Some(state) => Ok((state, highest)),
        None if readable == at && stopped.is_some() => Ok((walked.state, highest)),
        None if readable == at => Err(CutError::Whole { at }),
        None if readable < at => Err(CutError::Above { at, readable, source: stopped }),
        None => Err(CutError::Below { at, kept: walked.first.max(1) }),
    }
}
