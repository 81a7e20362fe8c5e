//! The state that reads see.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::changes::{JobChanges, add_changed, add_shown_on_forgotten};
use crate::model::{Batch, JobId, Mutation, State};

/// A state that follows the durable batches. Many may read; one applies.
#[derive(Debug)]
pub struct Follower {
    state: RwLock<State>,
    index: watch::Sender<u64>,
    fleet: AtomicU64,
    changes: JobChanges,
}

impl Follower {
    /// Begins with a replayed state.
    pub fn new(state: State) -> Arc<Follower> {
        let (index, _) = watch::channel(state.index);
        Arc::new(Follower {
            state: RwLock::new(state),
            index,
            fleet: AtomicU64::new(0),
            changes: JobChanges::default(),
        })
    }

    /// Applies batches that became durable. Waits for readers; each holds the state for a few milliseconds at most.
    pub fn apply(&self, batches: &[Arc<Batch>]) {
        let Some(last) = batches.last() else { return };
        // A reader that panicked changed nothing; a writer that did has ended the process's purpose.
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let changed = match self.changes.is_empty() {
            true => {
                batches.iter().for_each(|batch| state.apply(batch));
                BTreeSet::new()
            }
            false => apply_watched(&mut state, batches),
        };
        // What the parts of a step change shows with the last of them.
        let may_change = |batch: &Arc<Batch>| batch.part.is_some() || batch.mutations.iter().any(changes_fleet);
        if batches.iter().any(may_change) {
            self.fleet.fetch_add(1, Ordering::Release);
        }
        drop(state);
        self.index.send_replace(last.index);
        self.changes.tell(&changed, last.index);
    }

    /// Goes on from another state, at least as new.
    pub fn reset(&self, state: State) {
        let index = state.index;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.fleet.fetch_add(1, Ordering::Release);
        self.index.send_replace(index);
        self.changes.tell_all(index);
    }

    /// Looks at the state. Keep it short, and never wait inside.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number that changes when agents, or what they offer in all, may have changed.
    pub fn fleet(&self) -> u64 {
        self.fleet.load(Ordering::Acquire)
    }

    /// Changes with each applied batch that changes the status of the job; at first as of `index`, which the caller has
    /// read the job at or after.
    pub fn watch_job(&self, job: JobId) -> watch::Receiver<u64> {
        self.changes.watch(job, *self.index.borrow())
    }

    /// Changes with every applied batch.
    pub fn index(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }
}

/// Applies the batches and answers which jobs they changed.
fn apply_watched(state: &mut State, batches: &[Arc<Batch>]) -> BTreeSet<JobId> {
    let mut changed = BTreeSet::new();
    for batch in batches {
        let Some(parts) = state.gather(batch) else { continue };
        let mutations = || parts.iter().chain([&**batch]).flat_map(|part| &part.mutations);
        add_shown_on_forgotten(&mut changed, state, mutations());
        for mutation in mutations() {
            add_changed(&mut changed, state, mutation);
            state.apply_one(mutation, batch.at);
            add_changed(&mut changed, state, mutation);
        }
        state.seal(batch);
    }
    changed
}

fn changes_fleet(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::AgentSeen(_) | Mutation::AgentForgotten(_))
}
