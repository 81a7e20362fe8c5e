//! What is planned for an agent's machine: cordoned, to be drained, drained. Not here: whether it is reachable (`agent`).

use dawn_proto::v1::MaintenanceMode;
use dawn_proto::{AgentId, Timestamp};

use super::AgentNo;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Never NONE.
    pub mode: MaintenanceMode,
    pub since: Timestamp,
    /// SCHEDULED: when it drains.
    pub start: Timestamp,
    /// When it drains or has: policies are heeded until then.
    pub deadline: Timestamp,
    /// How long they are heeded from when it drains.
    pub heed_ms: u64,
    pub author: String,
    pub message: String,
}

impl Upkeep {
    pub const HEED_MS: u64 = 1_800_000;
}

/// None: nothing is planned any more.
#[derive(Clone, Debug, PartialEq)]
pub struct UpkeepMutation {
    pub agent: AgentNo,
    pub upkeep: Option<Upkeep>,
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct UpkeepCommand {
    pub agents: Vec<AgentId>,
    pub mode: MaintenanceMode,
    pub heed_ms: u64,
    pub start_in_ms: u64,
    pub author: String,
    pub message: String,
}
