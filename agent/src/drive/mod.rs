//! Pulse: the agent's state, owned by one task. `step` takes one event in and returns what is to be done, in order. What is
//! done about it `decide` says, what changes `State::apply` does. Not here: clocks, files, sockets; a simulator drives this as
//! the daemon does.

pub mod pulse;
pub mod vitals;

#[cfg(test)]
mod tests;

use crate::decide::{self, Decision};
use crate::model::{Effect, Event, Memory, Now, Recovered, Setup, State};

/// The agent.
#[derive(Debug)]
pub struct Agent {
    state: State,
}

impl Agent {
    /// An agent with what an earlier life of it left. The effects come before those of any step.
    pub fn new(setup: Setup, memory: Memory, found: Vec<Recovered>, now: Now) -> (Agent, Vec<Effect>) {
        let mut agent = Agent { state: State::new(setup, memory, now) };
        let mut effects = Vec::new();
        let decision = decide::begin(&agent.state, found, now);
        agent.take(decision, now, &mut effects);
        (agent, effects)
    }

    /// Takes one event in. The effects are to be carried out in order.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let decision = decide::hold_to_lease(&self.state, now);
        self.take(decision, now, &mut effects);
        let decision = decide::decide(&self.state, &event, now);
        self.take(decision, now, &mut effects);
        effects
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Applies a decision, and decides what it leaves to be decided, each on the state that those before it have made.
    fn take(&mut self, decision: Decision, now: Now, effects: &mut Vec<Effect>) {
        for mutation in decision.mutations {
            self.state.apply(mutation);
        }
        effects.extend(decision.effects);
        for next in decision.next {
            let decision = decide::go_on(&self.state, next, now);
            self.take(decision, now, effects);
        }
    }
}
