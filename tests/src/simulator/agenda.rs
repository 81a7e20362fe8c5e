//! What will happen and when, in virtual time; things of the same moment happen in the order they were planned.

use std::collections::BTreeMap;

use dawn_agent::model::MachineEvent;
use dawn_executor::model::Input;
use dawn_proto::TaskId;
use dawn_proto::v1;

use super::election::EtcdAsk;
use super::faults::Fault;
use super::load::Ask;
use super::nodes::NodeEvent;

/// `life` says for which life of a process it was planned: a later one knows nothing of it.
#[derive(Debug)]
pub(super) enum Happening {
    Node {
        node: usize,
        life: u64,
        event: NodeEvent,
    },
    StartNode {
        node: usize,
    },
    /// A request arrives at etcd, whether its sender lives or not.
    Etcd {
        node: usize,
        life: u64,
        ask: EtcdAsk,
    },
    EtcdTick,
    /// An operator looks at the cluster.
    Operator,
    ToCopy {
        link: u64,
        message: Box<v1::SchedulerMessage>,
    },
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
    ToNode {
        link: u64,
        message: Box<v1::AgentMessage>,
    },
    LinkLost {
        link: u64,
        at_node: bool,
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
    /// A client that has no answer by now asks again.
    AskAgain {
        number: u64,
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
