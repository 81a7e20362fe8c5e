//! Snapshot files: a header, then frames of `dawn.v1.Snapshot` chunks, then an empty frame. Written beside and renamed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{OpenError, frame, segment, sync_dir};
use crate::model::State;
use crate::wire::StateBuilder;

const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"DAWNSNAP";
/// The newest and one spare, should the newest turn out damaged.
const KEPT: usize = 2;

/// The snapshots of a data directory.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: PathBuf,
    journal_dir: PathBuf,
}

impl Snapshots {
    pub(super) fn new(data_dir: &Path) -> Self {
        Snapshots { dir: data_dir.join("snapshot"), journal_dir: data_dir.join("journal") }
    }

    /// Writes a snapshot of the state at `index`, then removes older ones but a spare, and segments that both cover.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// What the disk answers; the journal is as it was then.
    pub fn save(&self, index: u64, chunks: &[Vec<u8>]) -> std::io::Result<()> {
        let path = self.dir.join(format!("{index:020}.snap"));
        let temporary = path.with_extension("tmp");
        let mut bytes = segment::header(MAGIC, FORMAT, index);
        let mut file = File::create(&temporary)?;
        let empty = Vec::new();
        for chunk in chunks.iter().chain([&empty]) {
            let too_long = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "a snapshot chunk above 4 GiB");
            frame::push(&mut bytes, chunk).ok_or_else(too_long)?;
            file.write_all(&bytes)?;
            bytes.clear();
        }
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        sync_dir(&self.dir)?;
        self.prune()
    }

    fn list(&self) -> std::io::Result<Vec<(u64, PathBuf)>> {
        segment::list_numbered(&self.dir, "snap")
    }

    /// Removes what the spare snapshot makes needless. A segment goes when the one after it begins within the spare.
    fn prune(&self) -> std::io::Result<()> {
        let snapshots = self.list()?;
        let Some(cut) = snapshots.len().checked_sub(KEPT) else { return Ok(()) };
        for (_, path) in &snapshots[..cut] {
            std::fs::remove_file(path)?;
        }
        let spare = snapshots[cut].0;
        let segments = segment::list(&self.journal_dir)?;
        for pair in segments.windows(2) {
            if pair[1].0 <= spare + 1 {
                std::fs::remove_file(&pair[0].1)?;
            }
        }
        sync_dir(&self.journal_dir)
    }

    /// The newest whole snapshot, or the empty state. A damaged one is set aside, so that it is never counted as the
    /// spare; whether the journal reaches back far enough then is for the replay to see.
    ///
    /// # Errors
    /// When a file can't be read, or is of a newer format.
    pub(super) fn load(&self) -> Result<State, OpenError> {
        let snapshots = self.list().map_err(|source| OpenError::io("listing", &self.dir, source))?;
        for (index, path) in snapshots.iter().rev() {
            match read(path, *index) {
                Ok(state) => return Ok(state),
                Err(error @ OpenError::Corrupt { .. }) => {
                    let aside = path.with_extension("snap.damaged");
                    tracing::error!(%error, "the snapshot is damaged; set aside as {}", aside.display());
                    std::fs::rename(path, &aside).map_err(|source| OpenError::io("renaming", path, source))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(State::default())
    }
}

impl Snapshots {
    /// The newest state whose index is below `from`, or else the oldest one from which the segments, the first of them as
    /// given (0: there are none), go on. Nothing is changed; damaged ones are passed over.
    pub(super) fn before(&self, first_segment: u64, from: u64) -> Result<State, OpenError> {
        let snapshots = match self.list() {
            Ok(snapshots) => snapshots,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(OpenError::io("listing", &self.dir, source)),
        };
        let begins = first_segment == 1 || first_segment == 0 && snapshots.is_empty();
        let mut found = begins.then(State::default);
        for (index, path) in snapshots {
            if index >= from && found.is_some() || index + 1 < first_segment {
                continue;
            }
            match read(&path, index) {
                Ok(state) => found = Some(state),
                Err(error @ OpenError::Corrupt { .. }) => tracing::warn!(%error, "the snapshot is passed over"),
                Err(error) => return Err(error),
            }
        }
        let found_first = first_segment.to_string();
        found.ok_or(OpenError::Gap { path: self.journal_dir.clone(), expected: 1, found: found_first })
    }
}

fn read(path: &Path, index: u64) -> Result<State, OpenError> {
    let bytes = std::fs::read(path).map_err(|source| OpenError::io("reading", path, source))?;
    segment::check_header(path, &bytes, MAGIC, FORMAT, index)?;
    let mut builder = StateBuilder::default();
    let mut at = segment::HEADER_BYTES;
    loop {
        let corrupt = |cause: &dyn ToString| OpenError::corrupt(path, at as u64, cause.to_string());
        match frame::at(&bytes, at) {
            frame::Found::Frame { body: [], next } if next == bytes.len() => break,
            frame::Found::Frame { body: [], .. } => return Err(corrupt(&"bytes follow its end")),
            frame::Found::Frame { body, next } => {
                builder.add(body).map_err(|error| corrupt(&error))?;
                at = next;
            }
            frame::Found::End => return Err(corrupt(&"the file ends before its end mark")),
            frame::Found::Bad(cause) => return Err(corrupt(&cause)),
        }
    }
    let state = builder.finish().map_err(|error| OpenError::corrupt(path, at as u64, error))?;
    if state.index != index {
        return Err(OpenError::corrupt(path, 0, format!("it holds index {}", state.index)));
    }
    Ok(state)
}
