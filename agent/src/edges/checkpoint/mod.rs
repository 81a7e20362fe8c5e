//! What the agent keeps in its work directory to survive its own restart: who it is, what it remembers, its tasks.
//! Every write is durable (file and directory) before it returns. Not here: the executor's own files.

mod aside;
mod identity;
mod memory;
mod tasks;

pub use aside::set_aside;
pub use identity::{lock, recall};
pub use memory::write_memory;
pub use tasks::Tasks;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dawn_proto::FrameError;

/// No file of a checkpoint is longer: its one frame is not.
const MAX_FILE_BYTES: u64 = 17 << 20;
/// A pipe in a file's place is opened at once, or not at all.
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// A file or directory of the work directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("can't {operation} {}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is corrupt", path.display())]
    Corrupt { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(
        "another agent ({holder}) runs with the work directory {}; stop it first, or give this one another --work-dir",
        path.display()
    )]
    Locked { path: PathBuf, holder: String },
    #[error("--agent-id {text:?} is no agent id: 1-63 characters of a-z A-Z 0-9 _ . -")]
    BadAgentId { text: String },
    #[error("--agent-id says {wanted}, but the work directory {} belongs to {kept}; use another --work-dir", path.display())]
    OtherAgent { wanted: String, kept: String, path: PathBuf },
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError::Io { operation, path, source }
}

fn sync_dir(path: &Path) -> Result<(), CheckpointError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io_error("sync", path))
}

/// Writes a whole file beside its place, durably, and moves it there.
fn replace_file(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), CheckpointError> {
    let beside = path.with_extension("new");
    for place in [&beside, path] {
        if place.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            set_aside(place, "it is no file");
        }
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(mode).open(&beside);
    let mut file = file.map_err(io_error("create", &beside))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", &beside))?;
    fs::rename(&beside, path).map_err(io_error("replace", path))?;
    sync_dir(path.parent().unwrap_or(path))
}

/// One frame as a file's content.
fn framed(body: &[u8], path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = Vec::with_capacity(body.len() + 8);
    dawn_proto::write_frame(&mut bytes, body).map_err(io_error("frame", path))?;
    Ok(bytes)
}

/// A file's only frame; None when there is no file.
fn read_framed(path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    let Some(bytes) = read_file(path)? else { return Ok(None) };
    match dawn_proto::read_frame(&mut &bytes[..]) {
        // None of ours is empty: a power cut can leave zeroes, and those frame as an empty body.
        Ok(body) if body.is_empty() => {
            let source = "there is nothing in it".into();
            Err(CheckpointError::Corrupt { path: path.to_path_buf(), source })
        }
        Ok(body) => Ok(Some(body)),
        Err(FrameError::Io(error)) => Err(io_error("read", path)(error)),
        Err(error) => Err(CheckpointError::Corrupt { path: path.to_path_buf(), source: error.into() }),
    }
}

/// A file's content, as far as a file of ours can be long; None when there is no file. Anything but a file is an error:
/// reading from it might never end.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    let failed = |error: io::Error| io_error("read", path)(error);
    let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no file")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}
