//! Room taken and given back: the only code that changes what is free on a slot.

use dawn_proto::TaskId;

use crate::model::Place;

use super::Placer;
use super::agents::{Held, add, subtract};
use super::numbers::{SlotId, WorkId};

impl Placer {
    /// A task of `work` takes room on the slot. `place`: None: choose ports and devices; where it is then is the answer.
    pub(super) fn hold(
        &mut self,
        slot: SlotId,
        task: TaskId,
        work: WorkId,
        since_s: u32,
        dying: bool,
        place: Option<&Place>,
    ) -> Place {
        let Placer { works, shapes, slots, details, held, counts, order, index, attributes, prey, .. } = self;
        let holder = works.get_mut(work);
        let shape = &shapes.all[holder.shape];
        let spec = &holder.spec.job;
        let mut chosen = Place { agent: slot.agent(), ports: Box::default(), devices: Box::default() };
        subtract(&mut slots[slot].free, &shape.need);
        slots[slot].tasks_free -= 1;
        if shape.is_special() {
            let detail = &mut details[slot];
            shape.custom.iter().for_each(|(name, amount)| *detail.custom.entry(*name).or_default() -= amount);
            slots[slot].ports_free -= shape.ports;
            match place {
                None => {
                    chosen.ports = detail.ports.assign(&spec.ports);
                    chosen.devices = detail.devices.assign(spec.demand.gpu_milli).into();
                }
                Some(place) => {
                    let (ports, devices) = place.numbers(spec.ports.len());
                    ports.iter().for_each(|port| detail.ports.hold(*port));
                    devices.iter().for_each(|device| detail.devices.hold(*device, spec.demand.gpu_milli));
                }
            }
        }
        prey[slot].hold(holder.band, dying, &shape.need);
        held[slot].push(Held::new(task, work, since_s, dying));
        holder.held += 1;
        order.hold(holder.band, holder.role, &shape.need);
        counts.change(attributes, holder.name, slot, true);
        index.settle(slots, slot);
        if !self.sleepers.nobody_watches() {
            self.wake_watchers(self.works.get(work).name);
        }
        chosen
    }

    /// A task gives back what it held. Nothing happens when it holds nothing there.
    pub(super) fn release(&mut self, slot: SlotId, task: TaskId, place: &Place) {
        let Placer { works, shapes, slots, details, held, counts, order, index, attributes, prey, .. } = self;
        let Some(at) = held[slot].iter().position(|held| held.task == task) else { return };
        let held = held[slot].swap_remove(at);
        let holder = works.get_mut(held.work());
        let shape = &shapes.all[holder.shape];
        let spec = &holder.spec.job;
        add(&mut slots[slot].free, &shape.need);
        slots[slot].tasks_free += 1;
        if shape.is_special() {
            let detail = &mut details[slot];
            shape.custom.iter().for_each(|(name, amount)| *detail.custom.entry(*name).or_default() += amount);
            slots[slot].ports_free += shape.ports;
            let (ports, devices) = place.numbers(spec.ports.len());
            ports.iter().for_each(|port| detail.ports.release(*port));
            devices.iter().for_each(|device| detail.devices.release(*device, spec.demand.gpu_milli));
        }
        prey[slot].release(holder.band, held.dying(), &shape.need);
        holder.held -= 1;
        let (name, role, is_over) = (holder.name, holder.role, holder.is_over());
        order.release(holder.band, role, &shape.need);
        counts.change(attributes, name, slot, false);
        index.settle(slots, slot);
        // What the index does not know of may have come free as well.
        index.raised += 1;
        self.dirty.push(slot);
        self.wake_over_quota(role);
        self.wake_watchers(name);
        if is_over {
            self.drop_work(held.work());
        }
    }

    /// A task that holds room is on its way out.
    pub(super) fn set_dying(&mut self, slot: SlotId, task: TaskId) {
        if let Some(held) = self.held[slot].iter_mut().find(|held| held.task == task && !held.dying()) {
            held.set_dying();
            let of = self.works.get(held.work());
            let need = &self.shapes.all[of.shape].need;
            self.prey[slot].release(of.band, false, need);
            self.prey[slot].hold(of.band, true, need);
        }
    }

    /// Room is kept, or no longer kept, for a task that is not there yet.
    pub(super) fn keep(&mut self, slot: SlotId, task: TaskId, work: WorkId, yes: bool) {
        let shape = &self.shapes.all[self.works.get(work).shape];
        let (row, detail) = (&mut self.slots[slot], &mut self.details[slot]);
        if yes {
            subtract(&mut row.free, &shape.need);
            row.ports_free -= shape.ports;
            row.tasks_free -= 1;
            shape.custom.iter().for_each(|(name, amount)| *detail.custom.entry(*name).or_default() -= amount);
            detail.claims.push(task);
        } else {
            add(&mut row.free, &shape.need);
            row.ports_free += shape.ports;
            row.tasks_free += 1;
            shape.custom.iter().for_each(|(name, amount)| *detail.custom.entry(*name).or_default() += amount);
            detail.claims.retain(|other| *other != task);
        }
        self.index.settle(&self.slots, slot);
        self.index.raised += 1;
    }

    /// Custom scalars an agent has, by the name's number.
    pub(super) fn scalars(
        &mut self,
        custom: &std::collections::BTreeMap<String, u64>,
    ) -> std::collections::BTreeMap<super::numbers::ScalarId, i64> {
        custom.iter().map(|(name, amount)| (self.shapes.scalar(name), super::agents::scalar_have(*amount))).collect()
    }
}
