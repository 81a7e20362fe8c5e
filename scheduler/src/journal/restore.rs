//! A data directory that begins anew with a state: beside what is there, then in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock::Lock;
use super::writer::{Active, Due};
use super::{JournalSettings, OpenError, Snapshots, head, is_cut_short, owner, read, segment, sync_dir};
use crate::model::{Batch, State};
use crate::wire;

/// Holds the new journal while it is being made; there after it only when that was cut short.
pub(super) const UNFINISHED: &str = "restoring";
/// Holds it once it is whole, until it is in the place of the old one.
const WHOLE: &str = "replacing";
/// What is put in its place, the head file last: what is left of `WHOLE` always says how far the new journal goes.
const REPLACED: [&str; 3] = ["journal", "snapshot", head::NAME];

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{} holds a journal; give an empty directory, or --replace to have it moved aside", dir.display())]
    Occupied { dir: PathBuf },
    #[error(
        "{} holds the journal of cluster {theirs}, the backup is of cluster {ours}; give another --data-dir",
        dir.display()
    )]
    OtherCluster { dir: PathBuf, theirs: String, ours: String },
}

/// Makes `state` and the batch after it what the directory holds. What was there is moved aside, to the directory that is
/// answered; without `replace` there must be nothing.
///
/// # Errors
/// When the directory is in use, occupied or another cluster's, and what the disk answers. Nothing is lost then: a restore
/// that was cut short is refused by whoever opens the directory, and is to be done again.
pub fn restore(data_dir: &Path, state: &State, batch: &Batch, replace: bool) -> Result<Option<PathBuf>, RestoreError> {
    let failed = |operation, path: &Path| {
        let path = path.to_path_buf();
        move |source| OpenError::io(operation, &path, source)
    };
    fs::create_dir_all(data_dir).map_err(failed("creating", data_dir))?;
    let _lock = Lock::take(data_dir)?;
    finish(data_dir)?;
    let occupied = is_occupied(data_dir).map_err(failed("listing", data_dir))?;
    if occupied && !replace {
        return Err(RestoreError::Occupied { dir: data_dir.to_path_buf() });
    }
    if occupied {
        let theirs = read::cluster_id(data_dir);
        if let Some(theirs) = theirs.filter(|theirs| !theirs.is_empty() && *theirs != state.cluster_id) {
            let ours = state.cluster_id.clone();
            return Err(RestoreError::OtherCluster { dir: data_dir.to_path_buf(), theirs, ours });
        }
    }
    put(data_dir, state, batch).map_err(RestoreError::Open)
}

/// Puts a journal that begins with `state` and the batch in the place of what a locked directory holds, which is moved to
/// the directory that is answered.
pub(super) fn put(data_dir: &Path, state: &State, batch: &Batch) -> Result<Option<PathBuf>, OpenError> {
    let fresh = data_dir.join(UNFINISHED);
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(|source| OpenError::io("removing", &fresh, source))?;
    }
    write(&fresh, state, batch).map_err(|source| OpenError::io("writing", &fresh, source))?;
    let whole = data_dir.join(WHOLE);
    let renamed = fs::rename(&fresh, &whole).and_then(|()| sync_dir(data_dir));
    renamed.map_err(|source| OpenError::io("renaming", &fresh, source))?;
    let aside = finish(data_dir)?;
    owner::give_to_owner(data_dir).map_err(|source| OpenError::io("giving to its owner", data_dir, source))?;
    Ok(aside)
}

/// Puts a new journal that is whole in the place of the old one, where that is still to be done: cut short at any point it
/// can be done again. Answers where the old one is.
pub(super) fn finish(data_dir: &Path) -> Result<Option<PathBuf>, OpenError> {
    let whole = data_dir.join(WHOLE);
    if !whole.exists() {
        return Ok(None);
    }
    let index = head::read(&whole)?.map_or_else(|| head::read(data_dir).map(Option::unwrap_or_default), Ok)?;
    let aside = aside(data_dir, index);
    let failed = |source| OpenError::io("putting the new journal in the place of the old in", data_dir, source);
    swap(data_dir, &whole, &aside).map_err(failed)?;
    Ok(aside.exists().then_some(aside))
}

fn is_occupied(data_dir: &Path) -> std::io::Result<bool> {
    let mut occupied = is_cut_short(data_dir) || data_dir.join(head::NAME).exists();
    for (folder, extension) in [("journal", "seg"), ("snapshot", "snap")] {
        let folder = data_dir.join(folder);
        occupied |= folder.exists() && !segment::list_numbered(&folder, extension)?.is_empty();
    }
    Ok(occupied)
}

fn write(fresh: &Path, state: &State, batch: &Batch) -> std::io::Result<()> {
    for folder in ["journal", "snapshot"] {
        owner::make_private(&fresh.join(folder))?;
    }
    Snapshots::new(fresh).save(state.index, &wire::snapshot_chunks(state))?;
    let due = Arc::new(Due::new(u64::MAX));
    let dir = fresh.join("journal");
    let (settings, durable) = (JournalSettings::default(), state.index);
    let mut active = Active { dir: dir.clone(), tail: None, settings, due, durable, head: None };
    active.write([batch].into_iter())?;
    sync_dir(&dir)?;
    head::write(fresh, batch.index)
}

/// A place that is free.
fn aside(data_dir: &Path, index: u64) -> PathBuf {
    let names = (0..).map(|n| if n == 0 { format!("replaced-{index}") } else { format!("replaced-{index}-{n}") });
    let free = names.map(|name| data_dir.join(name)).find(|path| !path.exists());
    free.unwrap_or_else(|| unreachable!("there are more names than directories"))
}

/// What is no longer in `whole` is in its place already.
fn swap(data_dir: &Path, whole: &Path, aside: &Path) -> std::io::Result<()> {
    for name in REPLACED {
        let (old, new) = (data_dir.join(name), whole.join(name));
        if !new.exists() {
            continue;
        }
        if old.exists() {
            fs::create_dir_all(aside)?;
            fs::rename(&old, aside.join(name))?;
        }
        fs::rename(&new, &old)?;
    }
    sync_dir(data_dir)?;
    fs::remove_dir(whole)?;
    sync_dir(data_dir)
}
