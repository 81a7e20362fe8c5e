//! What the pulse asks of `decide`: one place that knows its entry points.

use crate::decide::place::{PlaceSettings, Placer};
use crate::decide::{self, Decision};
use crate::model::bounds::STEP_BYTES;
use crate::model::{AgentNo, Effect, Event, Live, Mutation, Now, Settings, State, bytes_of};

/// How tasks are placed, and how much one step may do.
#[derive(Clone, Debug)]
pub struct PulseSettings {
    pub place: PlaceSettings,
    /// Most tasks placed in one step; the rest follows in the next.
    pub placements_per_step: usize,
    /// Most bytes of a step's batch.
    pub step_bytes: usize,
}

impl Default for PulseSettings {
    fn default() -> Self {
        PulseSettings { place: PlaceSettings::default(), placements_per_step: 2000, step_bytes: STEP_BYTES }
    }
}

pub(super) struct Decider {
    settings: Settings,
    placer: Placer,
    place: PlaceSettings,
    placements_per_step: usize,
}

impl Decider {
    pub fn new(state: &State, settings: Settings, pulse: &PulseSettings) -> Self {
        let placer = Placer::rebuild(state, &pulse.place);
        Decider { settings, placer, place: pulse.place.clone(), placements_per_step: pulse.placements_per_step }
    }

    /// Derives from the state anew what placement keeps.
    pub fn rebuild(&mut self, state: &State, connected: impl Iterator<Item = AgentNo>) {
        self.placer = Placer::rebuild(state, &self.place);
        connected.for_each(|agent| self.placer.connected(state, agent, true));
    }

    pub fn decide(&mut self, state: &State, live: &Live, event: &Event, now: Now) -> Decision {
        let mut decision = decide::decide(state, live, event, now, &self.settings);
        if matches!(event, Event::Tick) && !state.indexes().updating.is_empty() {
            // What only placement knows of updates: whether what they stop could come back, and what their instances wait for.
            let kept = self.placer.keep_up(state, &mut decision.mutations, now);
            if self.placer.explain_stalls(state, &mut decision.mutations, now) || kept {
                decision.bytes = bytes_of(&decision.mutations);
            }
        }
        decision
    }

    /// Places what waits, within the step's bound; true when it stopped there. Each mutation is to be applied and
    /// observed, in order.
    pub fn place(&mut self, state: &State, now: Now) -> (Vec<Mutation>, bool) {
        let placed = self.placer.place(state, now, self.placements_per_step);
        let hungry = placed.len() >= self.placements_per_step;
        (placed, hungry)
    }

    /// Keeps what placement derives from the state up with it; `state` has the mutation applied, and none after it.
    pub fn observe(&mut self, state: &State, mutation: &Mutation) {
        self.placer.observe(state, mutation);
    }

    /// Only connected agents get launches.
    pub fn connected(&mut self, state: &State, agent: AgentNo, connected: bool) {
        self.placer.connected(state, agent, connected);
    }

    /// The launch or kill that follows from a mutation, if any.
    pub fn effect_of(&self, state: &State, mutation: &Mutation) -> Option<Effect> {
        decide::effects_of(state, mutation)
    }
}
