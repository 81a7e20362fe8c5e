//! The catalogue: what is asked for, in numbers. Attributes of agents and their classes, shapes, works with their rules, and how
//! many tasks of a job are where. Not here: room (the fleet), whose turn it is (the queue), for whom room is kept (the claims).

mod attributes;
mod fragment;
pub(super) mod rule;
mod rules;
mod shape;
mod tally;
mod work;

use dawn_proto::SpecId;

use crate::model::{Agent, JobId, JobSpec, KeptOff, Spec, State};

use super::amounts::{Amounts, scalar_have};
use super::fleet::{Index, Offer};
use super::numbers::{ClassId, RoleId, ScalarId, ShapeId, SlotId, Table, WorkId};

pub use attributes::{Attributes, HOST, Matcher};
pub use fragment::Typical;
pub use rules::{Count, Counts, Level};
pub use shape::{DEDICATED, Path, Shape};
pub use work::{LastResort, Work};

use shape::Shapes;
use work::Works;

#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    attributes: Attributes,
    shapes: Shapes,
    works: Works,
    counts: Counts,
    typical: Typical,
}

/// What it tells.
impl Catalogue {
    #[inline]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    #[inline]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    #[inline]
    pub fn typical(&self) -> &Typical {
        &self.typical
    }

    #[inline]
    pub fn shape(&self, shape: ShapeId) -> &Shape {
        &self.shapes.all[shape]
    }

    /// Shapes there are numbers for.
    pub fn shapes(&self) -> usize {
        self.shapes.all.len()
    }

    pub fn scalar_name(&self, scalar: ScalarId) -> &str {
        &self.shapes.scalar_names[scalar]
    }

    #[inline]
    pub fn work(&self, work: WorkId) -> &Work {
        self.works.get(work)
    }

    #[inline]
    pub fn shape_of(&self, work: WorkId) -> &Shape {
        self.shape(self.works.get(work).shape)
    }

    pub fn need_of(&self, work: WorkId) -> Amounts {
        self.shape_of(work).need
    }

    pub fn works(&self) -> impl Iterator<Item = WorkId> {
        self.works.numbers()
    }

    pub fn work_of(&self, spec: SpecId) -> Option<WorkId> {
        self.works.of(spec)
    }

    /// The works of a work's role and band that have a lower priority, the lowest first.
    pub fn below(&self, work: &Work) -> impl Iterator<Item = WorkId> {
        self.works.below(work)
    }

    /// Heap bytes: of works, of counts.
    pub fn bytes(&self) -> [usize; 2] {
        [self.works.bytes(), self.counts.bytes()]
    }
}

/// Agents.
impl Catalogue {
    /// Writes an agent's attributes; what it offers, in numbers, is the answer.
    pub fn put(&mut self, agent: &Agent) -> Offer {
        let class = self.attributes.put(SlotId::of_agent(agent.no), &agent.id, &agent.attributes);
        let custom = agent.total.custom_milli.iter();
        let custom = custom.map(|(name, amount)| (self.shapes.scalar(name), scalar_have(*amount))).collect();
        Offer { class, custom }
    }

    /// The slot's agent is gone.
    pub fn clear(&mut self, slot: SlotId) {
        self.attributes.clear(slot);
    }

    /// Whether so many agents came since classes were made that they should be made again.
    pub fn is_stale(&self, agents: usize) -> bool {
        self.attributes.is_stale(agents)
    }

    /// Makes attribute classes anew; the class of every slot is the answer.
    pub fn classify(&mut self, slots: usize) -> Table<SlotId, ClassId> {
        self.attributes.classify(slots)
    }
}

/// Works and shapes.
impl Catalogue {
    /// The number of a spec's shape; one more uses it.
    pub fn intern_shape(&mut self, spec: &JobSpec) -> ShapeId {
        self.shapes.intern(spec, &mut self.attributes)
    }

