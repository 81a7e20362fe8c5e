//! One task the agent holds: living, or ended and not yet forgotten.

use std::collections::VecDeque;

use dawn_proto::v1::Reason;
use dawn_proto::{Resources, TaskId, TaskState};

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

/// A task of this agent.
#[derive(Clone, Debug)]
pub struct HeldTask {
    pub id: TaskId,
    /// "role/env/name"; empty where nobody knows.
    pub job: String,
    pub phase: Phase,
    pub demand: Resources,
    pub ports: Vec<Port>,
    pub limits: Limits,
    pub identity: Identity,
    pub grace_period_ms: u64,
    pub ladder_ms: u64,
    /// Lives only while the agent's lease is held.
    pub at_most_one: bool,
    /// Fetched before the executor starts.
    pub artifacts: Vec<Artifact>,
    /// Kept until the plan is written.
    pub record: Option<Box<LaunchRecord>>,
    /// Whether it has a directory.
    pub on_disk: bool,
    /// Sequence of the last executor event taken in.
    pub heard: u64,
    /// What it stands at.
    pub last: Report,
    /// The agent's own verdict while it is being made durable.
    pub verdict: Option<Report>,
    /// Durable, and told once nothing of the task is left.
    pub withheld: Option<Report>,
    /// Reports not acknowledged, oldest first.
    pub unacked: VecDeque<Report>,
    /// Monotonic; unacknowledged reports are sent again then.
    pub resend_at_ms: u64,
    pub kill: Option<KillProgress>,
    /// Living processes by name, from the executor's events.
    pub processes: Living,
    /// The terminal report is acknowledged.
    pub released: bool,
    /// On the boot clock, so that no wall clock that is set makes it older; below zero: before the machine's start.
    pub ended_ms: Option<i64>,
    /// Cgroup gone and size known.
    pub cleaned: bool,
    /// Size of its directory; 0 until it is cleaned.
    pub bytes: u64,
}

impl HeldTask {
    pub fn is_living(&self) -> bool {
        self.phase != Phase::Over
    }

    /// Sequence of the agent's own verdict on it: above everything the executor said.
    pub fn verdict_sequence(&self) -> u64 {
        (self.sequence_base() + self.heard).max(self.last.sequence).saturating_add(1)
    }

    /// Takes in a report of its newest state, to be sent until acknowledged.
    pub fn push_report(&mut self, report: Report) {
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

    /// The reports up to and with `sequence` are durable. True when that was the final one.
    pub fn acknowledge(&mut self, sequence: u64) -> bool {
        while self.unacked.front().is_some_and(|report| report.sequence <= sequence) {
            self.unacked.pop_front();
        }
        if self.unacked.is_empty() {
            // Most of its life a task has none.
            self.unacked = VecDeque::new();
        }
        self.last.state.is_terminal() && self.last.sequence <= sequence
    }

    /// What stands before the executor's own sequences in those of the task's reports.
    pub fn sequence_base(&self) -> u64 {
        super::last_sequence(self.artifacts.len())
    }

    pub fn state(&self) -> TaskState {
        self.last.state
    }
}
