//! Why a data directory can't be opened.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{operation} {path}")]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("data directory {dir} is in use by {holder}; stop that scheduler or give another --data-dir")]
    Locked { dir: PathBuf, holder: String },
    #[error("{path} is damaged at byte {offset}: {cause}; nothing was changed. Restore the file from a backup")]
    Corrupt { path: PathBuf, offset: u64, cause: String },
    #[error("{path} has format {found}, this version reads up to {supported}; use a newer dawn")]
    Newer { path: PathBuf, found: u32, supported: u32 },
    #[error("a restore into {dir} was cut short; run `dawn admin restore` again with --replace")]
    Unfinished { dir: PathBuf },
    #[error("{path}: batch {expected} is missing, {found} comes next; nothing was changed. Restore the missing files")]
    Gap { path: PathBuf, expected: u64, found: String },
}

impl OpenError {
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        OpenError::Io { operation, path: path.to_path_buf(), source }
    }

    pub(super) fn corrupt(path: &Path, offset: u64, cause: impl ToString) -> Self {
        OpenError::Corrupt { path: path.to_path_buf(), offset, cause: cause.to_string() }
    }
}
