//! The predicate: whether an agent can take a task, and why not. Decisions and explanations ask the same code.

use super::Placer;
use super::agents::{AVOIDED, CONNECTED, COPIED, CORDONED, UP, covers, suffices};
use super::gpu::Devices;
use super::shape::Shape;
use super::veto::Miss;

impl Placer {
    /// Brings a shape's answers up to date; before any question about it.
    pub(super) fn prepare(&mut self, shape: u32) {
        let Placer { shapes, attributes, index, .. } = self;
        let agents_in = |class: u32| index.agents_in(class);
        shapes.all[shape as usize].prepare(attributes, agents_in);
    }

    /// Brings a work's shape and wishes up to date; before candidates for it are compared.
    pub(super) fn prepare_work(&mut self, number: u32) {
        self.prepare_for(number);
        let Placer { works, attributes, .. } = self;
        let work = works.get_mut(number);
        work.rules.wishes.iter_mut().for_each(|(_, matcher)| matcher.prepare(attributes));
    }

    /// What keeps a task of this work from the slot; None: it fits and every rule holds.
    #[inline]
    pub(super) fn misses(&self, slot: usize, work: u32) -> Option<Miss> {
        let work = self.works.get(work);
        match self.misses_shape(slot, work.shape) {
            Some(Miss::Avoided) if self.goes_to_avoided(work) => {
                self.miss_beyond_bits(slot, &self.shapes.all[work.shape as usize])
            }
            other => other,
        }
        .or_else(|| self.misses_rules(slot, work))
    }

    /// What keeps any task of this shape from the slot, the jobs there left aside.
    #[inline]
    pub(super) fn misses_shape(&self, slot: usize, shape: u32) -> Option<Miss> {
        let row = &self.slots[slot];
        let shape = &self.shapes.all[shape as usize];
        if covers(&row.free, &shape.need)
            && row.takes_more()
            && shape.accepts(&self.attributes, slot, row.class)
            && !shape.is_special()
        {
            return None;
        }
        self.first_miss(slot, shape)
    }

    /// Whether nothing keeps a task of this work from the slot: `misses` without asking for the reason.
    #[inline]
    pub(super) fn fits(&self, slot: usize, work: &super::work::Work) -> bool {
        self.fits_shape(slot, &self.shapes.all[work.shape as usize]) && self.misses_rules(slot, work).is_none()
    }

    /// `misses_shape` without asking for the reason.
    #[inline]
    pub(super) fn fits_shape(&self, slot: usize, shape: &Shape) -> bool {
        let row = &self.slots[slot];
        (covers(&row.free, &shape.need) || suffices(&row.free, &shape.need))
            && row.takes_more()
            && shape.accepts(&self.attributes, slot, row.class)
            && (!shape.is_special() || self.miss_of_room(slot, shape).is_none())
    }

    /// The slow half: every reason in its order. The first that holds is the answer.
    #[cold]
    fn first_miss(&self, slot: usize, shape: &Shape) -> Option<Miss> {
        let row = &self.slots[slot];
        match row.bits {
            bits if bits & UP == 0 => return Some(Miss::Down),
            bits if bits & CONNECTED == 0 => return Some(Miss::Disconnected),
            bits if bits & CORDONED != 0 => return Some(Miss::Cordoned),
            bits if bits & AVOIDED != 0 => return Some(Miss::Avoided),
            _ => {}
        }
        self.miss_beyond_bits(slot, shape)
    }

    /// The reasons that don't lie in whether launches go to the agent at all.
    #[cold]
    pub(super) fn miss_beyond_bits(&self, slot: usize, shape: &Shape) -> Option<Miss> {
        let row = &self.slots[slot];
        if !shape.accepts(&self.attributes, slot, row.class) {
            if !shape.accepts_dedication(&self.attributes, slot) {
                return Some(Miss::Dedicated);
            }
            return Some(Miss::Constraint(shape.refused_by(&self.attributes, slot).unwrap_or(0)));
        }
        self.miss_of_room(slot, shape)
    }

