//! What the pulse asks of `decide`: one place that knows its entry points.

use std::collections::BTreeSet;

use crate::decide::{self, Decision};
use crate::model::{AgentNo, Effect, Event, Live, Mutation, Now, Settings, State};

/// How much one step may do.
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
    settings: Settings,
    bounds: PulseSettings,
    connected: BTreeSet<AgentNo>,
}

impl Decider {
    pub fn new(_state: &State, settings: Settings, bounds: PulseSettings) -> Self {
        Decider { settings, bounds, connected: BTreeSet::new() }
    }

    pub fn decide(&self, state: &State, live: &Live, event: &Event, now: Now) -> Decision {
        decide::decide(state, live, event, now, &self.settings)
    }

    /// Places what waits, within the step's bound; true when it stopped there.
    pub fn place(&mut self, state: &State, _now: Now) -> (Vec<Mutation>, bool) {
        let mut mutations = Vec::new();
        let mut used = std::collections::BTreeMap::new();
        for (no, tasks) in &state.tasks_on {
            let entry: &mut dawn_proto::Resources = used.entry(*no).or_default();
            tasks
                .iter()
                .filter_map(|id| state.tasks.get(id))
                .for_each(|task| entry.add(&state.spec_of(task).job.demand));
        }
        for task in state.pending.iter().take(self.bounds.placements_per_step).filter_map(|id| state.tasks.get(id)) {
            for no in &self.connected {
                let mut free = state.agents[no].total.clone();
                free.take(used.entry(*no).or_default());
                let demand = &state.spec_of(task).job.demand;
                if free.fits(demand) {
                    used.entry(*no).or_default().add(demand);
                    let ports = vec![0u16; state.spec_of(task).job.ports.len()].into();
                    mutations.push(Mutation::TaskAssigned { task: task.id, agent: *no, ports });
                    break;
                }
            }
        }
        (mutations, false)
    }

    /// Keeps what placement derives from the state up with it; `state` has the mutation applied.
    pub fn observe(&mut self, _state: &State, _mutation: &Mutation) {}

    /// Only connected agents get launches.
    pub fn connected(&mut self, agent: AgentNo, connected: bool) {
        if connected {
            self.connected.insert(agent)
        } else {
            self.connected.remove(&agent)
        };
    }

    /// The launch or kill that follows from a mutation, if any.
    pub fn effect_of(&self, state: &State, mutation: &Mutation) -> Option<Effect> {
        decide::effects_of(state, mutation)
    }
}
