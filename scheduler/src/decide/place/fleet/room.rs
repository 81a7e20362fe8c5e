//! Room taken and given back: the only code that changes what is free on a slot. Not here: whether there is any.

use dawn_proto::TaskId;

use crate::model::Place;

use super::super::amounts::{add, subtract};
use super::super::catalogue::{Shape, Work};
use super::super::numbers::{ShapeId, SlotId, WorkId};
use super::{Detail, Fleet, Held};

/// Takes or gives back what the operator's scalars and ports count.
fn count(detail: &mut Detail, shape: &Shape, sign: i64) {
    shape.custom.iter().for_each(|(name, amount)| *detail.custom.entry(*name).or_default() += sign * amount);
}

impl Fleet {
    /// A task of `work` takes room on the slot. `place`: None: choose ports and devices; where it is then is the answer.
    #[inline]
    pub fn hold(&mut self, slot: SlotId, holder: Held, work: &Work, shape: &Shape, place: Option<&Place>) -> Place {
        let spec = &work.spec.job;
        let mut chosen = Place { agent: slot.agent(), ports: Box::default(), devices: Box::default() };
        let row = &mut self.slots[slot];
        subtract(&mut row.free, &shape.need);
        row.tasks_free -= 1;
        if shape.is_special() {
            row.ports_free -= shape.ports;
            let detail = &mut self.details[slot];
            count(detail, shape, -1);
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
        self.prey[slot].hold(work.band, holder.dying(), &shape.need);
        self.held[slot].push(holder);
        self.index.settle(&self.slots, slot);
        chosen
    }

    /// Takes a task off the list of those that hold room on the slot: what it held is to be released. None: it holds none.
    pub fn unlist(&mut self, slot: SlotId, task: TaskId) -> Option<Held> {
        let at = self.held[slot].iter().position(|held| held.task == task)?;
        Some(self.held[slot].swap_remove(at))
    }

    /// What a task held, which was of `work` and is listed no more, is free again.
    pub fn release(&mut self, slot: SlotId, holder: Held, work: &Work, shape: &Shape, place: &Place) {
        let spec = &work.spec.job;
        let row = &mut self.slots[slot];
        add(&mut row.free, &shape.need);
        row.tasks_free += 1;
        if shape.is_special() {
            row.ports_free += shape.ports;
            let detail = &mut self.details[slot];
            count(detail, shape, 1);
            let (ports, devices) = place.numbers(spec.ports.len());
            ports.iter().for_each(|port| detail.ports.release(*port));
            devices.iter().for_each(|device| detail.devices.release(*device, spec.demand.gpu_milli));
        }
        self.prey[slot].release(work.band, holder.dying(), &shape.need);
        self.index.settle(&self.slots, slot);
        // What the index does not know of may have come free as well.
        self.index.raise();
        self.changed.push(slot);
    }

    /// The work of a task that holds room on the slot and is not on its way out.
    pub fn work_of_living(&self, slot: SlotId, task: TaskId) -> Option<WorkId> {
        let held = self.held[slot].iter().find(|held| held.task == task && !held.dying());
        held.map(|held| held.work())
    }

    /// A task of `work` that holds room is on its way out.
    pub fn set_dying(&mut self, slot: SlotId, task: TaskId, work: &Work, shape: &Shape) {
        if let Some(held) = self.held[slot].iter_mut().find(|held| held.task == task && !held.dying()) {
            held.set_dying();
            self.prey[slot].release(work.band, false, &shape.need);
            self.prey[slot].hold(work.band, true, &shape.need);
        }
    }

    /// Room is kept, or no longer kept, for a task that is not there yet.
    pub fn keep(&mut self, slot: SlotId, task: TaskId, (number, shape): (ShapeId, &Shape), yes: bool) {
        let (row, detail) = (&mut self.slots[slot], &mut self.details[slot]);
        if yes {
            subtract(&mut row.free, &shape.need);
            row.ports_free -= shape.ports;
            row.tasks_free -= 1;
            count(detail, shape, -1);
            detail.claims.push((task, number));
        } else {
            add(&mut row.free, &shape.need);
            row.ports_free += shape.ports;
            row.tasks_free += 1;
            count(detail, shape, 1);
            detail.claims.retain(|(other, _)| *other != task);
        }
        self.index.settle(&self.slots, slot);
        self.index.raise();
    }
}
