//! Applies welcomes, their confirmations, and that a copy was seen.

use dawn_proto::Timestamp;

use crate::model::{State, Welcome, WelcomeMutation};

impl State {
    pub(super) fn apply_welcome(&mut self, mutation: &WelcomeMutation, at: Timestamp) {
        match mutation {
            WelcomeMutation::Issued { agent, named, number } => {
                let welcome = &mut self.agent_mut(*agent).welcome;
                (welcome.confirmed, welcome.issued) = (*named, *number);
            }
            WelcomeMutation::Confirmed { agent } => {
                let welcome = &mut self.agent_mut(*agent).welcome;
                welcome.confirmed = welcome.issued;
            }
            WelcomeMutation::Forgotten { agent } => {
                let welcome = &mut self.agent_mut(*agent).welcome;
                (welcome.confirmed, welcome.issued) = (0, 0);
            }
            WelcomeMutation::Replaced { agent } => {
                let first_task_of_boot = self.truth.next_task;
                self.agent_mut(*agent).first_task_of_boot = first_task_of_boot;
            }
            WelcomeMutation::Copied { agent } => self.agent_mut(*agent).welcome.copied = Some(at),
        }
    }

    /// What was given out since the backup is not known: whatever an agent names is taken once, and none was a copy for
    /// naming what the journal lost. A copy is found out again.
    pub(super) fn forget_welcomes(&mut self) {
        for agent in self.truth.agents.values_mut() {
            agent.welcome = Welcome::default();
        }
    }
}
