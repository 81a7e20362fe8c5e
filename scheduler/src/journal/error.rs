//! Why a data directory can't be opened.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{operation} {path}")]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("data directory {dir} is in use by {holder}; stop that scheduler or give another --data-dir")]
    Locked { dir: PathBuf, holder: String },
    #[error("{path} is damaged at byte {offset}: {cause}; nothing was changed. {}", remedy(*whole_to))]
    Corrupt {
        path: PathBuf,
        offset: u64,
        cause: String,
        /// The journal can be read up to this index; None: that is not known.
        whole_to: Option<u64>,
    },
    #[error("{path} has format {found}, this version reads up to {supported}; use a newer dawn")]
    Newer { path: PathBuf, found: u32, supported: u32 },
    #[error(
        "a restore into {dir} was cut short; run `dawn admin restore` again with --replace, or `dawn admin journal cut`"
    )]
    Unfinished { dir: PathBuf },
    #[error("{path}: batch {expected} is missing, {found} comes next; nothing was changed. Restore the missing files")]
    Gap { path: PathBuf, expected: u64, found: String },
}

impl OpenError {
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        OpenError::Io { operation, path: path.to_path_buf(), source }
    }

    pub(super) fn corrupt(path: &Path, offset: u64, cause: impl ToString) -> Self {
        OpenError::Corrupt { path: path.to_path_buf(), offset, cause: cause.to_string(), whole_to: None }
    }

    /// The same of a journal that can be read up to `index`.
    pub(super) fn whole_to(mut self, index: u64) -> Self {
        if let OpenError::Corrupt { whole_to, .. } = &mut self {
            *whole_to = Some(index);
        }
        self
    }
}

/// What an operator can do about a damaged file.
fn remedy(whole_to: Option<u64>) -> String {
    let copy = "Put a copy of the data directory's files in their place, or restore a backup";
    match whole_to {
        None => copy.into(),
        Some(index) => format!(
            "{copy}, or give up all that came after index {index}: dawn admin journal cut --at {index} --data-dir DIR"
        ),
    }
}
