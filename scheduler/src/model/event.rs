//! Events: everything that can happen to the scheduler.

use dawn_proto::v1::Reason;
use dawn_proto::{AgentId, Epoch, HeldDigest, JobKey, Resources, TaskId, TaskState, Timestamp};

use super::{
    Attributes, Bounds, Description, Exit, FlowCommand, ForgiveCommand, JobSpec, LinkId, PortRanges, ReplyTo,
    TakenPorts,
};
use super::{LossCommand, UpdateCommand, UpkeepCommand};

/// The two clocks a decision may look at. `wall` is Dawn's own clock (`decide::clock`): it shows what the wall clock
/// shows, but does not jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    /// Never goes back; from an arbitrary start. Leases are measured on it.
    pub mono_ms: u64,
}

#[derive(Clone, Debug)]
pub enum Event {
    /// Leadership begins: state is replayed, nothing decided yet under this epoch.
    Elected {
        epoch: Epoch,
        fresh_cluster_id: String,
    },
    /// Time has passed. Comes at least every 250 ms while leading.
    Tick,
    Command {
        reply: ReplyTo,
        command: Command,
    },
    /// An agent's link was opened and said who it is.
    Registered {
        link: LinkId,
        registration: Box<Registration>,
    },
    /// Every task a registered agent holds: it was asked, because its digest differs.
    TasksTold {
        link: LinkId,
        tasks: Vec<Report>,
    },
    Heartbeat {
        link: LinkId,
        sequence: u64,
        /// What the agent's wall clock shows; zero when it does not tell.
        wall: Timestamp,
        /// The number of its welcome that the agent has on its disk.
        welcome: u64,
    },
    Offered {
        link: LinkId,
        offer: Offer,
    },
    Reported {
        link: LinkId,
        report: Report,
    },
    LinkClosed {
        link: LinkId,
    },
    /// The agent says what a task is that it was asked about.
    Described {
        link: LinkId,
        description: Box<Description>,
    },
    /// What the journal's home says of this scheduler's own leader key.
    OwnKeySeen {
        is_there: bool,
    },
    /// A coordinator was asked whether a task may be stopped.
    Coordinated {
        task: TaskId,
        answer: Result<bool, String>,
    },
}

impl Event {
    /// Where tasks stand, as an agent says in it.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        let (one, all) = match self {
            Event::Registered { registration, .. } => (None, &registration.tasks[..]),
            Event::TasksTold { tasks, .. } => (None, &tasks[..]),
            Event::Reported { report, .. } => (Some(report), &[][..]),
            _ => (None, &[][..]),
        };
        one.into_iter().chain(all)
    }
}

/// What a client asks for. Reads are not among them: they are answered from a follower's state.
#[derive(Clone, Debug)]
pub enum Command {
    Submit {
        spec: Box<JobSpec>,
        author: String,
        message: String,
    },
    /// All of them, or none.
    SubmitAll {
        specs: Vec<JobSpec>,
        author: String,
        message: String,
    },
    /// `instances` empty: the whole job; otherwise inclusive ranges.
    Kill {
        key: JobKey,
        instances: Vec<(u32, u32)>,
        author: String,
        message: String,
    },
    StartCron {
        key: JobKey,
        author: String,
    },
    DescheduleCron {
        key: JobKey,
        author: String,
    },
    Update(UpdateCommand),
    Upkeep(UpkeepCommand),
    Forgive(ForgiveCommand),
    /// The journal went back in time: go on above every epoch that agents show.
    RaiseEpoch,
    /// What is None stays as it is.
    SetQuota {
        role: String,
        guarantee: Option<Bounds>,
        limit: Option<Bounds>,
        weight: Option<u32>,
        author: String,
    },
    Flow(FlowCommand),
    Loss(LossCommand),
}

/// What may be taken on an agent, taken or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub epoch: u64,
    pub total: Resources,
    pub attributes: Attributes,
    pub ports: PortRanges,
    /// Most tasks at once.
    pub max_tasks: u32,
    pub taken_ports: TakenPorts,
}

#[derive(Clone, Debug)]
pub struct Registration {
    pub id: AgentId,
    pub hostname: String,
    pub version: String,
    /// Empty at its first registration.
    pub cluster_id: String,
    pub isolation: String,
    pub boot_id: String,
    pub offer: Offer,
    pub epoch_seen: Epoch,
    /// The number of its last welcome; 0: none.
    pub welcome: u64,
    /// A number by chance, to be given to it.
    pub fresh_number: u64,
    /// Every task it holds; none are named when `held` is given.
    pub tasks: Vec<Report>,
    /// The same in short.
    pub held: Option<HeldDigest>,
}

/// A task's state as its agent says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub task: TaskId,
    /// Grows by task; to be acknowledged.
    pub sequence: u64,
    pub state: TaskState,
    pub at: Timestamp,
    pub reason: Reason,
    pub message: String,
    pub exit: Option<Exit>,
}