    /// A work for a spec that has none.
    pub fn make_work(
        &mut self,
        state: &State,
        job: JobId,
        spec: &std::sync::Arc<Spec>,
        role: RoleId,
        band: u8,
    ) -> WorkId {
        let name = self.counts.name(&spec.job.key);
        let shape = self.shapes.intern(&spec.job, &mut self.attributes);
        let rules = self.counts.rules(&spec.job, &mut self.attributes);
        self.works.insert(Work {
            spec: spec.clone(),
            job,
            name,
            shape,
            role,
            band,
            priority: spec.job.priority,
            rules,
            kept_off: kept_off(state, job, spec.id),
            last_resort: None,
            held: 0,
            claimed: 0,
        })
    }

    pub fn drop_work(&mut self, number: WorkId) {
        let work = self.works.get(number);
        self.shapes.drop_use(work.shape);
        self.counts.drop_rules(&work.rules, work.name);
        self.works.remove(number);
    }

    /// A task of the work takes room on the slot, or has given it back.
    #[inline]
    pub fn count(&mut self, number: WorkId, slot: SlotId, more: bool) {
        let work = self.works.get_mut(number);
        if more {
            work.held += 1
        } else {
            work.held -= 1
        }
        self.counts.change(&self.attributes, work.name, slot, more);
    }

    /// One more task of the work has a claim, or is to outlive a moment in which none of its tasks is counted.
    pub fn claim(&mut self, number: WorkId) {
        self.works.get_mut(number).claimed += 1;
    }

    pub fn unclaim(&mut self, number: WorkId) {
        self.works.get_mut(number).claimed -= 1;
    }

    /// Counts what rules asked for since, from a state that shows all that was decided.
    pub fn count_asked(&mut self, state: &State) {
        self.counts.fill(state, &self.attributes);
    }

    /// A task of the work was asked for.
    pub fn see_asked(&mut self, number: WorkId) {
        let need = self.need_of(number);
        self.typical.see(&need);
    }

    /// What the state says that the work's tasks keep off; whether it is something else than before.
    pub fn see_kept_off(&mut self, state: &State, number: WorkId) -> bool {
        let work = self.works.get_mut(number);
        let now = kept_off(state, work.job, work.spec.id);
        let is_new = work.kept_off != now;
        if is_new {
            (work.kept_off, work.last_resort) = (now, None);
        }
        is_new
    }

    pub fn set_last_resort(&mut self, number: WorkId, last_resort: LastResort) {
        self.works.get_mut(number).last_resort = Some(last_resort);
    }
}

/// Answers that are kept for a shape or a work.
impl Catalogue {
    /// Brings a shape's answers up to date; before any question about it.
    pub fn prepare(&mut self, shape: ShapeId, index: &Index) {
        self.shapes.all[shape].prepare(&self.attributes, |class| index.agents_in(class));
    }

    /// Brings a work's wishes up to date; before candidates for it are compared.
    pub fn prepare_wishes(&mut self, number: WorkId) {
        let wishes = self.works.get_mut(number).rules.wishes.iter_mut();
        wishes.for_each(|(_, matcher)| matcher.prepare(&self.attributes));
    }

    /// A walk found what the first slot is that holds the shape, none if it found none.
    pub fn found(&mut self, shape: ShapeId, raised: u64, begin: SlotId, fits_nowhere: bool) {
        let shape = &mut self.shapes.all[shape];
        shape.fits_nowhere |= fits_nowhere;
        shape.begin_at(raised, begin);
    }

    /// Something may hold the shape again.
    pub fn doubt(&mut self, shape: ShapeId) {
        self.shapes.all[shape].fits_nowhere = false;
    }
}

/// What the state says that tasks of a spec keep off.
fn kept_off(state: &State, job: JobId, spec: SpecId) -> Vec<SlotId> {
    let all = state.jobs.get(&job).map(|job| &job.kept_off[..]).unwrap_or_default();
    let of_spec = all.iter().filter(|kept| kept.spec == spec && kept.keeps_off());
    let mut slots: Vec<SlotId> = of_spec.map(|kept: &KeptOff| SlotId::of_agent(kept.agent)).collect();
    slots.sort_unstable();
    slots
}
