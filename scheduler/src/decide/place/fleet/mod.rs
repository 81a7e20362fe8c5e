//! The fleet: what each agent has, which tasks hold it, and where there is room. Only `hold`, `release` and `keep` change what
//! is free. Not here: what tasks ask for (the catalogue), who waits for room (the queue), for whom it is kept (the claims).

mod agents;
mod gpu;
mod index;
mod ports;
mod prey;
mod room;
mod slot;

use std::collections::BTreeSet;

use dawn_proto::Timestamp;

use super::amounts::Amounts;
use super::numbers::{SlotId, Table};

pub use agents::Offer;
pub use gpu::{DEVICE, Devices};
pub use index::{Index, Sought};
pub use ports::Ports;
pub use prey::Prey;
pub use slot::{AVOIDED, CONNECTED, COPIED, CORDONED, Detail, FREE, Held, Slot, UP};

#[derive(Clone, Debug)]
pub struct Fleet {
    slots: Table<SlotId, Slot>,
    details: Table<SlotId, Detail>,
    /// By slot: who holds room there. Apart from the details, because every placement adds to it.
    held: Table<SlotId, Vec<Held>>,
    prey: Table<SlotId, Prey>,
    index: Index,
    /// Agents there are.
    agents: usize,
    /// All that they have.
    total: Amounts,
    /// The most any agent has had, by dimension: what "full" is measured by.
    scale: Amounts,
    /// Slots that may hold more than when they were last looked at.
    changed: Vec<SlotId>,
    avoided: BTreeSet<(Timestamp, SlotId)>,
    /// Moves whenever an agent comes, goes, changes or is open or not as it was not before.
    moves: u64,
}

impl Default for Fleet {
    fn default() -> Self {
        Fleet {
            slots: Table::default(),
            details: Table::default(),
            held: Table::default(),
            prey: Table::default(),
            index: Index::default(),
            agents: 0,
            total: Amounts::all(0),
            scale: Amounts::all(1),
            changed: Vec::new(),
            avoided: BTreeSet::new(),
            moves: 0,
        }
    }
}

/// What it tells.
impl Fleet {
    #[inline]
    pub fn slot(&self, slot: SlotId) -> &Slot {
        &self.slots[slot]
    }

    #[inline]
    pub fn detail(&self, slot: SlotId) -> &Detail {
        &self.details[slot]
    }

    #[inline]
    pub fn held(&self, slot: SlotId) -> &[Held] {
        &self.held[slot]
    }

    #[inline]
    pub fn prey(&self, slot: SlotId) -> &Prey {
        &self.prey[slot]
    }

    #[inline]
    pub fn index(&self) -> &Index {
        &self.index
    }

    #[inline]
    pub fn scale(&self) -> &Amounts {
        &self.scale
    }

    pub fn total(&self) -> Amounts {
        self.total
    }

    pub fn agents(&self) -> usize {
        self.agents
    }

    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Every slot, also those whose agent is gone.
    pub fn numbers(&self) -> impl DoubleEndedIterator<Item = SlotId> + use<> {
        self.slots.numbers()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn has(&self, slot: SlotId) -> bool {
        self.slots.has(slot)
    }

    /// Whether the slot's agent is there.
    pub fn is_known(&self, slot: SlotId) -> bool {
        self.details.get(slot).is_some_and(|detail| detail.id.is_some())
    }

    pub fn with_agents(&self) -> impl Iterator<Item = SlotId> {
        self.slots.numbers().filter(|slot| self.details[*slot].id.is_some())
    }

    /// Whether it would be open if it were not avoided.
    pub fn is_only_avoided(&self, slot: SlotId) -> bool {
        self.slots[slot].bits & (UP | CONNECTED | AVOIDED | CORDONED) == UP | CONNECTED | AVOIDED
    }

    /// Slots that everybody avoids.
    pub fn avoided(&self) -> impl ExactSizeIterator<Item = SlotId> {
        self.avoided.iter().map(|(_, slot)| *slot)
    }

    /// Slots that may hold more than when they were last looked at, each perhaps several times.
    pub fn changed(&self) -> &[SlotId] {
        &self.changed
    }

    /// Heap bytes: of agents, of what tasks hold.
    pub fn bytes(&self) -> [usize; 2] {
        let details: usize = self.details.iter().map(Detail::bytes).sum();
        let held: usize = self.held.iter().map(|held| held.capacity() * size_of::<Held>()).sum();
        let slots = self.slots.capacity() * (size_of::<Slot>() + size_of::<Vec<Held>>()) + self.index.bytes() + details;
        [slots, held]
    }
}
