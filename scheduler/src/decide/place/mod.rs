//! Placement: which pending task goes to which agent. Pure: everything here follows from State and from what was observed.
//! Not here: creating and ending tasks, sending launches, deciding that an agent is down.

mod agents;
mod attributes;
mod avoided;
mod batch;
mod claim;
mod collect;
mod comeback;
mod elsewhere;
mod empty;
mod explain;
mod fit;
mod fragment;
mod gang;
mod gpu;
mod hold;
mod index;
mod numbers;
mod observe;
mod order;
mod pinned;
mod ports;
mod preempt;
mod rule;
mod rules;
mod score;
mod settings;
mod shape;
mod sleep;
mod spread;
mod tally;
#[cfg(test)]
mod tests;
mod veto;
mod victims;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dawn_proto::{TaskId, Timestamp};

use crate::model::{Mutation, Now, State};

use agents::{Amounts, Detail, Slot};
use attributes::Attributes;
use index::Index;
use numbers::{SlotId, Table};
use order::Order;
use rules::Counts;
use shape::Shapes;
use work::Works;

pub use comeback::stays_up;
pub use elsewhere::{another_could_hold, at_limit};
pub use empty::{EmptyAgents, could_ever_fit};
pub use explain::{Explained, QuotaVeto, explain};
pub use pinned::matches;
pub use rule::TextRule;
pub use settings::PlaceSettings;
pub use veto::{Nearest, Veto, VetoKind};

/// Working data for placing tasks, derived from State and kept up with every mutation.
///
/// What `place` returns is counted here at once. The caller applies all of it, in order, and hands each mutation to
/// `observe` like any other: those are recognised and not counted again, which costs one comparison each.
#[derive(Clone, Debug)]
pub struct Placer {
    settings: PlaceSettings,
    slots: Table<SlotId, Slot>,
    details: Table<SlotId, Detail>,
    /// By slot: who holds room there. Apart from the details, because every placement adds to it.
    held: Table<SlotId, Vec<agents::Held>>,
    prey: Table<SlotId, preempt::Prey>,
    /// Agents there are.
    agents: usize,
    attributes: Attributes,
    index: Index,
    shapes: Shapes,
    works: Works,
    counts: Counts,
    order: Order,
    /// The most any agent has, by dimension: what "full" is measured by.
    scale: Amounts,
    /// By task: where room is kept for it, for which work, and until when.
    claims: BTreeMap<TaskId, claim::Claim>,
    claim_ends: BTreeSet<(Timestamp, TaskId)>,
    /// Slots with claims where room may have come free.
    claimed_slots: BTreeSet<SlotId>,
    sleepers: sleep::Sleepers,
    /// Slots that may hold more than when they were last looked at.
    dirty: Vec<SlotId>,
    avoided: BTreeSet<(Timestamp, SlotId)>,
    /// Moves whenever an agent comes, goes, changes or is open or not as it was not before.
    fleet: u64,
    /// As it was when those who sleep were last shown the avoided agents.
    fleet_shown: u64,
    disrupted: preempt::Disrupted,
    typical: fragment::Typical,
    /// Decisions returned and not yet observed.
    ahead: VecDeque<observe::Ahead>,
    /// Scratch space, kept to spare allocations.
    candidates: Vec<(i64, SlotId)>,
}

impl Placer {
    /// Derives everything from the state; nobody is connected yet.
    pub fn rebuild(state: &State, settings: &PlaceSettings) -> Placer {
        let mut placer = Placer {
            settings: settings.clone(),
            slots: Table::default(),
            details: Table::default(),
            held: Table::default(),
            prey: Table::default(),
            agents: 0,
            attributes: Attributes::default(),
            index: Index::default(),
            shapes: Shapes::default(),
            works: Works::default(),
            counts: Counts::default(),
            order: Order::default(),
            scale: Amounts::all(1),
            claims: BTreeMap::new(),
            claim_ends: BTreeSet::new(),
            claimed_slots: BTreeSet::new(),
            sleepers: sleep::Sleepers::default(),
            dirty: Vec::new(),
            avoided: BTreeSet::new(),
            fleet: 0,
            fleet_shown: 0,
            disrupted: preempt::Disrupted::default(),
            typical: fragment::Typical::default(),
            ahead: VecDeque::new(),
            candidates: Vec::new(),
        };
        placer.order.set_quotas(&state.quotas);
        placer.reserve(state);
        for agent in state.agents.values() {
            placer.see_agent(agent);
        }
        placer.classify();
        for task in state.tasks.values() {
            placer.see_task(state, task);
        }
        placer.counts.fill(state, &placer.attributes);
        placer
    }

    /// Settings of the operator changed.
    pub fn configure(&mut self, settings: &PlaceSettings) {
        self.settings = settings.clone();
        self.wake_all();
    }

    /// Decides pending tasks, at most `budget` assignments: TaskAssigned with the numbers of its ports and gpu devices,
    /// and for preemption TaskMoved to PREEMPTING of each victim and Nominated for the task that gets the room.
    ///
    /// # Panics
    /// When what an earlier call returned was not observed.
    pub fn place(&mut self, state: &State, now: Now, budget: usize) -> Vec<Mutation> {
        assert!(self.ahead.is_empty(), "{} earlier decisions were not observed", self.ahead.len());
        self.begin(state, now);
        let mut step = Step { now, left: budget, victims: self.settings.max_victims, out: Vec::new() };
        self.use_claims(&mut step);
        while step.left > 0
            && let Some(turn) = self.order.next()
        {
            self.take_turn(state, &turn, &mut step);
        }
        step.out
    }

    /// What went by since the last call: time, agents, counts.
    fn begin(&mut self, state: &State, now: Now) {
        while let Some((until, slot)) = self.avoided.first().copied()
            && until <= now.wall
        {
            self.avoided.remove(&(until, slot));
            self.change_bits(slot, 0, agents::AVOIDED);
        }
        if self.attributes.is_stale(self.agents) {
            self.classify();
        }
        self.counts.fill(state, &self.attributes);
        self.expire_claims(now.wall);
        let with_claims = self.dirty.iter().filter(|slot| !self.details[**slot].claims.is_empty());
        self.claimed_slots.extend(with_claims);
        if std::mem::replace(&mut self.fleet_shown, self.fleet) != self.fleet {
            // Those that are avoided may be the last that fit now.
            self.dirty.extend(self.avoided.iter().map(|(_, slot)| *slot));
        }
        self.wake(now);
    }

    /// Tasks that wait for a place.
    pub fn pending(&self) -> usize {
        self.works.numbers().map(|work| self.works.get(work).pending.len()).sum::<usize>() + self.claims.len()
    }

    /// Whether another `place` could decide anything before something changes.
    pub fn is_idle(&self) -> bool {
        self.dirty.is_empty() && self.order.is_empty()
    }

    /// Heap bytes it takes: of agents, of tasks and works, of counts.
    pub fn bytes(&self) -> [usize; 3] {
        let details: usize = self.details.iter().map(Detail::bytes).sum();
        let held: usize = self.held.iter().map(|held| held.capacity() * size_of::<agents::Held>()).sum();
        let slots =
            self.slots.capacity() * (size_of::<Slot>() + size_of::<Vec<agents::Held>>()) + self.index.bytes() + details;
        [slots, held + self.works.bytes(), self.counts.bytes()]
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
