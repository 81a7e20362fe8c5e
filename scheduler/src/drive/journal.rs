//! What the pulse asks of a journal. Its homes are edges: embedded files, etcd.

use std::future::{Future, ready};
use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Batch;
use crate::model::bounds::SEGMENT_BYTES;

/// Why a batch was not made durable. All are final for this leader: its memory is void and the process ends.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("batch {index} was refused: this scheduler is not the leader any more")]
    NotLeader { index: u64 },
    /// The journal's home takes writes of others but not of this leader, which lets another one lead.
    #[error("this scheduler {trouble}; another one shows that it can write, and may lead")]
    Yields { trouble: String },
    #[error("appending batch {index} to {place}")]
    Failed { index: u64, place: String, source: Box<dyn std::error::Error + Send + Sync> },
}

/// An ordered, durable list of batches under one leader's epoch.
pub trait Journal: Send + 'static {
    /// Whether surely nobody else leads yet. A journal that one process has to itself, for as long as that lives, is
    /// always led.
    fn is_leading(&self) -> bool {
        true
    }

    /// Resolves once it is proved that nobody else led when this was called: the proof was asked for later. It needs no
    /// append to go through. False: there will be no proof. A journal that one process has to itself, under a lock that
    /// ends with the process, is proved by the process being alive.
    fn confirm(&mut self) -> impl Future<Output = bool> + Send + 'static {
        ready(true)
    }

    /// Empty while appends go through; otherwise what holds them up and what to do.
    fn trouble(&self) -> watch::Receiver<String> {
        watch::channel(String::new()).1
    }

    /// Appends after every batch appended before; resolves once it is durable. Several may be in flight; they become
    /// durable in order. A failed append fails all after it.
    fn append(&mut self, batch: Arc<Batch>) -> impl Future<Output = Result<(), AppendError>> + Send + 'static;
}

/// How many batches that wait are written together: as many as a segment has room for.
#[derive(Debug)]
pub struct Gathered {
    most_mutations: usize,
    mutations: usize,
    bytes: usize,
}

impl Gathered {
    /// Nothing yet; ends with the batch that brings it to so many mutations.
    pub fn new(most_mutations: usize) -> Gathered {
        Gathered { most_mutations, mutations: 0, bytes: 0 }
    }

    /// Takes the batch if it fits. The first one always does: none is larger than a segment.
    pub fn takes(&mut self, batch: &Batch) -> bool {
        let bytes = batch.bytes();
        let fits = self.mutations < self.most_mutations && self.bytes + bytes <= SEGMENT_BYTES;
        let taken = fits || self.bytes == 0;
        if taken {
            self.mutations += batch.mutations.len();
            self.bytes += bytes;
        }
        taken
    }
}
