//! Applies what the journal says about whose fault failures were.

use crate::model::{BlameMutation, State};

impl State {
    pub(super) fn apply_blame(&mut self, mutation: &BlameMutation) {
        match mutation {
            BlameMutation::Forgiven { agent, .. } => self.agent_mut(*agent).avoided = None,
        }
    }
}
