//! Whose fault failures to start were. Not here: how that is found out (`decide/avoid`).

use dawn_proto::AgentId;

use super::AgentNo;

#[derive(Clone, Debug)]
pub enum BlameMutation {
    /// An operator's word: nothing speaks against the agent any more.
    Forgiven { agent: AgentNo, author: String, message: String },
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct ForgiveCommand {
    pub agents: Vec<AgentId>,
    pub author: String,
    pub message: String,
}
