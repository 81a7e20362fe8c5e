//! A journal's home, read or restored without a scheduler.

use std::path::{Path, PathBuf};

use clap::Args;
use dawn_proto::v1;
use dawn_scheduler::run::{self, Place, Source};
use tokio::sync::mpsc;

use super::etcd::Etcd;
use crate::exit::{Exit, Failure, chain};

#[derive(Args, Default)]
pub struct Home {
    /// Directory that a scheduler keeps its journal in
    #[arg(long, value_name = "DIR", conflicts_with = "etcd")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    etcd: Etcd,
}

impl Home {
    pub fn is_given(&self) -> bool {
        self.data_dir.is_some() || self.etcd.is_given()
    }

    fn place(self) -> Result<Place, Failure> {
        let missing = || Failure::new(Exit::Usage, "say where the journal lies: give --data-dir DIR or --etcd URL");
        match (self.etcd.config()?, self.data_dir) {
            (Some(etcd), _) => Ok(Place::Etcd(etcd)),
            (None, dir) => dir.map(Place::Directory).ok_or_else(missing),
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, chain(error))
}

/// What a backup says of itself, once all of it was checked, and its size.
pub fn check_backup(file: &Path) -> Result<(v1::BackupHead, u64), Failure> {
    run::check_backup(file).map_err(|error| failed(&error))
}

/// What came of a restore.
pub struct Restored {
    pub head: v1::BackupHead,
    pub index: u64,
    pub epoch: u64,
    pub aside: Option<PathBuf>,
}

pub async fn restore(file: &Path, home: Home, replace: bool) -> Result<Restored, Failure> {
    let place = home.place()?;
    let restored = run::restore(file, &place, replace).await.map_err(|error| failed(&error))?;
    let run::RestoreOutcome { head, index, epoch, aside } = restored;
    Ok(Restored { head, index, epoch, aside })
}

/// What came of a cut.
pub struct Cut {
    pub cluster_id: String,
    pub kept_at_ms: i64,
    pub given_up_to: Option<u64>,
    pub index: u64,
    pub epoch: u64,
    pub aside: Option<PathBuf>,
}

pub async fn cut(data_dir: &Path, at: u64) -> Result<Cut, Failure> {
    let cut = run::cut(data_dir, at).await.map_err(|error| failed(&error))?;
    let (cluster_id, kept_at_ms, given_up_to) = (cut.cluster_id, cut.kept_at.0, cut.given_up_to);
    Ok(Cut { cluster_id, kept_at_ms, given_up_to, index: cut.index, epoch: cut.epoch, aside: cut.aside })
}

/// The journal's records, and words where they can't be read on.
pub async fn journal(
    home: Home,
    from: u64,
    to: u64,
) -> Result<mpsc::Receiver<Result<v1::JournalEntries, String>>, Failure> {
    let place = home.place()?;
    if let Place::Directory(dir) = &place
        && !dir.join("journal").is_dir()
    {
        let message = format!("{} holds no journal", dir.display());
        return Err(Failure::new(Exit::NotFound, message).hint("give the --data-dir of a scheduler"));
    }
    let source = Source::open(&place).await.map_err(|error| failed(&error))?;
    Ok(source.entries(from, to))
}
