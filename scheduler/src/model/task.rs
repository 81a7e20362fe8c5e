//! A task: one life of an instance.

use dawn_proto::v1::Reason;
use dawn_proto::{SpecId, TaskId, TaskState, Timestamp};

use super::{AgentNo, JobId, Text};

/// Where a placed task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub agent: AgentNo,
    /// In the order of the spec's ports.
    pub ports: Box<[u16]>,
    /// Numbers of the gpu devices it has, or has a share of.
    pub devices: Box<[u16]>,
}

impl Place {
    /// Its ports, of which the spec has so many, and its devices. Older journals have the devices behind the ports.
    pub fn numbers(&self, ports: usize) -> (&[u16], &[u16]) {
        match self.devices.is_empty() && self.ports.len() > ports {
            true => self.ports.split_at(ports),
            false => (&self.ports, &self.devices),
        }
    }
}

/// A task's state with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Throttled {
        ready_at: Timestamp,
    },
    Pending {
        nominated: Option<(AgentNo, Timestamp)>,
    },
    Assigned(Place),
    Starting(Place),
    Running(Place),
    Preempting(Place),
    Restarting(Place),
    Draining(Place),
    Killing(Place),
    Partitioned(Place),
    /// The place of a terminal task is where its logs are; None when it never was placed.
    Finished(Option<Place>),
    Failed(Option<Place>),
    Killed(Option<Place>),
    Lost(Option<Place>),
}

impl Status {
    pub fn state(&self) -> TaskState {
        match self {
            Status::Throttled { .. } => TaskState::Throttled,
            Status::Pending { .. } => TaskState::Pending,
            Status::Assigned(_) => TaskState::Assigned,
            Status::Starting(_) => TaskState::Starting,
            Status::Running(_) => TaskState::Running,
            Status::Preempting(_) => TaskState::Preempting,
            Status::Restarting(_) => TaskState::Restarting,
            Status::Draining(_) => TaskState::Draining,
            Status::Killing(_) => TaskState::Killing,
            Status::Partitioned(_) => TaskState::Partitioned,
            Status::Finished(_) => TaskState::Finished,
            Status::Failed(_) => TaskState::Failed,
            Status::Killed(_) => TaskState::Killed,
            Status::Lost(_) => TaskState::Lost,
        }
    }

    /// Where the task is, or for a terminal one was.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Status::Throttled { .. } | Status::Pending { .. } => None,
            Status::Assigned(place)
            | Status::Starting(place)
            | Status::Running(place)
            | Status::Preempting(place)
            | Status::Restarting(place)
            | Status::Draining(place)
            | Status::Killing(place)
            | Status::Partitioned(place) => Some(place),
            Status::Finished(place) | Status::Failed(place) | Status::Killed(place) | Status::Lost(place) => {
                place.as_ref()
            }
        }
    }

    /// The status that a task in this one has in `to`, keeping its place. None when `to` needs a place and there is none,
    /// or needs data that only its own mutation carries (ASSIGNED, THROTTLED).
    pub fn moved(self, to: TaskState) -> Option<Status> {
        let place = match self {
            Status::Throttled { .. } | Status::Pending { .. } => None,
            Status::Assigned(place)
            | Status::Starting(place)
            | Status::Running(place)
            | Status::Preempting(place)
            | Status::Restarting(place)
            | Status::Draining(place)
            | Status::Killing(place)
            | Status::Partitioned(place) => Some(place),
            Status::Finished(place) | Status::Failed(place) | Status::Killed(place) | Status::Lost(place) => place,
        };
        Some(match to {
            TaskState::Unspecified | TaskState::Assigned | TaskState::Throttled => return None,
            TaskState::Pending => Status::Pending { nominated: None },
            TaskState::Starting => Status::Starting(place?),
            TaskState::Running => Status::Running(place?),
            TaskState::Preempting => Status::Preempting(place?),
            TaskState::Restarting => Status::Restarting(place?),
            TaskState::Draining => Status::Draining(place?),
            TaskState::Killing => Status::Killing(place?),
            TaskState::Partitioned => Status::Partitioned(place?),
            TaskState::Finished => Status::Finished(place),
            TaskState::Failed => Status::Failed(place),
            TaskState::Killed => Status::Killed(place),
            TaskState::Lost => Status::Lost(place),
        })
    }
}

/// How the process ended that decided a task's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub to: TaskState,
    pub at: Timestamp,
    pub reason: Reason,
    pub message: Text,
    pub exit: Option<Exit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub job: JobId,
    pub spec: SpecId,
    pub instance: u32,
    /// 1 for the first life of the instance (of the run, for cron).
    pub attempt: u32,
    /// Failures of the instance in a row before this life.
    pub failures: u32,
    /// Lives of the instance before this one with the same task, since the job was last submitted or run again.
    pub restarts: u32,
    /// Cron: the tick it belongs to; otherwise zero.
    pub run_at: Timestamp,
    pub status: Status,
    /// Oldest first, at most [`Task::KEPT_TRANSITIONS`]: the oldest but the first is dropped.
    pub history: Vec<Transition>,
}

impl Task {
    pub const KEPT_TRANSITIONS: usize = 16;

    /// Room for what most tasks go through: made, assigned, starting, running.
    pub(super) fn history_from(first: Transition) -> Vec<Transition> {
        let mut history = Vec::with_capacity(4);
        history.push(first);
        history
    }

    pub fn state(&self) -> TaskState {
        self.status.state()
    }

    /// When it came into its state.
    pub fn since(&self) -> Timestamp {
        self.history.last().map_or(Timestamp(0), |transition| transition.at)
    }

    /// The agent whose resources it holds; None when it holds none.
    pub fn held_on(&self) -> Option<AgentNo> {
        if self.state().is_placed() { self.status.place().map(|place| place.agent) } else { None }
    }
}
