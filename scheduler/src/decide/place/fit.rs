//! The predicate: whether an agent can take a task, and why not. Decisions and explanations ask the same code.
//! Not here: how well a task would sit there.

use dawn_proto::Dimension;

use super::Placer;
use super::amounts::{add, covers, suffices};
use super::catalogue::Shape;
use super::catalogue::{Catalogue, Work};
use super::fleet::Devices;
use super::fleet::{AVOIDED, CONNECTED, COPIED, CORDONED, Fleet, UP};
use super::numbers::{ScalarId, ShapeId, SlotId, WorkId};
use super::veto::Miss;

/// What a decision reads: who has room, and what is asked for.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub fleet: &'a Fleet,
    pub catalogue: &'a Catalogue,
}

impl Placer {
    /// Brings a shape's answers up to date; before any question about it.
    pub(super) fn prepare(&mut self, shape: ShapeId) {
        self.catalogue.prepare(shape, self.fleet.index());
    }

    /// Brings a work's shape and wishes up to date; before candidates for it are compared.
    pub(super) fn prepare_work(&mut self, number: WorkId) {
        self.prepare_for(number);
        self.catalogue.prepare_wishes(number);
    }
}

impl View<'_> {
    /// What keeps a task of this work from the slot; None: it fits and every rule holds.
    #[inline]
    pub(super) fn misses(self, slot: SlotId, work: WorkId) -> Option<Miss> {
        let work = self.catalogue.work(work);
        match self.misses_shape(slot, work.shape) {
            Some(Miss::Avoided) if self.goes_to_avoided(work) => {
                self.miss_beyond_bits(slot, self.catalogue.shape(work.shape))
            }
            other => other,
        }
        .or_else(|| self.misses_rules(slot, work))
    }

    /// What keeps any task of this shape from the slot, the jobs there left aside.
    #[inline]
    pub(super) fn misses_shape(self, slot: SlotId, shape: ShapeId) -> Option<Miss> {
        let row = self.fleet.slot(slot);
        let shape = self.catalogue.shape(shape);
        if covers(&row.free, &shape.need)
            && row.takes_more()
            && shape.accepts(self.catalogue.attributes(), slot, row.class)
            && !shape.is_special()
        {
            return None;
        }
        self.first_miss(slot, shape)
    }

    /// Whether nothing keeps a task of this work from the slot: `misses` without asking for the reason.
    #[inline]
    pub(super) fn fits(self, slot: SlotId, work: &Work) -> bool {
        self.fits_shape(slot, self.catalogue.shape(work.shape)) && self.misses_rules(slot, work).is_none()
    }

    /// `misses_shape` without asking for the reason.
    #[inline]
    pub(super) fn fits_shape(self, slot: SlotId, shape: &Shape) -> bool {
        let row = self.fleet.slot(slot);
        (covers(&row.free, &shape.need) || suffices(&row.free, &shape.need))
            && row.takes_more()
            && shape.accepts(self.catalogue.attributes(), slot, row.class)
            && (!shape.is_special() || self.miss_of_room(slot, shape).is_none())
    }

    /// The slow half: the first reason that holds.
    #[cold]
    fn first_miss(self, slot: SlotId, shape: &Shape) -> Option<Miss> {
        first(|found| self.each_miss_of_bits(slot, found) || self.each_miss_beyond_bits(slot, shape, found))
    }

    /// The reasons that don't lie in whether launches go to the agent at all.
    #[cold]
    pub(super) fn miss_beyond_bits(self, slot: SlotId, shape: &Shape) -> Option<Miss> {
        first(|found| self.each_miss_beyond_bits(slot, shape, found))
    }

    /// What is short on a slot.
    pub(super) fn miss_of_room(self, slot: SlotId, shape: &Shape) -> Option<Miss> {
        first(|found| self.each_miss_of_room(slot, shape, found))
    }

    /// Everything that keeps a task of this work from the slot, the first as `misses` says it.
    pub(super) fn all_misses(self, slot: SlotId, number: WorkId) -> Vec<Miss> {
        let work = self.catalogue.work(number);
        let shape = self.catalogue.shape(work.shape);
        let mut all = Vec::new();
        let goes_to_avoided = self.goes_to_avoided(work);
        let mut found = |miss: Miss| {
            if !(miss == Miss::Avoided && goes_to_avoided) {
                all.push(miss);
            }
            false
        };
        self.each_miss_of_bits(slot, &mut found);
        self.each_miss_beyond_bits(slot, shape, &mut found);
        self.each_miss_of_rules(slot, work, &mut found);
        all
    }

    /// Each in its order, until `found` has heard enough; whether it has.
    fn each_miss_of_bits(self, slot: SlotId, found: &mut Found) -> bool {
        let bits = self.fleet.slot(slot).bits;
        let is_up = bits & UP != 0;
        !is_up && found(Miss::Down)
            // A node that is down is not connected either.
            || is_up && bits & CONNECTED == 0 && found(Miss::Disconnected)
            || bits & CORDONED != 0 && found(Miss::Cordoned)
            || bits & AVOIDED != 0 && found(Miss::Avoided)
    }

    fn each_miss_beyond_bits(self, slot: SlotId, shape: &Shape, found: &mut Found) -> bool {
        self.each_miss_of_attributes(slot, shape, found) || self.each_miss_of_room(slot, shape, found)
    }

    fn each_miss_of_attributes(self, slot: SlotId, shape: &Shape, found: &mut Found) -> bool {
        if shape.accepts(self.catalogue.attributes(), slot, self.fleet.slot(slot).class) {
            return false;
        }
        let is_dedicated = !shape.accepts_dedication(self.catalogue.attributes(), slot);
        let mut refused = shape.refused_by(self.catalogue.attributes(), slot).peekable();
        let unknown = (!is_dedicated && refused.peek().is_none()).then_some(0);
        is_dedicated && found(Miss::Dedicated)
            || refused.chain(unknown).any(|constraint| found(Miss::Constraint(constraint)))
    }

    fn each_miss_of_room(self, slot: SlotId, shape: &Shape, found: &mut Found) -> bool {
        let (row, detail) = (self.fleet.slot(slot), self.fleet.detail(slot));
        let mut is_kept = false;
        if row.tasks_free <= 0 {
            is_kept = i64::from(row.tasks_free) + detail.claims.len() as i64 > 0;
            if found(if is_kept { Miss::Kept } else { Miss::Tasks { max_tasks: detail.max_tasks } }) {
                return true;
            }
        }
        let short = |at: &Dimension| shape.need[*at] > 0 && row.free[*at] < shape.need[*at];
        if Dimension::ALL.iter().any(short) {
            let is_claimed = !detail.claims.is_empty() && self.fits_without_claims(slot, shape);
            let miss = |at: Dimension| Miss::Short { dimension: at, need: shape.need[at], have: row.free[at] };
            let enough = match is_claimed {
                true => !is_kept && found(Miss::Kept),
                false => Dimension::ALL.into_iter().filter(short).any(|at| found(miss(at))),
            };
            if enough {
                return true;
            }
        }
        self.each_miss_of_things(slot, shape, found)
    }

    /// What is more than an amount: scalars of the operator's, whole devices, ports.
    fn each_miss_of_things(self, slot: SlotId, shape: &Shape, found: &mut Found) -> bool {
        let (row, detail) = (self.fleet.slot(slot), self.fleet.detail(slot));
        for (name, need) in &shape.custom {
            let have = detail.custom.get(name).copied().unwrap_or(0);
            if have < *need && found(Miss::Scalar { name: *name, need: *need, have }) {
                return true;
            }
        }
        let gpu = shape.need[Dimension::Gpu] as u64;
        // Too few in sum is said of the sum.
        if !detail.devices.fits(gpu) && row.free[Dimension::Gpu] >= gpu as i64 {
            let have =
                if gpu < super::fleet::DEVICE { detail.devices.largest() } else { detail.devices.whole() * 1000 };
            if found(Miss::Devices { need: gpu as i64, have: have as i64 }) {
                return true;
            }
        }
        if shape.ports > 0
            && shape.ports > row.ports_free
            && found(Miss::Ports { need: shape.ports.into(), have: row.ports_free.into() })
        {
            return true;
        }
        let missing = |port: &u16| Miss::Port { port: *port, is_offered: detail.ports.offers(*port) };
        let taken = |port: &&u16| !detail.ports.offers(**port) || detail.ports.is_used(**port);
        shape.fixed.iter().filter(taken).any(|port| found(missing(port)))
    }

    fn fits_without_claims(self, slot: SlotId, shape: &Shape) -> bool {
        let mut free = self.fleet.slot(slot).free;
        for (_, kept) in &self.fleet.detail(slot).claims {
            add(&mut free, &self.catalogue.shape(*kept).need);
        }
        suffices(&free, &shape.need)
    }

    /// Why the work keeps off the slot, whatever room there is.
    #[inline]
    pub(super) fn kept_off_by(self, slot: SlotId, work: &Work) -> Option<Miss> {
        if self.fleet.slot(slot).bits & COPIED != 0 && work.spec.job.at_most_one {
            return Some(Miss::Copied);
        }
        work.keeps_off(slot).then_some(Miss::KeptOff)
    }

    /// What the job's rules, those of other jobs about it, and what it keeps off say against the slot.
    #[inline]
    pub(super) fn misses_rules(self, slot: SlotId, work: &Work) -> Option<Miss> {
        first(|found| self.each_miss_of_rules(slot, work, found))
    }

    #[inline]
    fn each_miss_of_rules(self, slot: SlotId, work: &Work, found: &mut Found) -> bool {
        if self.kept_off_by(slot, work).is_some_and(&mut *found) {
            return true;
        }
        for (at, limit) in work.rules.limits.iter().enumerate() {
            let near = self.catalogue.counts().get(limit.count).near(self.catalogue.attributes(), slot);
            if near >= limit.most && found(Miss::Limit(at as u16)) {
                return true;
            }
        }
        for neighbour in work.rules.neighbours.iter().filter(|neighbour| neighbour.required) {
            let count = self.catalogue.counts().get(neighbour.count);
            let near = count.near(self.catalogue.attributes(), slot) > 0;
            let first = neighbour.own && count.tasks == 0;
            let is_missed = if neighbour.weight < 0 { near } else { !near && !first };
            if is_missed && found(Miss::Near(neighbour.index)) {
                return true;
            }
        }
        self.catalogue
            .counts()
            .refusing(self.catalogue.attributes(), work.name, slot)
            .is_some_and(|job| found(Miss::Refused(job)))
    }

    /// Whether the agent could take the shape if it were empty, up and willing.
    pub(super) fn misses_when_empty(self, slot: SlotId, shape: &Shape) -> Option<Miss> {
        first(|found| self.each_miss_when_empty(slot, shape, found))
    }

    /// Everything that keeps the shape from the agent even when it is empty, up and willing.
    pub(super) fn all_misses_when_empty(self, slot: SlotId, shape: &Shape) -> Vec<Miss> {
        let mut all = Vec::new();
        self.each_miss_when_empty(slot, shape, &mut |miss| {
            all.push(miss);
            false
        });
        all
    }

    fn each_miss_when_empty(self, slot: SlotId, shape: &Shape, found: &mut Found) -> bool {
        let detail = self.fleet.detail(slot);
        if self.each_miss_of_attributes(slot, shape, found)
            || detail.max_tasks == 0 && found(Miss::Tasks { max_tasks: 0 })
        {
            return true;
        }
        let short = |at: &Dimension| detail.total[*at] < shape.need[*at];
        let miss = |at: Dimension| Miss::Short { dimension: at, need: shape.need[at], have: detail.total[at] };
        if Dimension::ALL.into_iter().filter(short).any(|at| found(miss(at))) {
            return true;
        }
        let scalar = |name: ScalarId, need: i64| Miss::Scalar { name, need, have: detail.scalar_total(name) };
        let mut short = shape.custom.iter().filter(|(name, need)| detail.scalar_total(*name) < *need);
        if short.any(|(name, need)| found(scalar(*name, *need))) {
            return true;
        }
        let (gpu, gpus) = (shape.need[Dimension::Gpu], detail.total[Dimension::Gpu]);
        if gpus >= gpu && !Devices::new(gpus as u64).fits(gpu as u64) && found(Miss::Devices { need: gpu, have: gpus })
        {
            return true;
        }
        if i64::from(detail.ports.total()) < i64::from(shape.ports)
            && found(Miss::Ports { need: shape.ports.into(), have: detail.ports.total().into() })
        {
            return true;
        }
        let missing = |port: &u16| Miss::Port { port: *port, is_offered: false };
        shape.fixed.iter().filter(|port| !detail.ports.offers(**port)).any(|port| found(missing(port)))
    }
}

/// Takes a reason; whether it has heard enough.
type Found<'a> = dyn FnMut(Miss) -> bool + 'a;

/// The first of the reasons that `each` finds.
#[inline]
fn first(each: impl FnOnce(&mut Found) -> bool) -> Option<Miss> {
    let mut first = None;
    each(&mut |miss| {
        first = Some(miss);
        true
    });
    first
}
