//! What the pulse asks of `decide`: one place that knows its entry points.

use crate::decide::Decision;
use crate::model::{AgentNo, Event, Live, Mutation, Now, State};

/// How much one step may do, and the rules that decisions follow.
#[derive(Clone, Debug)]
pub struct PulseSettings {
    /// Most tasks placed in one step; the rest follows in the next.
    pub placements_per_step: usize,
}

impl Default for PulseSettings {
    fn default() -> Self {
        PulseSettings { placements_per_step: 2000 }
    }
}

pub(super) struct Decider {
    settings: PulseSettings,
}

impl Decider {
    pub fn new(_state: &State, settings: PulseSettings) -> Self {
        Decider { settings }
    }

    pub fn decide(&mut self, _state: &State, _live: &Live, _event: &Event, _now: Now) -> Decision {
        Decision::default()
    }

    /// Places what waits, within the step's bound; true when it stopped there.
    pub fn place(&mut self, _state: &State, _live: &Live, _now: Now) -> (Decision, bool) {
        _ = self.settings.placements_per_step;
        (Decision::default(), false)
    }

    pub fn before(&mut self, _state: &State, _mutation: &Mutation) {}

    pub fn after(&mut self, _state: &State, _mutation: &Mutation) {}

    pub fn connected(&mut self, _agent: AgentNo, _connected: bool) {}
}
