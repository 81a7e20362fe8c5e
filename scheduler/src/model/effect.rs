//! Effects: what the scheduler asks of the world. Each can be derived again from state; they are held until durable.

use std::fmt;

use dawn_proto::v1::Reason;
use dawn_proto::{Epoch, TaskId};

use super::{AgentNo, Alarm, Answer, Refusal};

/// Names a waiting caller; made by the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// One connection of an agent; made by the edge, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start a placed task; spec, ports and instance are read from state by the edge.
    Launch {
        agent: AgentNo,
        task: TaskId,
    },
    /// None: the spec's own grace period.
    Kill {
        agent: AgentNo,
        task: TaskId,
        reason: Reason,
        grace_period_ms: Option<u64>,
    },
    /// The task's reports up to this sequence are durable.
    Ack {
        link: LinkId,
        task: TaskId,
        sequence: u64,
    },
    Reconcile {
        agent: AgentNo,
        tasks: Vec<TaskId>,
    },
    /// Say what these tasks are, and which of the lost ones (`finished`: first, end) have finished.
    Describe {
        agent: AgentNo,
        tasks: Vec<TaskId>,
        finished: Vec<(TaskId, TaskId)>,
    },
    /// The link is now the agent's; an older one of the same agent is closed by the edge.
    Welcome {
        link: LinkId,
        agent: AgentNo,
        epoch: Epoch,
    },
    /// Ask the agent for every task it holds.
    TellTasks {
        link: LinkId,
    },
    HeartbeatAck {
        link: LinkId,
        sequence: u64,
    },
    /// Say why and close the link.
    Refuse {
        link: LinkId,
        reason: String,
        is_final: bool,
    },
    /// Ask over HTTP whether the task may be stopped; the answer comes as an event.
    AskCoordinator {
        task: TaskId,
        url: String,
        status_key: String,
    },
    Reply {
        to: ReplyTo,
        answer: Result<Answer, Refusal>,
    },
    /// Lead no more: somebody has obeyed a higher epoch.
    StepDown {
        reason: String,
    },
    /// Tell operators what is wrong, in the words given; None: it is over.
    Alarm {
        alarm: Alarm,
        words: Option<String>,
    },
}
