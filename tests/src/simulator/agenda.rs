//! What will happen and when, in virtual time; things of the same moment happen in the order they were planned.

use std::collections::BTreeMap;

use dawn_agent::model::MachineEvent;
use dawn_executor::model::Input;
use dawn_proto::TaskId;
use dawn_proto::v1;

use super::faults::Fault;
use super::load::Ask;

/// `life` says for which life of a process it was planned: a later one knows nothing of it.
#[derive(Debug)]
pub(super) enum Happening {
    LeaderStep {
        life: u64,
    },
    LeaderTick {
        life: u64,
    },
    /// The oldest batch in flight is on disk.
    Durable {
        life: u64,
    },
    StartLeader,
    StartAgent {
        machine: usize,
    },
    AgentTick {
        machine: usize,
        life: u64,
    },
    Machine {
        machine: usize,
        life: u64,
        event: Box<MachineEvent>,
    },
    Connect {
        machine: usize,
        life: u64,
    },
    ToAgent {
        link: u64,
        message: Box<v1::SchedulerMessage>,
    },
    ToLeader {
        link: u64,
        message: Box<v1::AgentMessage>,
    },
    LinkLost {
        link: u64,
        at_leader: bool,
    },
    Executor {
        machine: usize,
        task: TaskId,
        input: Box<Input>,
    },
    ExecutorStart {
        machine: usize,
        task: TaskId,
    },
    /// The agent reads on in the task's event log.
    Hear {
        machine: usize,
        task: TaskId,
        life: u64,
    },
    Ask {
        ask: Ask,
    },
    Fault {
        fault: Fault,
    },
}

#[derive(Default)]
pub(super) struct Agenda {
    planned: BTreeMap<(u64, u64), Happening>,
    count: u64,
}

impl Agenda {
    pub fn add(&mut self, at_ms: u64, happening: Happening) {
        self.count += 1;
        self.planned.insert((at_ms, self.count), happening);
    }

    pub fn next(&mut self) -> Option<(u64, Happening)> {
        self.planned.pop_first().map(|((at_ms, _), happening)| (at_ms, happening))
    }
}
