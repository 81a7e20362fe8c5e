//! Backup files: a header, then frames: the head, the state's snapshot chunks, an empty one. One piece a frame, so that
//! they can be made in one place and written in another.

use std::io;
use std::path::{Path, PathBuf};

use dawn_proto::v1;
use prost::Message;

use super::{frame, segment};
use crate::model::State;
use crate::wire::{self, StateBuilder};

/// Newest format this version reads, and the one it writes.
const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"DAWNBKUP";

/// Why a file can't be restored from. Each names what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("can't read the backup {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no backup of Dawn's; give a file that `dawn admin backup` made", path.display())]
    NoBackup { path: PathBuf },
    #[error("the backup {} is damaged at byte {offset}: {cause}; use another one", path.display())]
    Damaged { path: PathBuf, offset: usize, cause: String },
    #[error("the backup {} has format {found}, this version reads up to {supported}; use a newer dawn", path.display())]
    Newer { path: PathBuf, found: u32, supported: u32 },
}

/// A backup, read whole and checked.
#[derive(Debug)]
pub struct Backup {
    pub head: v1::BackupHead,
    pub state: State,
    pub bytes: u64,
}

/// The file's pieces, in order. None when one is longer than a frame can be.
pub fn pieces(state: &State, made_ms: i64, version: &str) -> Option<Vec<Vec<u8>>> {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let chunks = wire::snapshot_chunks(state);
    let head = v1::BackupHead {
        cluster_id: state.cluster_id.clone(),
        index: state.index,
        epoch: state.epoch.0,
        at_ms: state.at.0,
        made_ms,
        version: version.to_string(),
        digest: wire::digest_of(&chunks),
        jobs: count(state.jobs.len()),
        tasks: count(state.tasks.len()),
        agents: count(state.agents.len()),
    };
    let mut first = segment::header(MAGIC, FORMAT, state.index);
    frame::push(&mut first, &head.encode_to_vec())?;
    let framed = |chunk: &Vec<u8>| {
        let mut piece = Vec::with_capacity(chunk.len() + frame::HEADER_BYTES);
        frame::push(&mut piece, chunk)?;
        Some(piece)
    };
    let empty = Vec::new();
    std::iter::once(Some(first)).chain(chunks.iter().chain([&empty]).map(framed)).collect()
}

/// Reads a backup and proves that it is as it was made.
///
/// # Errors
/// When it isn't.
pub fn read(path: &Path) -> Result<Backup, BackupError> {
    let bytes = std::fs::read(path).map_err(|source| BackupError::Io { path: path.to_path_buf(), source })?;
    let damaged = |offset: usize, cause: &dyn ToString| {
        Err(BackupError::Damaged { path: path.to_path_buf(), offset, cause: cause.to_string() })
    };
    if !bytes.starts_with(MAGIC) {
        return Err(BackupError::NoBackup { path: path.to_path_buf() });
    }
    let (format, index) = match segment::parse_header(&bytes) {
        Some((_, format, index)) => (format, index),
        None => return damaged(0, &"its header does not match its checksum"),
    };
    if format > FORMAT {
        return Err(BackupError::Newer { path: path.to_path_buf(), found: format, supported: FORMAT });
    }
    let (mut at, mut head, mut builder) = (segment::HEADER_BYTES, None, StateBuilder::default());
    let mut hasher = wire::Digest::default();
    loop {
        match frame::at(&bytes, at) {
            frame::Found::Frame { body: [], next } if next == bytes.len() => break,
            frame::Found::Frame { body: [], .. } => return damaged(at, &"bytes follow its end"),
            frame::Found::Frame { body, next } if head.is_none() => {
                head = match v1::BackupHead::decode(body) {
                    Ok(read) => Some(read),
                    Err(error) => return damaged(at, &error),
                };
                at = next;
            }
            frame::Found::Frame { body, next } => {
                if let Err(error) = builder.add(body) {
                    return damaged(at, &error);
                }
                hasher.add(body);
                at = next;
            }
            frame::Found::End => return damaged(at, &"the file ends before its end mark: it was cut short"),
            frame::Found::Bad(cause) => return damaged(at, &cause),
        }
    }
    let Some(head) = head else { return damaged(at, &"its head is missing") };
    let state = match builder.finish() {
        Ok(state) => state,
        Err(error) => return damaged(at, &error),
    };
    let whole = (state.index, state.cluster_id.as_str()) == (head.index, head.cluster_id.as_str());
    if !whole || head.index != index || hasher.value() != head.digest {
        return damaged(at, &"its content does not match its digest");
    }
    Ok(Backup { head, state, bytes: bytes.len() as u64 })
}
