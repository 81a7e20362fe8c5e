//! Whether a task would fit some agent if all agents were empty and up: what nobody need wait for.

use crate::model::{Agent, AgentNo, JobSpec, Numbered, State, Truth};

use super::explain::{Reasons, each_once};
use super::veto::Veto;
use super::{PlaceSettings, Placer};

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
    placer: Placer,
    agents: Numbered<AgentNo, Agent>,
}

impl EmptyAgents {
    /// Takes time for every agent there is.
    pub fn of(state: &State) -> Self {
        EmptyAgents { placer: Placer::without_tasks(state), agents: state.agents.clone() }
    }

    /// Whether some agent could take a task of the spec.
    ///
    /// # Errors
    /// The reasons, over all agents, when none could.
    pub fn could_take(&mut self, spec: &JobSpec) -> Result<(), Vec<Veto>> {
        let placer = &mut self.placer;
        let shape = placer.shapes.intern(spec, &mut placer.attributes);
        placer.prepare(shape);
        let mut tally = Reasons::default();
        for slot in placer.slots_with_agents() {
            let shape = &placer.shapes.all[shape];
            if placer.misses_when_empty(slot, shape).is_none() {
                return Ok(());
            }
            let kinds =
                placer.all_misses_when_empty(slot, shape).into_iter().map(|miss| (placer.kind(&miss, spec), miss));
            for (kind, miss) in each_once(kinds) {
                tally.count(slot, kind, &miss, None);
            }
        }
        Err(tally.finish(&self.agents))
    }

    /// Kinds of specs it was asked about; each takes a little memory.
    pub fn asked(&self) -> usize {
        self.placer.shapes.all.len()
    }
}

impl Placer {
    /// Agents and attributes alone.
    fn without_tasks(state: &State) -> Placer {
        let agents = Truth { agents: state.agents.clone(), next_agent: state.next_agent, ..Truth::default() };
        Placer::rebuild(&State::of(agents), &PlaceSettings::default())
    }
}
