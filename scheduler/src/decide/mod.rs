//! The verbs: from state and an event to mutations and effects. Pure: time, ids and chance come in as arguments.

use crate::model::{Effect, Mutation};

/// What a step wants: mutations are applied and appended first; effects wait until they are durable.
#[derive(Debug, Default)]
pub struct Decision {
    pub mutations: Vec<Mutation>,
    pub effects: Vec<Effect>,
}
