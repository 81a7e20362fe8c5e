//! Reads leave the threads that decisions run on: long ones (a page of ten thousand tasks, a `why`) take turns on their
//! own, a few at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::{reads, status};
use crate::decide::place::EmptyAgents;
use crate::drive::Follower;
use crate::model::{JobSpec, State};

/// Reads at the same time; others wait their turn.
const AT_ONCE: usize = 4;
/// Kinds of specs after which the agents are read anew, so that what is kept for each does not add up.
const MAX_ASKED: usize = 10_000;

#[derive(Clone, Debug)]
pub struct Reader {
    follower: Arc<Follower>,
    turns: Arc<Semaphore>,
    fleet: Arc<Mutex<Option<Fleet>>>,
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
        Reader { follower, turns: Arc::new(Semaphore::new(AT_ONCE)), fleet: Arc::default() }
    }

    /// A turn for work that takes its time without holding the state.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().acquire_owned().await.ok()
    }

    /// Looks at the durable state.
    ///
    /// # Errors
    /// INTERNAL when `look` panicked.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce(&State) -> T + Send + 'static) -> Result<T, Status> {
        // The semaphore is never closed; without a turn the read would only be less bounded.
        let turn = self.turns.clone().acquire_owned().await.ok();
        let follower = self.follower.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let looked = follower.read(look);
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
        let turn = self.turns.clone().acquire_owned().await.ok();
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
        let agents = follower.read(|state| State {
            agents: state.agents.clone(),
            next_agent: state.next_agent,
            ..State::default()
        });
        Fleet { at, count: agents.agents.len(), empty: EmptyAgents::of(&agents) }
    }))
}
