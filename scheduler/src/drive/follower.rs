//! The state that reads see.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::model::{Batch, Mutation, State};

/// A state that follows the durable batches. Many may read; one applies.
#[derive(Debug)]
pub struct Follower {
    state: RwLock<State>,
    index: watch::Sender<u64>,
    fleet: AtomicU64,
}

impl Follower {
    /// Begins with a replayed state.
    pub fn new(state: State) -> Arc<Follower> {
        let (index, _) = watch::channel(state.index);
        Arc::new(Follower { state: RwLock::new(state), index, fleet: AtomicU64::new(0) })
    }

    /// Applies batches that became durable. Waits for readers; each holds the state for a few milliseconds at most.
    pub fn apply(&self, batches: &[Arc<Batch>]) {
        let Some(last) = batches.last() else { return };
        // A reader that panicked changed nothing; a writer that did has ended the process's purpose.
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            state.apply(batch);
        }
        if batches.iter().flat_map(|batch| &batch.mutations).any(changes_fleet) {
            self.fleet.fetch_add(1, Ordering::Release);
        }
        drop(state);
        self.index.send_replace(last.index);
    }

    /// Goes on from another state, at least as new.
    pub fn reset(&self, state: State) {
        let index = state.index;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.fleet.fetch_add(1, Ordering::Release);
        self.index.send_replace(index);
    }

    /// Looks at the state. Keep it short, and never wait inside.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number that changes when agents, or what they offer in all, may have changed.
    pub fn fleet(&self) -> u64 {
        self.fleet.load(Ordering::Acquire)
    }

    /// Changes with every applied batch.
    pub fn index(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }
}

fn changes_fleet(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::AgentSeen { .. } | Mutation::AgentForgotten { .. })
}
