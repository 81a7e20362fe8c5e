//! Agents that come, go and change, and whether launches go to them. Not here: the room on them.

use std::collections::BTreeMap;

use dawn_proto::Timestamp;
use dawn_proto::v1::NodeState;

use crate::model::Agent;

use super::super::amounts::{add, have, subtract};
use super::super::numbers::{ClassId, ScalarId, SlotId, Table};
use super::{AVOIDED, CONNECTED, COPIED, CORDONED, Detail, Devices, Fleet, Held, Ports, Slot, UP};

/// What an agent offers, in the catalogue's numbers.
pub struct Offer {
    pub class: ClassId,
    pub custom: BTreeMap<ScalarId, i64>,
}

impl Fleet {
    pub fn reach(&mut self, slot: SlotId) {
        self.slots.reach(slot, Slot::empty);
        self.details.reach(slot, Detail::default);
        self.held.reach(slot, Vec::new);
        self.prey.reach(slot, Default::default);
    }

    /// A slot's agent for the first time.
    pub fn put(&mut self, agent: &Agent, offer: Offer) {
        let slot = SlotId::of_agent(agent.no);
        self.reach(slot);
        let (row, detail) = (&mut self.slots[slot], &mut self.details[slot]);
        detail.id = Some(agent.id.clone());
        detail.total = have(&agent.total);
        detail.max_tasks = agent.max_tasks;
        detail.ports = Ports::new(agent.ports.clone());
        detail.devices = Devices::new(agent.total.gpu_milli);
        (detail.custom_total, detail.custom) = (offer.custom.clone(), offer.custom);
        row.free = detail.total;
        row.measure(&detail.total);
        row.ports_free = detail.ports.total() as i32;
        row.tasks_free = i32::try_from(agent.max_tasks).unwrap_or(i32::MAX);
        row.class = offer.class;
        row.bits = row.bits & CONNECTED
            | if agent.state == NodeState::Up { UP } else { 0 }
            | if agent.avoided.is_some() { AVOIDED } else { 0 }
            | if agent.upkeep.is_some() { CORDONED } else { 0 }
            | if agent.welcome.copied.is_some() { COPIED } else { 0 };
        self.avoided.extend(agent.avoided.as_ref().map(|avoided| (avoided.until, slot)));
        self.agents += 1;
        self.moves += 1;
        add(&mut self.total, &self.details[slot].total);
        for (scale, total) in self.scale.iter_mut().zip(self.details[slot].total.iter()) {
            *scale = (*scale).max(*total);
        }
        self.index.settle(&self.slots, slot);
        self.changed.push(slot);
    }

    /// The slot's agent is gone, with whatever is held there; nothing is kept there any more. Whether there was one.
    pub fn forget(&mut self, slot: SlotId) -> bool {
        if !self.is_known(slot) {
            return false;
        }
        subtract(&mut self.total, &self.details[slot].total);
        self.index.leave(slot);
        let bits = self.slots[slot].bits & CONNECTED;
        (self.slots[slot], self.details[slot]) = (Slot { bits, ..Slot::empty() }, Detail::default());
        self.held[slot] = Vec::<Held>::new();
        self.avoided.retain(|(_, avoided)| *avoided != slot);
        self.agents -= 1;
        self.moves += 1;
        true
    }

    pub fn change_bits(&mut self, slot: SlotId, on: u8, off: u8) {
        self.reach(slot);
        let row = &mut self.slots[slot];
        // What must not live twice kept off one that is copied.
        let before = row.is_open() && row.bits & off & COPIED == 0;
        self.moves += u64::from(row.bits != row.bits & !off | on);
        row.bits = row.bits & !off | on;
        if row.is_open() && !before {
            self.changed.push(slot);
        }
        self.index.settle(&self.slots, slot);
    }

    /// Nothing is placed on the slot until then; None: it is avoided no longer.
    pub fn avoid(&mut self, slot: SlotId, until: Option<Timestamp>) {
        self.avoided.retain(|(_, avoided)| *avoided != slot);
        self.avoided.extend(until.map(|until| (until, slot)));
        let (on, off) = if until.is_some() { (AVOIDED, 0) } else { (0, AVOIDED) };
        self.change_bits(slot, on, off);
    }

    /// Those whose time is up are avoided no longer.
    pub fn end_avoidance(&mut self, now: Timestamp) {
        while let Some((until, slot)) = self.avoided.first().copied()
            && until <= now
        {
            self.avoided.remove(&(until, slot));
            self.change_bits(slot, 0, AVOIDED);
        }
    }

    /// Takes over the classes that were made anew.
    pub fn reclass(&mut self, classes: &Table<SlotId, ClassId>) {
        for (slot, class) in classes.pairs() {
            self.slots[slot].class = *class;
        }
        self.index.rebuild(&self.slots);
    }

    /// The slot may hold more than when it was last looked at.
    pub fn touch(&mut self, slot: SlotId) {
        self.changed.push(slot);
    }

    /// Those that are avoided are to be looked at as well.
    pub fn touch_avoided(&mut self) {
        self.changed.extend(self.avoided.iter().map(|(_, slot)| *slot));
    }

    /// Slots that changed since, each once and in their order; they are taken as looked at. `matters`: somebody looks.
    pub fn take_changed(&mut self, matters: bool) -> Vec<SlotId> {
        if !matters {
            self.changed.clear();
            return Vec::new();
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Forgets the last changes but for so many: what came back was there before.
    pub fn keep_changed(&mut self, many: usize) {
        self.changed.truncate(many);
    }
}
