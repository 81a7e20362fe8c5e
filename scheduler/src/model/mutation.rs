//! Mutations: the only way state changes, and what the journal holds.

use std::sync::Arc;

use dawn_proto::v1::{NodeState, Reason, TickOutcome};
use dawn_proto::{AgentId, Epoch, JobKey, Resources, SpecId, TaskId, TaskState, Timestamp};

use super::{
    AgentNo, Attributes, BlameMutation, Exit, FlowMutation, JobId, Part, PortRanges, Quota, RestoreMutation, Spec,
    TakenPorts, Text,
};
use super::{LossMutation, Shift, UpdateMutation, UpkeepMutation, WelcomeMutation};

/// What one step decided, or a part of it: applied and appended together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// From 1, without gaps.
    pub index: u64,
    pub epoch: Epoch,
    /// Dawn's clock at the decision; the time of every mutation in it.
    pub at: Timestamp,
    /// None: the whole step.
    pub part: Option<Part>,
    pub mutations: Vec<Mutation>,
}

/// Kinds that come seldom and are large are boxed, so that a batch of common ones takes little.
#[derive(Clone, Debug, PartialEq)]
pub enum Mutation {
    ClusterMade(ClusterMade),
    EpochBegun(EpochBegun),
    JobMade(JobMade),
    JobVersioned(JobVersioned),
    JobEnded(JobEnded),
    InstancesStopped(InstancesStopped),
    JobSettled(JobSettled),
    JobForgotten(JobForgotten),
    TaskMade(TaskMade),
    TaskAssigned(TaskAssigned),
    TaskMoved(TaskMoved),
    TaskForgotten(TaskForgotten),
    EndDated(EndDated),
    AgentSeen(Box<AgentSeen>),
    AgentMoved(AgentMoved),
    AgentForgotten(AgentForgotten),
    Ticked(Ticked),
    Nominated(Nominated),
    AgentAvoided(AgentAvoided),
    Update(UpdateMutation),
    Upkeep(Box<UpkeepMutation>),
    Blame(BlameMutation),
    QuotaSet(Box<QuotaSet>),
    Flow(FlowMutation),
    Loss(LossMutation),
    /// The journal was restored from a backup.
    Restore(RestoreMutation),
    /// Always the first of its batch, whose time is that of the clock as it goes on.
    ClockShifted(Shift),
    Welcome(WelcomeMutation),
}

// Batches that wait to be durable hold a hundred thousand of them.
const _: () = assert!(size_of::<Mutation>() <= 72);

/// First record of a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterMade {
    pub cluster_id: String,
}

/// First record of a leader.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochBegun {
    pub epoch: Epoch,
}

/// A job under a new key; it has no version yet.
#[derive(Clone, Debug, PartialEq)]
pub struct JobMade {
    pub job: JobId,
    pub key: JobKey,
}

/// A new current version; an ended job is active again.
#[derive(Clone, Debug, PartialEq)]
pub struct JobVersioned {
    pub job: JobId,
    pub spec: Arc<Spec>,
    pub author: String,
    pub message: String,
}

/// The job is over; what still lives of it is stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEnded {
    pub job: JobId,
    pub author: String,
    pub message: String,
    /// It was to follow a failure, and there was none.
    pub not_needed: bool,
}

/// Inclusive ranges. Nothing is made for these instances until the next version.
#[derive(Clone, Debug, PartialEq)]
pub struct InstancesStopped {
    pub job: JobId,
    pub instances: Vec<(u32, u32)>,
}

/// Instances below `to` are as the version (or the job's end) wants them; [`super::Job::SETTLED`]: all.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettled {
    pub job: JobId,
    pub to: u32,
}

/// Only for an ended job without tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct JobForgotten {
    pub job: JobId,
}

/// An instance has a new life.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskMade {
    pub task: TaskId,
    pub job: JobId,
    pub spec: SpecId,
    pub instance: u32,
    pub attempt: u32,
    pub failures: u32,
    pub restarts: u32,
    /// Zero unless cron.
    pub run_at: Timestamp,
    /// None: pending at once; otherwise throttled until then.
    pub ready_at: Option<Timestamp>,
    pub reason: Reason,
}

/// PENDING -> ASSIGNED.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskAssigned {
    pub task: TaskId,
    pub agent: AgentNo,
    pub ports: Box<[u16]>,
    pub devices: Box<[u16]>,
}

/// Any other move of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskMoved {
    pub task: TaskId,
    pub to: TaskState,
    pub reason: Reason,
    pub message: Text,
    /// Only with an end that a process decided.
    pub exit: Option<Exit>,
    /// Only with an end that came while no leader heard of the agent: when that was. None: now.
    pub ended: Option<Timestamp>,
}

/// An ended task ended at another time than was noted: the clock did not show yet how long nobody had led.
#[derive(Clone, Debug, PartialEq)]
pub struct EndDated {
    pub task: TaskId,
    pub at: Timestamp,
}

/// Only for a terminal task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskForgotten {
    pub task: TaskId,
}

/// Registered for the first time, or with another offer, hostname, version, isolation or boot.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSeen {
    pub agent: AgentNo,
    pub id: AgentId,
    pub hostname: String,
    pub version: String,
    pub isolation: String,
    pub boot_id: String,
    pub total: Resources,
    pub attributes: Attributes,
    pub ports: PortRanges,
    pub max_tasks: u32,
    pub taken_ports: TakenPorts,
    pub offer_epoch: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AgentMoved {
    pub agent: AgentNo,
    pub to: NodeState,
}

/// Only for a DOWN agent without placed tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentForgotten {
    pub agent: AgentNo,
}

/// A launch record: decided before the run's tasks are made, in the same batch. Another one for the same instant
/// replaces it (QUEUED, then LAUNCHED).
#[derive(Clone, Debug, PartialEq)]
pub struct Ticked {
    pub job: JobId,
    pub scheduled: Timestamp,
    pub outcome: TickOutcome,
}

/// Room that preemption frees on the agent is kept for the pending task until then.
#[derive(Clone, Debug, PartialEq)]
pub struct Nominated {
    pub task: TaskId,
    pub agent: AgentNo,
    pub until: Timestamp,
}

/// None: no longer avoided.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentAvoided {
    pub agent: AgentNo,
    pub until: Option<Timestamp>,
    pub why: String,
    pub times: u32,
}

/// The role's quota from now on. One that bounds nothing, of weight 1, is none.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaSet {
    pub role: String,
    pub quota: Quota,
    pub author: String,
}
