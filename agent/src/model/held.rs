//! One task the agent holds: living, or ended and not yet forgotten.

use std::collections::VecDeque;

use dawn_proto::v1::Reason;
use dawn_proto::{Resources, TaskId, TaskState, Timestamp};

use super::{Artifact, Identity, LaunchRecord, Limits, Living, Port, Report};

/// Unacknowledged reports kept of one task; the oldest that is not final makes room.
const MAX_UNACKED: usize = 8;

/// How far a task has come on this agent. The legal moves are the table of `decide::phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// User and ports are looked at; nothing is on disk.
    Vetting,
    /// The plan is being written.
    Checkpointing,
    /// Sandbox and cgroup are being made.
    Preparing,
    /// Its artifacts are being fetched.
    Fetching,
    /// The executor is being started.
    Spawning,
    /// An executor has it.
    Live,
    /// The agent's own verdict is being written.
    Deciding,
    /// Ended for good.
    Over,
}

impl Phase {
    pub const ALL: [Phase; 8] = [
        Phase::Vetting,
        Phase::Checkpointing,
        Phase::Preparing,
        Phase::Fetching,
        Phase::Spawning,
        Phase::Live,
        Phase::Deciding,
        Phase::Over,
    ];
}

/// A process by pid and start time, so that a reused pid is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    pub pid: i32,
    /// Field 22 of `/proc/pid/stat`.
    pub start_ticks: u64,
}

/// How far a kill has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillProgress {
    pub reason: Reason,
    pub grace_period_ms: Option<u64>,
    /// The executor's log says that it has begun.
    pub begun: bool,
    /// Monotonic; told again to the executor then.
    pub tell_at_ms: u64,
    /// Monotonic; from then on the agent kills by itself.
    pub force_at_ms: u64,
    /// The cgroup was killed by the agent, at this monotonic time.
    pub forced_at_ms: Option<u64>,
}

/// The part of a task's plan that the agent goes on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPlan {
    /// "role/env/name"; empty where nobody knows.
    pub job: String,
    pub demand: Resources,
    pub ports: Vec<Port>,
    pub limits: Limits,
    pub identity: Identity,
    pub grace_period_ms: u64,
    /// The rest of the kill ladder: lifecycle endpoints and final processes.
    pub ladder_ms: u64,
    /// Lives only while the agent's lease is held.
    pub at_most_one: bool,
    /// Fetched before the executor starts.
    pub artifacts: Vec<Artifact>,
}

impl TaskPlan {
    /// What the agent goes on with of a launch; its user is not looked at yet.
    pub fn of(record: &LaunchRecord, default_pids: u32) -> TaskPlan {
        TaskPlan {
            job: record.spec.job.to_string(),
            demand: record.spec.demand.clone(),
            ports: record.launch.ports.clone(),
            limits: record.limits(default_pids),
            identity: record.identity.clone(),
            grace_period_ms: record.spec.grace_period_ms,
            ladder_ms: record.spec.ladder_ms,
            at_most_one: record.spec.at_most_one,
            artifacts: record.spec.artifacts.clone(),
        }
    }
}

/// Where a task stands on this agent, with what only that phase has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// With what is to be written once user and ports are found good.
    Vetting(Box<LaunchRecord>),
    Checkpointing,
    Preparing,
    Fetching,
    Spawning,
    Live,
    /// With the agent's own verdict.
    Deciding(Box<Report>),
    Over(Ending),
}

impl Stage {
    pub fn phase(&self) -> Phase {
        match self {
            Stage::Vetting(_) => Phase::Vetting,
            Stage::Checkpointing => Phase::Checkpointing,
            Stage::Preparing => Phase::Preparing,
            Stage::Fetching => Phase::Fetching,
            Stage::Spawning => Phase::Spawning,
            Stage::Live => Phase::Live,
            Stage::Deciding(_) => Phase::Deciding,
            Stage::Over(_) => Phase::Over,
        }
    }
}

/// What an ended task still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// On the boot clock, so that no wall clock that is set makes it older; below zero: before the machine's start.
    pub ended_ms: i64,
    pub remains: Remains,
    /// A durable verdict that is told once nothing of the task is left.
    pub withheld: Option<Box<Report>>,
}

