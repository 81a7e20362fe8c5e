//! An agent as the journal knows it. Not here: whether it is connected just now (`live`), what is free there (derived).

use std::collections::BTreeMap;
use std::fmt;

use dawn_proto::v1::{NodeState, PortHolder};
use dawn_proto::{AgentId, Resources, TaskId, Timestamp};

use super::Blame;

/// A short number for an agent inside one cluster's state; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentNo(pub u32);

impl fmt::Display for AgentNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

/// Values by attribute name; values sorted, without repeats.
pub type Attributes = BTreeMap<String, Vec<String>>;

/// Inclusive ranges, sorted, not touching each other.
pub type PortRanges = Vec<(u16, u16)>;

/// Ports that an agent could not bind lately, though Dawn gave them to nobody, and who keeps them from it.
pub type TakenPorts = BTreeMap<u16, PortHolder>;

/// Launches keep away from the agent for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avoided {
    pub until: Timestamp,
    pub why: String,
    /// How often in a row, this time included: each time is longer.
    pub times: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub no: AgentNo,
    pub id: AgentId,
    pub hostname: String,
    pub version: String,
    pub isolation: String,
    pub boot_id: String,
    /// Tasks below may have been started there under an earlier boot of the machine, or on one that it is a copy of.
    pub first_task_of_boot: TaskId,
    /// All that may be taken there, taken or not.
    pub total: Resources,
    pub attributes: Attributes,
    pub ports: PortRanges,
    /// Most tasks that it runs at once.
    pub max_tasks: u32,
    /// What it leaves out of `ports` for a while.
    pub taken_ports: TakenPorts,
    /// The agent's own counter of changes to the five above.
    pub offer_epoch: u64,
    pub state: NodeState,
    /// Since when it is in `state`.
    pub since: Timestamp,
    pub registered_at: Timestamp,
    pub avoided: Option<Avoided>,
    /// What speaks against it, oldest first, at most [`Blame::MOST`].
    pub blames: Vec<Blame>,
    /// What is planned for it.
    pub upkeep: Option<super::Upkeep>,
    /// An operator says that it is gone. Only while it is DOWN.
    pub declared_down: Option<super::DeclaredDown>,
    pub welcome: super::Welcome,
}
