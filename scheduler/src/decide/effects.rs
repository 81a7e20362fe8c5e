//! The effects that follow from mutations: the one place where launches and kills come from, whoever decided.

use dawn_proto::TaskState;
use dawn_proto::v1::Reason;

use crate::model::{Effect, Mutation, State, TaskAssigned, TaskMoved};

/// What the world is told because of a mutation. `after` is the state with the whole batch applied.
pub fn effects_of(after: &State, mutation: &Mutation) -> Option<Effect> {
    match mutation {
        Mutation::TaskAssigned(TaskAssigned { task, agent, .. }) => Some(Effect::Launch { agent: *agent, task: *task }),
        Mutation::TaskMoved(TaskMoved { task, to, reason, .. }) => {
            // Given up without the agent's own word: it may live there yet.
            let given_up = *to == TaskState::Lost && *reason == Reason::AgentLost;
            let agent = after.tasks.get(task)?.status.place()?.agent;
            (to.is_stopping() || given_up).then_some(Effect::Kill {
                agent,
                task: *task,
                reason: *reason,
                grace_period_ms: None,
            })
        }
        _ => None,
    }
}
