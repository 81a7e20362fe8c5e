//! Whose a scheduler's directory is: it holds a journal in files, or what a scheduler remembers whose journal is in etcd. One
//! that was started with the wrong flags would lead an empty cluster of its own. Not here: what is in the files.

use std::path::{Path, PathBuf};

use crate::etcd::SEEN_FILE;
use crate::journal::{self, Lock, OpenError};

/// Why the directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(
        "directory {dir} belongs to a scheduler whose journal is in etcd ({SEEN_FILE} stands in it); give --etcd, or another \
         --data-dir"
    )]
    OfEtcd { dir: PathBuf },
    #[error(
        "directory {dir} holds the journal of a scheduler without --etcd; start it without --etcd, or give another --data-dir"
    )]
    OfFiles { dir: PathBuf },
    #[error(transparent)]
    Lock(#[from] OpenError),
}

/// Refuses one of a scheduler whose journal is in etcd.
pub(super) fn is_for_files(dir: &Path) -> Result<(), DirectoryError> {
    match dir.join(SEEN_FILE).exists() {
        true => Err(DirectoryError::OfEtcd { dir: dir.to_path_buf() }),
        false => Ok(()),
    }
}

/// Takes the directory, which is made when missing, for a scheduler whose journal is in etcd; refuses one with a journal.
pub(super) fn take_for_etcd(dir: &Path) -> Result<Lock, DirectoryError> {
    if journal::is_there(dir) && !dir.join(SEEN_FILE).exists() {
        return Err(DirectoryError::OfFiles { dir: dir.to_path_buf() });
    }
    Ok(Lock::take(dir)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Embedded, JournalSettings};

    #[tokio::test]
    async fn a_directory_is_of_one_kind_of_scheduler_and_of_one_at_a_time() {
        let (files, etcd) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        is_for_files(files.path()).unwrap();
        drop(Embedded::open(files.path(), JournalSettings::default()).unwrap());
        let refused = take_for_etcd(files.path()).err().unwrap().to_string();
        assert!(refused.contains("without --etcd") && refused.contains("another --data-dir"), "{refused}");

        let dir = etcd.path().join("made");
        let lock = take_for_etcd(&dir).unwrap();
        let second = take_for_etcd(&dir).err().unwrap().to_string();
        assert!(second.contains("is in use by pid"), "{second}");
        drop(lock);
        std::fs::write(dir.join(SEEN_FILE), "dawn-seen-1 c1 4 12\n").unwrap();
        let refused = is_for_files(&dir).unwrap_err().to_string();
        assert!(refused.contains("etcd-seen stands in it") && refused.contains("give --etcd"), "{refused}");
        drop(take_for_etcd(&dir).unwrap());
    }
}
