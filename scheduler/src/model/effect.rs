//! Effects: what the scheduler asks of the world. Each can be derived again from state; they are held until durable.

use std::fmt;

use dawn_proto::v1::Reason;
use dawn_proto::{AgentId, Epoch, TaskId};

use super::{AgentNo, Ahead, Alarm, Answer, Contest, Refusal};

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
        /// To be on the agent's disk before it says anything else.
        number: u64,
        /// It renews the lease of tasks that must not live twice.
        leased: bool,
        /// What ran there before may live on: under another boot, or on a machine that this one is a copy of.
        is_doubted: bool,
        /// So long after the agent was last heard, what must not live twice may still live there; None: there is nothing.
        wait_ms: Option<u64>,
    },
    /// Ask the agent for every task it holds.
    TellTasks {
        link: LinkId,
    },
    HeartbeatAck {
        link: LinkId,
        sequence: u64,
    },
    /// The heartbeat was heard, and renews no lease: a copy of the machine was seen.
    HeartbeatHeard {
        link: LinkId,
        sequence: u64,
    },
    /// Say why and close the link. The agent runs on and dials again; `slowly`: with growing pauses of up to a minute.
    Refuse {
        link: LinkId,
        reason: String,
        slowly: bool,
    },
    /// An agent has obeyed a higher epoch, or holds tasks that this journal does not know yet: kept in `Live`.
    NoteAhead {
        agent: AgentId,
        ahead: Ahead,
    },
    /// Another boot of the agent's machine was refused because the one before is still heard: kept in `Live`.
    NoteContested {
        agent: AgentNo,
        contest: Contest,
    },
    /// Ask the journal's home whether this scheduler's own leader key is still there, with its own create revision. The
    /// answer comes as an event.
    LookAtOwnKey,
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
    /// Lead no more: another scheduler has been elected.
    StepDown {
        reason: String,
    },
    /// Tell operators what is wrong, in the words given; None: it is over.
    Alarm {
        alarm: Alarm,
        words: Option<String>,
    },
}
