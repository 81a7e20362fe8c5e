//! Placement: which pending task goes to which agent. Pure: everything here follows from State and from what was observed.
//!
//! Four parts, each of which keeps its fields to itself: the fleet (who has room), the catalogue (what is asked for), the queue
//! (whose turn it is), the claims (for whom room is kept). Not here: creating and ending tasks, sending launches, deciding that
//! an agent is down.

mod amounts;
mod avoided;
mod batch;
mod catalogue;
mod claims;
mod collect;
mod comeback;
mod elsewhere;
mod empty;
mod explain;
mod fit;
mod fleet;
mod gang;
mod kept;
mod numbers;
mod observe;
mod pinned;
mod preempt;
mod queue;
mod score;
mod settings;
mod spread;
#[cfg(test)]
mod tests;
mod together;
mod veto;
mod victims;
mod wake;

use crate::model::{AgentNo, Mutation, Now, State};

use catalogue::Catalogue;
use claims::Claims;
use fit::View;
use fleet::{CONNECTED, Fleet};
use numbers::SlotId;
use queue::Queue;

pub use catalogue::rule::TextRule;
pub use comeback::stays_up;
pub use elsewhere::{another_could_hold, at_limit};
pub use empty::{EmptyAgents, could_ever_fit};
pub use explain::{Explained, QuotaVeto, explain};
pub use pinned::matches;
pub use settings::PlaceSettings;
pub use veto::{Nearest, Veto, VetoKind};

/// Working data for placing tasks, derived from State and kept up with every mutation.
///
/// What `place` returns is counted here at once. The caller applies all of it, in order, and hands each mutation to
/// `observe` like any other: those are recognised and not counted again, which costs one comparison each.
#[derive(Clone, Debug)]
pub struct Placer {
    settings: PlaceSettings,
    fleet: Fleet,
    catalogue: Catalogue,
    queue: Queue,
    claims: Claims,
    /// Scratch space, kept to spare allocations.
    candidates: Vec<(i64, SlotId)>,
}

impl Placer {
    /// Derives everything from the state; nobody is connected yet.
    pub fn rebuild(state: &State, settings: &PlaceSettings) -> Placer {
        let mut placer = Placer {
            settings: settings.clone(),
            fleet: Fleet::default(),
            catalogue: Catalogue::default(),
            queue: Queue::default(),
            claims: Claims::default(),
            candidates: Vec::new(),
        };
        placer.queue.set_quotas(&state.quotas);
        if let Some(last) = state.next_agent.0.checked_sub(1) {
            placer.fleet.reach(SlotId(last));
        }
        for agent in state.agents.values() {
            placer.see_agent(agent);
        }
        placer.classify();
        for task in state.tasks.values() {
            placer.see_task(state, task);
        }
        placer.catalogue.count_asked(state);
        placer
    }

    /// Settings of the operator changed.
    pub fn configure(&mut self, settings: &PlaceSettings) {
        self.settings = settings.clone();
        self.wake_all();
    }

    /// An agent's link came or went. Only agents that are up, connected and not avoided get launches.
    pub fn connected(&mut self, _state: &State, agent: AgentNo, yes: bool) {
        let (on, off) = if yes { (CONNECTED, 0) } else { (0, CONNECTED) };
        self.fleet.change_bits(SlotId::of_agent(agent), on, off);
    }

    /// Decides pending tasks, at most `budget` assignments: TaskAssigned with the numbers of its ports and gpu devices,
    /// and for preemption TaskMoved to PREEMPTING of each victim and Nominated for the task that gets the room.
    ///
    /// # Panics
    /// When what an earlier call returned was not observed.
    pub fn place(&mut self, state: &State, now: Now, budget: usize) -> Vec<Mutation> {
        let unobserved = self.queue.unobserved();
        assert!(unobserved == 0, "{unobserved} earlier decisions were not observed");
        self.begin(state, now);
        let mut step = Step { now, left: budget, victims: self.settings.max_victims, out: Vec::new() };
        self.use_claims(&mut step);
        while step.left > 0
            && let Some(turn) = self.queue.next()
        {
            self.take_turn(state, &turn, &mut step);
        }
        step.out
    }

    /// What went by since the last call: time, agents, counts.
    fn begin(&mut self, state: &State, now: Now) {
        self.fleet.end_avoidance(now.wall);
        if self.catalogue.is_stale(self.fleet.agents()) {
            self.classify();
        }
        self.catalogue.count_asked(state);
        self.expire_claims(now.wall);
        let with_claims = self.fleet.changed().iter().filter(|slot| !self.fleet.detail(**slot).claims.is_empty());
        with_claims.for_each(|slot| self.claims.see_freed(*slot));
        if self.queue.see_moves(self.fleet.moves()) {
            self.fleet.touch_avoided();
        }
        self.wake(now);
    }

    /// Makes attribute classes anew, and what is kept by class.
    fn classify(&mut self) {
        let classes = self.catalogue.classify(self.fleet.len());
        self.fleet.reclass(&classes);
    }

    /// What a decision reads.
    #[inline]
    fn view(&self) -> View<'_> {
        View { fleet: &self.fleet, catalogue: &self.catalogue }
    }

    /// Tasks that wait for a place.
    pub fn pending(&self) -> usize {
        self.catalogue.works().map(|work| self.queue.waiting(work).len()).sum::<usize>() + self.claims.len()
    }

    /// Whether another `place` could decide anything before something changes.
    pub fn is_idle(&self) -> bool {
        self.fleet.changed().is_empty() && self.queue.is_empty()
    }

    /// Heap bytes it takes: of agents, of tasks and works, of counts.
    pub fn bytes(&self) -> [usize; 3] {
        let ([slots, held], [works, counts]) = (self.fleet.bytes(), self.catalogue.bytes());
        [slots, held + works + self.queue.bytes(), counts]
    }
}

/// One call of `place`.
struct Step {
    now: Now,
    /// Assignments left.
    left: usize,
    victims: usize,
    out: Vec<Mutation>,
}
