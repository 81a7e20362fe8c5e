//! Reads leave the threads that decisions run on. What a command or a stream looks up by key is read beside long reads (a
//! page of ten thousand tasks, a `why`), which take turns that the clients share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::{reads, status};
use crate::decide::place::EmptyAgents;
use crate::drive::Follower;
use crate::model::{JobSpec, State, Truth};
use crate::shares::Holder;

/// Short reads at the same time, and as many long ones; others wait their turn.
const READS_AT_ONCE: usize = 4;
/// Long reads of one client at the same time. Its others wait apart from the turns of all, so that no number of them makes
/// another client wait for more than these.
const READS_OF_ONE_CLIENT: usize = 2;
/// A read of more entries than these looks at a copy of the state, so that what becomes durable meanwhile is applied.
const MOST_ENTRIES_UNDER_LOCK: usize = 2_000;
/// Kinds of specs after which the agents are read anew, so that what is kept for each does not add up.
const MAX_ASKED: usize = 10_000;

#[derive(Clone, Debug)]
pub struct Reader {
    follower: Arc<Follower>,
    short: Arc<Semaphore>,
    long: Turns,
    fleet: Arc<Mutex<Option<Fleet>>>,
}

/// Turns that holders share; None is the scheduler itself.
#[derive(Clone, Debug)]
struct Turns {
    of_all: Arc<Semaphore>,
    of_holders: Arc<Mutex<HashMap<Option<Holder>, Weak<Semaphore>>>>,
}

/// A turn to read; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _of_holder: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Turns {
    async fn take(&self, holder: Option<Holder>) -> Turn {
        let own = self.own(holder);
        // Neither semaphore is ever closed; without a turn the read would only be less bounded.
        let of_holder = own.acquire_owned().await.ok();
        Turn { _of_holder: of_holder, _of_all: self.of_all.clone().acquire_owned().await.ok() }
    }

    fn own(&self, holder: Option<Holder>) -> Arc<Semaphore> {
        // Nothing under the lock can panic half way.
        let mut holders = self.of_holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = holders.get(&holder).and_then(Weak::upgrade) {
            return own;
        }
        // Those that read nothing now are forgotten: the map holds no more than wait.
        holders.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(READS_OF_ONE_CLIENT));
        holders.insert(holder, Arc::downgrade(&own));
        own
    }
}

/// The agents as they were at one value of [`Follower::fleet`].
#[derive(Debug)]
struct Fleet {
    at: u64,
    count: usize,
    empty: EmptyAgents,
}

impl Reader {
    pub fn new(follower: Arc<Follower>) -> Self {
        let turns = || Arc::new(Semaphore::new(READS_AT_ONCE));
        Reader {
            follower,
            short: turns(),
            long: Turns { of_all: turns(), of_holders: Arc::default() },
            fleet: Arc::default(),
        }
    }

    /// A turn for long work that does not hold the state.
    pub async fn turn(&self, holder: Holder) -> Turn {
        self.long.take(Some(holder)).await
    }

    /// Looks up a few entries of the durable state by their keys. Never waits for long reads.
    ///
    /// # Errors
    /// INTERNAL when `look` panicked.
    pub async fn find<T: Send + 'static>(&self, look: impl FnOnce(&State) -> T + Send + 'static) -> Result<T, Status> {
        let turn = self.short.clone().acquire_owned().await.ok();
        let follower = self.follower.clone();
        let found = tokio::task::spawn_blocking(move || {
            let found = follower.read(look);
            drop(turn);
            found
        });
        found.await.map_err(|_| status::read_failed())
    }

    /// Looks at as many entries of the durable state as `entries` says, in a turn of the holder's (None: the scheduler's
    /// own).
    ///
    /// # Errors
    /// INTERNAL when `look` panicked.
    pub async fn read<T: Send + 'static>(
        &self,
        holder: Option<Holder>,
        entries: impl FnOnce(&State) -> usize + Send + 'static,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let turn = self.long.take(holder).await;
        let follower = self.follower.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let looked = follower.read(|state| match entries(state) > MOST_ENTRIES_UNDER_LOCK {
                true => Err((Box::new(state.clone()), look)),
                false => Ok(look(state)),
            });
            let looked = looked.unwrap_or_else(|(copy, look)| look(&copy));
            drop(turn);
            looked
        });
        looked.await.map_err(|_| status::read_failed())
    }

    /// What to tell whoever submits the spec now. Agents are read anew only when those known can't take it, so that many
    /// submissions in a row cost no walk over all agents each.
    ///
    /// # Errors
    /// INTERNAL when the look panicked.
    pub async fn submit_warnings(&self, spec: JobSpec) -> Result<Vec<String>, Status> {
        let (follower, fleet) = (self.follower.clone(), self.fleet.clone());
        let turn = self.short.clone().acquire_owned().await.ok();
        let looked = tokio::task::spawn_blocking(move || {
            let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = fleet_of(&mut fleet, &follower, false);
            let mut warnings = kept.warnings(&spec);
            if !warnings.is_empty() && kept.at != follower.fleet() {
                warnings = fleet_of(&mut fleet, &follower, true).warnings(&spec);
            }
            drop(turn);
            warnings
        });
        looked.await.map_err(|_| status::read_failed())
    }

    pub fn follower(&self) -> &Follower {
        &self.follower
    }
}

impl Fleet {
    fn warnings(&mut self, spec: &JobSpec) -> Vec<String> {
        reads::fit_warnings(self.empty.could_take(spec), self.count)
    }
}

/// The agents as they were when last read, or as they are now.
fn fleet_of<'a>(kept: &'a mut Option<Fleet>, follower: &Follower, now: bool) -> &'a mut Fleet {
    let at = follower.fleet();
    let is_good = |fleet: &Fleet| (!now || fleet.at == at) && fleet.empty.asked() < MAX_ASKED;
    let good = kept.take().filter(is_good);
    kept.insert(good.unwrap_or_else(|| {
        // Copies of agents share their blocks: the state is held for a moment only.
        let agents = follower.read(|state| Truth {
            agents: state.agents.clone(),
            next_agent: state.next_agent,
            ..Truth::default()
        });
        let agents = State::of(agents);
        Fleet { at, count: agents.agents.len(), empty: EmptyAgents::of(&agents) }
    }))
}

#[cfg(test)]
mod tests;
