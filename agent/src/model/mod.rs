//! Nouns: an agent's state and how it changes, what can happen to it, what it may ask for. Not here: anything that decides or
//! touches the machine.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod apply;
mod artifact;
mod effect;
mod event;
mod gpu;
mod held;
mod index;
mod inspection;
mod layout;
mod lease;
mod link;
mod living;
mod mutation;
mod note;
mod offer;
mod order;
mod recovered;
mod registration;
mod report;
mod space;
mod state;
mod tunnel;
mod usage;
mod weight;

pub use artifact::{Artifact, last_sequence, step_sequence};
pub use effect::{Effect, Message};
pub use event::{
    Event, ExecutorEvent, Free, LinkEvent, LogRequest, LogStart, LogStreams, MachineEvent, Reachable, ReachableTask,
};
pub use gpu::{GPU_MILLI, Gpus, of_each_gpu};
pub use held::{Ending, HeldTask, KillProgress, Phase, ProcessIdentity, Remains, Stage, TaskPlan};
pub use index::Index;
pub use inspection::{InspectedTask, Inspection, MAX_INSPECTED, Stray};
pub use layout::TaskDir;
pub use lease::Lease;
pub use link::Link;
pub use living::Living;
pub use mutation::Mutation;
pub use note::Note;
pub use offer::{Excluded, Offer, OfferState, PortRange};
pub use order::{
    FurtherLimits, GroupPlan, Identity, IoLimits, Kill, Launch, LaunchRecord, Limits, Port, Refusal, RootFs, Spec,
};
pub use recovered::{ExecutorProbe, Recovered};
pub use registration::{RegisterMessage, Welcomed};
pub use report::{Ended, MOST_WITH_WORDS, Report};
pub use space::{Keep, Space};
pub use state::{Setup, State};
pub use tunnel::{LogChunk, RefusalKind, TunnelRefusal};
pub use usage::{GroupUsage, Observed};

use dawn_proto::{Epoch, Timestamp};

/// Living and ended tasks remembered at once; a launch above it is dropped and left to reconcile.
pub const MAX_HELD_TASKS: usize = 20_000;
/// Living tasks at once, as the agent offers; a launch above it is refused.
pub const MAX_LIVING_TASKS: u32 = 5_000;
/// Launches that wait for their spec; above it they are refused.
pub const MAX_WAITING_LAUNCHES: usize = 1_000;
/// Job specs kept for later launches; the oldest makes room.
pub const MAX_SPECS: usize = 1_024;
/// The same in bytes, as they came.
pub const MAX_SPECS_BYTES: usize = 16 << 20;
/// Ids of tasks forgotten, so that a late repeat of their launch starts nothing; the oldest makes room.
pub const MAX_FORGOTTEN_TASKS: usize = 4_096;

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For records that people and other machines read.
    pub wall: Timestamp,
    /// For waiting: milliseconds that only grow, from any start.
    pub mono_ms: u64,
}

/// What an agent keeps of its cluster over its own restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whose it is: the agent knows its id by this when the file that says it can't be read.
    pub agent_id: String,
    /// Empty until the first registration.
    pub cluster_id: String,
    /// Highest epoch seen: nothing below it is obeyed.
    pub epoch_seen: Epoch,
    /// The kernel's boot id at the last start.
    pub boot_id: String,
    /// Epoch of the offer at the last start.
    pub offer_epoch: u64,
    /// How long the leader waits for a silent agent, as last told; 0: never told.
    pub lease_ms: u64,
    /// Of the last welcome: it proves that this is the machine that was welcomed, not a copy of it. 0: never welcomed by a
    /// leader that gives them.
    pub welcome: u64,
}

impl Memory {
    /// Whether the machine was rebooted since; not when nothing is remembered.
    pub fn is_of_another_boot(&self, boot_id: &str) -> bool {
        !self.boot_id.is_empty() && self.boot_id != boot_id
    }
}
