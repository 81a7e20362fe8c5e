//! Mutations: the only way state changes, and what the journal holds.

use std::sync::Arc;

use dawn_proto::v1::{NodeState, Reason, TickOutcome};
use dawn_proto::{AgentId, Epoch, JobKey, Resources, SpecId, TaskId, TaskState, Timestamp};

use super::{
    AgentNo, Attributes, BlameMutation, Exit, FlowMutation, JobId, Part, PortRanges, Quota, RestoreMutation, Spec, Text,
};
use super::{LossMutation, Shift, UpdateMutation, UpkeepMutation, WelcomeMutation};

/// What one step decided, or a part of it: applied and appended together or not at all.
#[derive(Clone, Debug)]
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

#[derive(Clone, Debug)]
pub enum Mutation {
    /// First record of a journal.
    ClusterMade {
        cluster_id: String,
    },
    /// First record of a leader.
    EpochBegun {
        epoch: Epoch,
    },
    JobMade {
        job: JobId,
        key: JobKey,
    },
    /// A new current version; an ended job is active again.
    JobVersioned {
        job: JobId,
        spec: Arc<Spec>,
        author: String,
        message: String,
    },
    JobEnded {
        job: JobId,
        author: String,
        message: String,
        /// It was to follow a failure, and there was none.
        not_needed: bool,
    },
    /// Inclusive ranges. Nothing is made for these instances until the next version.
    InstancesStopped {
        job: JobId,
        instances: Vec<(u32, u32)>,
    },
    /// Instances below `to` are as the version (or the job's end) wants them; [`super::Job::SETTLED`]: all.
    JobSettled {
        job: JobId,
        to: u32,
    },
    /// Only for an ended job without tasks.
    JobForgotten {
        job: JobId,
    },
    TaskMade {
        task: TaskId,
        job: JobId,
        spec: SpecId,
        instance: u32,
        attempt: u32,
        failures: u32,
        restarts: u32,
        /// Zero unless cron.
        run_at: Timestamp,
        /// None: pending at once; otherwise throttled until then.
        ready_at: Option<Timestamp>,
        reason: Reason,
    },
    /// PENDING -> ASSIGNED.
    TaskAssigned {
        task: TaskId,
        agent: AgentNo,
        ports: Box<[u16]>,
        devices: Box<[u16]>,
    },
    /// Any other move of the table.
    TaskMoved {
        task: TaskId,
        to: TaskState,
        reason: Reason,
        message: Text,
        /// Only with an end that a process decided.
        exit: Option<Exit>,
    },
    /// Only for a terminal task.
    TaskForgotten {
        task: TaskId,
    },
    /// Registered for the first time, or with another offer, hostname, version, isolation or boot.
    AgentSeen {
        agent: AgentNo,
        id: AgentId,
        hostname: String,
        version: String,
        isolation: String,
        boot_id: String,
        total: Resources,
        attributes: Attributes,
        ports: PortRanges,
        max_tasks: u32,
        offer_epoch: u64,
    },
    AgentMoved {
        agent: AgentNo,
        to: NodeState,
    },
    /// Only for a DOWN agent without placed tasks.
    AgentForgotten {
        agent: AgentNo,
    },
    /// A launch record: decided before the run's tasks are made, in the same batch. Another one for the same instant
    /// replaces it (QUEUED, then LAUNCHED).
    Ticked {
        job: JobId,
        scheduled: Timestamp,
        outcome: TickOutcome,
    },
    /// Room that preemption frees on the agent is kept for the pending task until then.
    Nominated {
        task: TaskId,
        agent: AgentNo,
        until: Timestamp,
    },
    /// None: no longer avoided.
    AgentAvoided {
        agent: AgentNo,
        until: Option<Timestamp>,
        why: String,
        times: u32,
    },
    Update(UpdateMutation),
    Upkeep(UpkeepMutation),
    Blame(BlameMutation),
    /// The role's quota from now on. One that bounds nothing, of weight 1, is none.
    QuotaSet {
        role: String,
        quota: Quota,
        author: String,
    },
    Flow(FlowMutation),
    Loss(LossMutation),
    /// The journal was restored from a backup.
    Restore(RestoreMutation),
    /// Always the first of its batch, whose time is that of the clock as it goes on.
    ClockShifted(Shift),
    Welcome(WelcomeMutation),
}
