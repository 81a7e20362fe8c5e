//! `dawn admin …`: what those who operate the cluster need of its journal, and the brake.

mod backup;
mod brake;
mod cut;
mod epoch;
mod journal;
mod record;
mod restore;
mod verify;

use clap::Subcommand;

use crate::args::Context;
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub enum Admin {
    /// Write the whole state of the cluster, as of one index, to a file
    Backup(backup::Backup),
    /// Begin a journal anew with a backup, while no scheduler runs on it
    Restore(restore::Restore),
    /// Compare journal, schedulers, agents and their kernels, and check every promise that can be checked live
    Verify(verify::Verify),
    /// End the wait for silent nodes while so many are silent that no task is replaced
    #[command(subcommand)]
    Brake(brake::Brake),
    /// Go on above the epochs that agents have obeyed, after the journal went back in time
    Epoch(epoch::Epoch),
    /// Print the journal, one record a line
    Journal(journal::Journal),
}

pub async fn run(admin: Admin, context: &mut Context) -> Result<Exit, Failure> {
    match admin {
        Admin::Backup(backup) => backup::run(backup, context).await,
        Admin::Restore(restore) => restore::run(restore, context).await,
        Admin::Verify(verify) => verify::run(verify, context).await,
        Admin::Brake(brake) => brake::run(brake, context).await,
        Admin::Epoch(epoch) => epoch::run(epoch, context).await,
        Admin::Journal(journal) => journal::run(journal, context).await,
    }
}
