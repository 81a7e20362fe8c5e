//! Whether a task would fit some agent if all agents were empty and up: what nobody need wait for. Not here: what is free now.

use crate::model::{Agent, AgentNo, JobSpec, Numbered, State};

use super::catalogue::Catalogue;
use super::explain::{Reasons, each_once};
use super::fit::View;
use super::fleet::Fleet;
use super::veto::{Miss, Veto};

/// Whether some agent could take a task of the spec if it were empty and up.
///
/// # Errors
/// The reasons, over all agents, when none could.
pub fn could_ever_fit(state: &State, spec: &JobSpec) -> Result<(), Vec<Veto>> {
    EmptyAgents::of(state).could_take(spec)
}

/// The agents of one moment, empty and up: made once, asked about many specs.
#[derive(Debug)]
pub struct EmptyAgents {
    fleet: Fleet,
    catalogue: Catalogue,
    agents: Numbered<AgentNo, Agent>,
}

impl EmptyAgents {
    /// Takes time for every agent there is.
    pub fn of(state: &State) -> Self {
        let (mut fleet, mut catalogue) = (Fleet::default(), Catalogue::default());
        for agent in state.agents.values() {
            let offer = catalogue.put(agent);
            fleet.put(agent, offer);
        }
        fleet.reclass(&catalogue.classify(fleet.len()));
        EmptyAgents { fleet, catalogue, agents: state.agents.clone() }
    }

    /// Whether some agent could take a task of the spec.
    ///
    /// # Errors
    /// The reasons, over all agents, when none could.
    pub fn could_take(&mut self, spec: &JobSpec) -> Result<(), Vec<Veto>> {
        let shape = self.catalogue.intern_shape(spec);
        self.catalogue.prepare(shape, self.fleet.index());
        let view = View { fleet: &self.fleet, catalogue: &self.catalogue };
        let shape = self.catalogue.shape(shape);
        let mut tally = Reasons::default();
        for slot in self.fleet.with_agents() {
            if view.misses_when_empty(slot, shape).is_none() {
                return Ok(());
            }
            let kind = |miss: &Miss| view.kind(miss, spec).on(self.agents.get(&slot.agent()));
            let kinds = view.all_misses_when_empty(slot, shape).into_iter().map(|miss| (kind(&miss), miss));
            for (kind, miss) in each_once(kinds) {
                tally.count(slot, kind, &miss, None);
            }
        }
        Err(tally.finish(&self.agents))
    }

    /// Kinds of specs it was asked about; each takes a little memory.
    pub fn asked(&self) -> usize {
        self.catalogue.shapes()
    }
}
