//! Whose fault it was that tasks did not start: what a job keeps off, and what speaks against an agent. Not here: how that
//! is found out (`decide/avoid`).

use dawn_proto::v1::Reason;
use dawn_proto::{AgentId, SpecId, Timestamp};

use super::{AgentNo, Job, JobId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOf {
    /// Not known yet: the job is tried elsewhere.
    Unknown,
    /// The job did start elsewhere.
    Agent,
    /// There is no other agent to try; the job keeps off none.
    Job,
}

/// Tasks of a job's spec did not start on an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptOff {
    pub agent: AgentNo,
    pub spec: SpecId,
    pub reason: Reason,
    pub fault_of: FaultOf,
    /// How many.
    pub failures: u32,
    pub until: Timestamp,
}

impl KeptOff {
    /// Most for one job: what fails beyond is taken for its own fault.
    pub const MOST: usize = 64;

    /// Whether tasks of the spec are placed elsewhere.
    pub fn keeps_off(&self) -> bool {
        self.fault_of != FaultOf::Job
    }
}

/// Failures of one job on an agent that were not the job's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    pub job: JobId,
    pub reason: Reason,
    /// How many.
    pub failures: u32,
}

impl Blame {
    /// Most kept of an agent; the oldest goes.
    pub const MOST: usize = 16;
}

#[derive(Clone, Debug, PartialEq)]
pub enum BlameMutation {
    /// Replaces what is known of the same agent and spec.
    KeptOff { job: JobId, kept: KeptOff },
    /// The job keeps off the agent no longer.
    LetIn { job: JobId, agent: AgentNo, spec: SpecId },
    /// Counted with what is known of the same job and reason.
    Blamed { agent: AgentNo, blame: Blame },
    /// A task started there that could have failed for this reason: the failures before count no more.
    Proved { agent: AgentNo, reason: Reason },
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

impl Job {
    /// What is known of failures of a spec on an agent.
    pub fn kept_off(&self, agent: AgentNo, spec: SpecId) -> Option<&KeptOff> {
        self.kept_off.iter().find(|kept| kept.agent == agent && kept.spec == spec)
    }
}
