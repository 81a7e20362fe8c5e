//! A home of the journal that begins anew: with a backup, or with what it held at an earlier index.

use std::path::{Path, PathBuf};

use dawn_proto::Timestamp;
use dawn_proto::v1::BackupHead;

use super::directory::{DirectoryError, is_for_files};
use super::keeper::{Place, now_ms};
use crate::etcd::{self, EtcdError, EtcdRestoreError, Store};
use crate::journal::{self, BackupError, Cut, CutError, RestoreError};
use crate::model::Restored;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoringError {
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Home(#[from] DirectoryError),
    #[error(transparent)]
    Directory(#[from] RestoreError),
    #[error(transparent)]
    Etcd(#[from] EtcdRestoreError),
    #[error("reaching etcd")]
    Reach(#[from] EtcdError),
    #[error("a part of restoring panicked; its message is above")]
    Panicked,
}

/// Why nothing was cut.
#[derive(Debug, thiserror::Error)]
pub enum CuttingError {
    #[error(transparent)]
    Cut(#[from] CutError),
    #[error("a part of cutting panicked; its message is above")]
    Panicked,
}

/// What was restored, and where the journal goes on.
#[derive(Clone, Debug)]
pub struct RestoreOutcome {
    pub head: BackupHead,
    pub index: u64,
    pub epoch: u64,
    /// Where what was there before is now.
    pub aside: Option<PathBuf>,
}

/// Reads a backup and checks it.
///
/// # Errors
/// When it is none, damaged, cut short or newer than this version.
pub fn check_backup(file: &Path) -> Result<(BackupHead, u64), BackupError> {
    journal::read_backup(file).map(|backup| (backup.head, backup.bytes))
}

/// Makes the backup what the home holds; with `replace` whatever is there.
///
/// # Errors
/// When the backup can't be used, or the home is in use, occupied or another cluster's.
pub async fn restore(file: &Path, place: &Place, replace: bool) -> Result<RestoreOutcome, RestoringError> {
    let path = file.to_path_buf();
    let read = tokio::task::spawn_blocking(move || journal::read_backup(&path)).await;
    let backup = read.map_err(|_| RestoringError::Panicked)??;
    let (state, batch) = Restored::from_backup(backup.state, Timestamp(now_ms()));
    let (index, epoch) = (batch.index, batch.epoch.0);
    let aside = match place {
        Place::Directory(dir) => {
            is_for_files(dir)?;
            let dir = dir.clone();
            let restored = tokio::task::spawn_blocking(move || journal::restore(&dir, &state, &batch, replace)).await;
            restored.map_err(|_| RestoringError::Panicked)??
        }
        Place::Etcd(config) => {
            let store = Store::connect(config).await?;
            etcd::restore(&store, &state, &batch, replace).await?;
            None
        }
    };
    Ok(RestoreOutcome { head: backup.head, index, epoch, aside })
}

/// Makes the journal in a directory end with index `at`, and go on from there as a restored one does.
///
/// # Errors
/// When a scheduler runs on it, or it can't be read up to there.
pub async fn cut(data_dir: &Path, at: u64) -> Result<Cut, CuttingError> {
    let dir = data_dir.to_path_buf();
    let cut = tokio::task::spawn_blocking(move || journal::cut(&dir, at, Timestamp(now_ms()))).await;
    Ok(cut.map_err(|_| CuttingError::Panicked)??)
}