    /// What is short on a slot.
    pub(super) fn miss_of_room(&self, slot: usize, shape: &Shape) -> Option<Miss> {
        let (row, detail) = (&self.slots[slot], &self.details[slot]);
        if row.tasks_free <= 0 {
            let is_kept = i64::from(row.tasks_free) + detail.claims.len() as i64 > 0;
            return Some(if is_kept { Miss::Kept } else { Miss::Tasks { max_tasks: detail.max_tasks } });
        }
        let short = shape.need.iter().zip(&row.free).position(|(need, free)| *need > 0 && free < need);
        if let Some(at) = short {
            let miss = Miss::Short { dimension: at as u8, need: shape.need[at], have: row.free[at] };
            let is_kept = !detail.claims.is_empty() && self.fits_without_claims(slot, shape);
            return Some(if is_kept { Miss::Kept } else { miss });
        }
        for (name, need) in &shape.custom {
            let have = detail.custom.get(name).copied().unwrap_or(0);
            if have < *need {
                return Some(Miss::Scalar { name: *name, need: *need, have });
            }
        }
        let gpu = shape.need[super::agents::GPU] as u64;
        if !detail.devices.fits(gpu) {
            let have = if gpu < super::gpu::DEVICE { detail.devices.largest() } else { detail.devices.whole() * 1000 };
            return Some(Miss::Devices { need: gpu as i64, have: have as i64 });
        }
        if shape.ports > 0 && shape.ports > row.ports_free {
            return Some(Miss::Ports { need: shape.ports.into(), have: row.ports_free.into() });
        }
        let taken = |port: &&u16| !detail.ports.offers(**port) || detail.ports.is_used(**port);
        shape.fixed.iter().find(taken).map(|port| Miss::Port(*port))
    }

    fn fits_without_claims(&self, slot: usize, shape: &Shape) -> bool {
        let mut free = self.slots[slot].free;
        for claim in self.details[slot].claims.iter().filter_map(|task| self.claims.get(task)) {
            let shape = self.works.get(claim.work).shape;
            super::agents::add(&mut free, &self.shapes.all[shape as usize].need);
        }
        suffices(&free, &shape.need)
    }

    /// Why the work keeps off the slot, whatever room there is.
    #[inline]
    pub(super) fn kept_off_by(&self, slot: usize, work: &super::work::Work) -> Option<Miss> {
        if self.slots[slot].bits & COPIED != 0 && work.spec.job.at_most_one {
            return Some(Miss::Copied);
        }
        work.keeps_off(slot).then_some(Miss::KeptOff)
    }

    /// What the job's rules, those of other jobs about it, and what it keeps off say against the slot.
    #[inline]
    pub(super) fn misses_rules(&self, slot: usize, work: &super::work::Work) -> Option<Miss> {
        if let Some(miss) = self.kept_off_by(slot, work) {
            return Some(miss);
        }
        for (at, limit) in work.rules.limits.iter().enumerate() {
            if self.counts.all[limit.count as usize].near(&self.attributes, slot) >= limit.most {
                return Some(Miss::Limit(at as u16));
            }
        }
        for neighbour in work.rules.neighbours.iter().filter(|neighbour| neighbour.required) {
            let count = &self.counts.all[neighbour.count as usize];
            let near = count.near(&self.attributes, slot) > 0;
            let first = neighbour.own && count.tasks == 0;
            if if neighbour.weight < 0 { near } else { !near && !first } {
                return Some(Miss::Near(neighbour.index));
            }
        }
        self.counts.refusing(&self.attributes, work.name, slot).map(Miss::Refused)
    }

    /// Whether the agent could take the shape if it were empty, up and willing.
    pub(super) fn misses_when_empty(&self, slot: usize, shape: &Shape) -> Option<Miss> {
        let detail = &self.details[slot];
        if !shape.accepts(&self.attributes, slot, self.slots[slot].class) {
            if !shape.accepts_dedication(&self.attributes, slot) {
                return Some(Miss::Dedicated);
            }
            return Some(Miss::Constraint(shape.refused_by(&self.attributes, slot).unwrap_or(0)));
        }
        if detail.max_tasks == 0 {
            return Some(Miss::Tasks { max_tasks: 0 });
        }
        if let Some(at) = (0..4).find(|at| detail.total[*at] < shape.need[*at]) {
            return Some(Miss::Short { dimension: at as u8, need: shape.need[at], have: detail.total[at] });
        }
        if let Some((name, need)) = shape.custom.iter().find(|(name, need)| detail.scalar_total(*name) < *need) {
            return Some(Miss::Scalar { name: *name, need: *need, have: detail.scalar_total(*name) });
        }
        let gpu = shape.need[super::agents::GPU];
        if !Devices::new(detail.total[super::agents::GPU] as u64).fits(gpu as u64) {
            return Some(Miss::Devices { need: gpu, have: detail.total[super::agents::GPU] });
        }
        if i64::from(detail.ports.total()) < i64::from(shape.ports) {
            return Some(Miss::Ports { need: shape.ports.into(), have: detail.ports.total().into() });
        }
        shape.fixed.iter().find(|port| !detail.ports.offers(**port)).map(|port| Miss::Port(*port))
    }
}
