//! The journal's embedded home: checksummed segment files and snapshots in a data directory, one fsync per group of
//! batches. Not here: when a snapshot is taken, and whose state it holds.
//!
//! Layout: `lock`, `head`, `journal/<first index>.seg`, `snapshot/<index>.snap`.

mod backup;
mod cut;
mod error;
mod frame;
mod head;
mod lock;
mod owner;
mod read;
mod replay;
mod restore;
mod segment;
mod snapshot;
mod writer;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use crate::drive::{AppendError, Journal};
use crate::model::{Batch, State};

pub use backup::{Backup, BackupError, pieces as backup_pieces, read as read_backup};
pub use cut::{Cut, CutError, cut};
pub use error::OpenError;
pub use lock::Lock;
pub use read::visit;
pub use restore::{RestoreError, restore};
pub use segment::{End, Known, Segment, begin as begin_segment, group as frame_of, scan as scan_segment};
pub use snapshot::Snapshots;
pub use writer::Due;

/// Sizes at which files are cut.
#[derive(Clone, Copy, Debug)]
pub struct JournalSettings {
    /// A segment that reached this size is followed by a new one.
    pub segment_bytes: u64,
    /// A snapshot is due when this much was appended since the last one.
    pub snapshot_after_bytes: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        JournalSettings { segment_bytes: 64 << 20, snapshot_after_bytes: 64 << 20 }
    }
}

/// An open journal: this process alone appends to it.
pub struct Embedded {
    writer: writer::Writer,
    snapshots: Snapshots,
}

impl Embedded {
    /// Locks the directory, reads what is there, cuts off a torn tail that was never durable, and is ready to append.
    ///
    /// # Errors
    /// When another process has it, or anything in it is not as it was written. Nothing is overwritten then.
    pub fn open(data_dir: &Path, settings: JournalSettings) -> Result<(Embedded, State), OpenError> {
        std::fs::create_dir_all(data_dir).map_err(|source| OpenError::io("creating", data_dir, source))?;
        for folder in [data_dir.join("journal"), data_dir.join("snapshot")] {
            owner::make_private(&folder).map_err(|source| OpenError::io("creating", &folder, source))?;
        }
        let lock = lock::Lock::take(data_dir)?;
        restore::finish(data_dir)?;
        if is_cut_short(data_dir) {
            return Err(OpenError::Unfinished { dir: data_dir.to_path_buf() });
        }
        let snapshots = Snapshots::new(data_dir);
        let replayed = replay::replay(data_dir, &snapshots)?;
        let durable = replayed.state.index;
        // There before the first segment that counts on it.
        head::write(data_dir, durable)
            .map_err(|source| OpenError::io("writing", &data_dir.join(head::NAME), source))?;
        let writer = writer::Writer::start(data_dir, replayed.tail, replayed.bytes, durable, settings, Some(lock))?;
        Ok((Embedded { writer, snapshots }, replayed.state))
    }

    /// Where snapshots of this journal go.
    pub fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// Resolves when a snapshot is due; then the count begins anew.
    pub fn snapshot_due(&self) -> Arc<Due> {
        self.writer.due()
    }
}

impl Journal for Embedded {
    fn append(&mut self, batch: Arc<Batch>) -> impl Future<Output = Result<(), AppendError>> + Send + 'static {
        self.writer.append(batch)
    }
}

/// Whether a journal was begun in the directory.
pub fn is_there(data_dir: &Path) -> bool {
    data_dir.join("journal").is_dir() || data_dir.join(head::NAME).exists()
}

/// Whether a restore into the directory did not come to its end.
fn is_cut_short(data_dir: &Path) -> bool {
    data_dir.join(restore::UNFINISHED).exists()
}

/// Makes a directory's entries durable.
fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
