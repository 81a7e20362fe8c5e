//! Nodes lost for good: what an operator says of them and of the brake, and how that is answered. Not here: when the brake
//! is on (`decide::brake`).

use dawn_proto::{AgentId, Timestamp, amounts};

use super::AgentNo;

/// An operator's word that an agent's machine is gone. It stands until the agent is heard again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredDown {
    pub at: Timestamp,
    pub by: String,
}

/// The brake is off, whatever is silent. It is back by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrakeRelease {
    pub until: Timestamp,
    /// From when the record was written: a leader that takes over counts on no more than that.
    pub for_ms: u64,
    pub by: String,
}

impl BrakeRelease {
    pub const MIN_MS: u64 = 1_000;
    /// A day.
    pub const MAX_MS: u64 = 86_400_000;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LossMutation {
    /// Only for a DOWN agent.
    DeclaredDown {
        agent: AgentNo,
        author: String,
    },
    BrakeReleased {
        for_ms: u64,
        author: String,
    },
    /// The release is over.
    BrakeBack,
}

/// What an operator asks for. A preview changes nothing and is answered as the command itself would be.
#[derive(Clone, Debug)]
pub enum LossCommand {
    DeclareDown { agents: Vec<AgentId>, author: String, is_preview: bool },
    Forget { agents: Vec<AgentId> },
    ReleaseBrake { for_ms: u64, author: String, is_preview: bool },
}

/// Tasks that get another life because their nodes are given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    pub tasks: u64,
    /// Those of them that are marked `at_most_one` and may still live.
    pub waiting: u64,
    /// Until the last of these can't live any more.
    pub wait_ms: u64,
}

/// Each says what is wrong and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossRefusal {
    #[error(
        "node {agent} is connected and was heard {} ago, so it is not gone",
        amounts::duration(silent_ms / 1000 * 1000)
    )]
    Heard { agent: AgentId, silent_ms: u64 },
    #[error(
        "this scheduler leads only since a moment, and node {agent}, which was up, may not have found it yet; if it is gone, \
         say so again in {}",
        amounts::duration(left_ms.div_ceil(1000) * 1000)
    )]
    MayCome { agent: AgentId, left_ms: u64 },
    #[error("node {agent} is up; it can be forgotten once its tasks are moved away and its agent is stopped")]
    Up { agent: AgentId },
    #[error(
        "node {agent} still holds {tasks} {} that are not settled; it can be forgotten once they are given up",
        if *tasks == 1 { "task" } else { "tasks" }
    )]
    HoldsTasks { agent: AgentId, tasks: u64 },
    #[error(
        "node {agent} is declared down and {tasks} {} of it that must not live twice may live there for {} more; forget the \
         node after that",
        if *tasks == 1 { "task" } else { "tasks" },
        amounts::duration(wait_ms.div_ceil(1000) * 1000)
    )]
    MayLive { agent: AgentId, tasks: u64, wait_ms: u64 },
    #[error(
        "node {agent} is declared down and {tasks} {} of it being given up; forget the node in a moment",
        if *tasks == 1 { "task is" } else { "tasks are" }
    )]
    BeingGivenUp { agent: AgentId, tasks: u64 },
    #[error(
        "node {agent} dialled {} ago and holds tasks of which this journal, which went back in time, does not know all: it is \
         not gone. If it is to be given up all the same, stop its agent, and say so again {} later",
        amounts::duration(shown_ago_ms / 1000 * 1000),
        amounts::duration(super::Ahead::KEPT_MS)
    )]
    KnowsMore { agent: AgentId, shown_ago_ms: u64 },
    #[error(
        "the journal went back in time, and nothing is given up before its agents were asked what they hold; releasing the \
         brake changes nothing until then"
    )]
    JournalBehind,
    #[error("the brake is not on, so there is nothing to release: tasks of silent nodes are replaced as it is")]
    BrakeIsOff,
}
