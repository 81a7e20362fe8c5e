//! The journal's home: a directory of this scheduler alone, or etcd for several.

use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::directory::is_for_files;
use super::folding::Folding;
use super::keeper::Source;
use super::lead::{Lead, Signs};
use super::standby::Standby;
use super::{Config, RunError, cluster_id, snapshots};
use crate::drive::{Follower, SystemClock};
use crate::journal::Embedded;
use crate::model::State;

pub enum Home {
    Embedded { journal: Box<Embedded>, state: Box<State> },
    Etcd(Box<Standby>),
}

impl Home {
    /// Opens the journal that `config` names and replays it.
    pub async fn open(config: &Config) -> Result<Home, RunError> {
        if let Some(etcd) = &config.etcd {
            return Ok(Home::Etcd(Box::new(
                Standby::open(etcd.clone(), config.witness_dir.as_deref(), &config.vitals).await?,
            )));
        }
        is_for_files(&config.data_dir)?;
        let (data_dir, settings) = (config.data_dir.clone(), config.journal);
        let opened = tokio::task::spawn_blocking(move || Embedded::open(&data_dir, settings)).await;
        let (journal, state) = opened.map_err(|_| RunError::Panicked)??;
        Ok(Home::Embedded { journal: Box::new(journal), state: Box::new(state) })
    }

    pub fn name(&self) -> &'static str {
        match self {
            Home::Embedded { .. } => "embedded",
            Home::Etcd(_) => "etcd",
        }
    }

    /// Whether nobody else can lead.
    pub fn leads_alone(&self) -> bool {
        matches!(self, Home::Embedded { .. })
    }

    /// Where operators read the journal.
    pub fn source(&self, config: &Config) -> Source {
        match self {
            Home::Embedded { .. } => Source::Directory(config.data_dir.clone()),
            Home::Etcd(standby) => Source::Etcd(standby.store()),
        }
    }

    pub fn state(&self) -> &State {
        match self {
            Home::Embedded { state, .. } => state,
            Home::Etcd(standby) => standby.state(),
        }
    }

    pub fn keep_snapshots(&self, follower: &Arc<Follower>, signs: &Arc<Signs>) -> JoinHandle<()> {
        let (follower, signs) = (follower.clone(), signs.clone());
        match self {
            Home::Embedded { journal, .. } => {
                tokio::spawn(snapshots::keep(journal.snapshots(), journal.snapshot_due(), follower))
            }
            Home::Etcd(standby) => {
                let writer = u64::from(std::process::id());
                tokio::spawn(Folding { store: standby.store(), follower, signs, writer }.keep())
            }
        }
    }

    /// Leads when it may, until `stop`.
    pub async fn lead(self, lead: Lead, address: String, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        match self {
            Home::Embedded { journal, state } => {
                let epoch = state.epoch_of(0);
                let fresh = cluster_id().map_err(RunError::ClusterId)?;
                Ok(lead.under(epoch, fresh, *state, *journal, SystemClock::default(), stop).await?)
            }
            Home::Etcd(standby) => standby.run(lead, address, stop).await,
        }
    }
}