/// What an ended task has left on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// It never had a directory.
    Nothing,
    /// A directory of which nobody knows the size, and perhaps processes and a cgroup.
    Unmeasured,
    /// A directory of this size, and nothing else.
    Directory { bytes: u64 },
}

/// A task of this agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTask {
    pub id: TaskId,
    pub plan: TaskPlan,
    pub stage: Stage,
    /// Sequence of the last executor event taken in.
    pub heard: u64,
    /// What it stands at.
    pub last: Report,
    /// Reports not acknowledged, oldest first.
    pub unacked: VecDeque<Report>,
    /// Monotonic; unacknowledged reports are sent again then.
    pub resend_at_ms: u64,
    /// Under way while it lives.
    pub kill: Option<KillProgress>,
    /// Living processes by name, from the executor's events.
    pub processes: Living,
    /// The terminal report is acknowledged.
    pub released: bool,
}

impl HeldTask {
    /// A task of which nothing was told yet.
    pub fn new(id: TaskId, plan: TaskPlan, stage: Stage, at: Timestamp) -> HeldTask {
        HeldTask {
            id,
            plan,
            stage,
            heard: 0,
            last: Report::new(id, 0, TaskState::Assigned, at, Reason::None, ""),
            unacked: VecDeque::new(),
            resend_at_ms: 0,
            kill: None,
            processes: Living::default(),
            released: false,
        }
    }

    pub fn phase(&self) -> Phase {
        self.stage.phase()
    }

    /// What is left of it; None: it lives.
    pub fn ending(&self) -> Option<&Ending> {
        if let Stage::Over(ending) = &self.stage { Some(ending) } else { None }
    }

    /// Whether it has a directory that a restart would find.
    pub fn is_on_disk(&self) -> bool {
        match &self.stage {
            Stage::Vetting(_) | Stage::Checkpointing => false,
            Stage::Preparing | Stage::Fetching | Stage::Spawning | Stage::Live | Stage::Deciding(_) => true,
            Stage::Over(ending) => ending.remains != Remains::Nothing,
        }
    }

    /// Whether nothing of it is left but perhaps a directory.
    pub fn is_cleaned(&self) -> bool {
        self.ending().is_some_and(|ending| ending.remains != Remains::Unmeasured)
    }

    /// The size of its directory; 0 until it has ended and is measured.
    pub fn bytes(&self) -> u64 {
        match self.ending().map(|ending| ending.remains) {
            Some(Remains::Directory { bytes }) => bytes,
            _ => 0,
        }
    }

    pub fn is_living(&self) -> bool {
        self.phase() != Phase::Over
    }

    /// Sequence of the agent's own verdict on it: above everything the executor said.
    pub fn verdict_sequence(&self) -> u64 {
        (self.sequence_base() + self.heard).max(self.last.sequence).saturating_add(1)
    }

    /// Takes in a report of its newest state, to be sent until acknowledged.
    pub(super) fn push_report(&mut self, report: Report) {
        // Of how far it is only the newest counts.
        if report.state == TaskState::Starting && self.last.state == TaskState::Starting {
            self.unacked.retain(|waiting| waiting.state != TaskState::Starting);
        }
        if self.unacked.len() >= MAX_UNACKED {
            self.unacked.pop_front();
        }
        self.last = report.clone();
        self.last.forget_words();
        self.unacked.push_back(report);
    }

    /// Whether its end is known where its reports up to and with `sequence` are.
    pub fn is_final_at(&self, sequence: u64) -> bool {
        self.last.state.is_terminal() && self.last.sequence <= sequence
    }

    /// The reports up to and with `sequence` are durable.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        while self.unacked.front().is_some_and(|report| report.sequence <= sequence) {
            self.unacked.pop_front();
        }
        if self.unacked.is_empty() {
            // Most of its life a task has none.
            self.unacked = VecDeque::new();
        }
    }

    /// What stands before the executor's own sequences in those of the task's reports.
    pub fn sequence_base(&self) -> u64 {
        super::last_sequence(self.plan.artifacts.len())
    }

    pub fn state(&self) -> TaskState {
        self.last.state
    }
}
