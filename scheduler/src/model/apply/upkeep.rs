//! Applies what the journal says of maintenance.

use dawn_proto::Timestamp;

use crate::model::{State, UpkeepMutation};

impl State {
    pub(super) fn apply_upkeep(&mut self, mutation: &UpkeepMutation, at: Timestamp) {
        let no = mutation.agent;
        let mut upkeep = mutation.upkeep.clone();
        if let Some(upkeep) = &mut upkeep {
            upkeep.since = at;
        }
        match upkeep {
            Some(_) => self.indexes.upkept.insert(no),
            None => self.indexes.upkept.remove(&no),
        };
        self.agent_mut(no).upkeep = upkeep;
    }
}
