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
    Waiting(Waiting),
    /// It holds resources of an agent.
    Placed(PlacedState, Place),
    /// The place of an ended task is where its logs are; None when it never was placed.
    Ended(End, Option<Place>),
}

/// How a task waits for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Throttled { ready_at: Timestamp },
    Pending { nominated: Option<(AgentNo, Timestamp)> },
}

/// The states of a task that has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacedState {
    Assigned,
    Starting,
    Running,
    Preempting,
    Restarting,
    Draining,
    Killing,
    Partitioned,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Finished,
    Failed,
    Killed,
    Lost,
}

// A cluster holds a million of them, twice.
const _: () = assert!(size_of::<Status>() <= 48);

impl Status {
    /// It waits for a place, and no room is kept for it.
    pub const PENDING: Status = Status::Waiting(Waiting::Pending { nominated: None });

    pub fn state(&self) -> TaskState {
        match self {
            Status::Waiting(Waiting::Throttled { .. }) => TaskState::Throttled,
            Status::Waiting(Waiting::Pending { .. }) => TaskState::Pending,
            Status::Placed(state, _) => state.state(),
            Status::Ended(end, _) => end.state(),
        }
    }

    /// Where the task is, or for an ended one was.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Status::Waiting(_) => None,
            Status::Placed(_, place) => Some(place),
            Status::Ended(_, place) => place.as_ref(),
        }
    }

    /// The status that a task in this one has in `to`, keeping its place. None when `to` needs a place and there is none,
    /// or needs data that only its own mutation carries (ASSIGNED, THROTTLED).
    pub fn moved(self, to: TaskState) -> Option<Status> {
        let place = match self {
            Status::Waiting(_) => None,
            Status::Placed(_, place) => Some(place),
            Status::Ended(_, place) => place,
        };
        match to {
            TaskState::Unspecified | TaskState::Assigned | TaskState::Throttled => None,
            TaskState::Pending => Some(Status::PENDING),
            to => Status::with_place(to, place),
        }
    }

    /// The status of a task that is or was placed. None when `state` is none of such a task, or needs a place and there is
    /// none.
    pub fn with_place(state: TaskState, place: Option<Place>) -> Option<Status> {
        match End::of(state) {
            Some(end) => Some(Status::Ended(end, place)),
            None => Some(Status::Placed(PlacedState::of(state)?, place?)),
        }
    }
}

impl PlacedState {
    pub fn state(self) -> TaskState {
        match self {
            PlacedState::Assigned => TaskState::Assigned,
            PlacedState::Starting => TaskState::Starting,
            PlacedState::Running => TaskState::Running,
            PlacedState::Preempting => TaskState::Preempting,
            PlacedState::Restarting => TaskState::Restarting,
            PlacedState::Draining => TaskState::Draining,
            PlacedState::Killing => TaskState::Killing,
            PlacedState::Partitioned => TaskState::Partitioned,
        }
    }

    fn of(state: TaskState) -> Option<PlacedState> {
        Some(match state {
            TaskState::Unspecified | TaskState::Throttled | TaskState::Pending => return None,
            TaskState::Finished | TaskState::Failed | TaskState::Killed | TaskState::Lost => return None,
            TaskState::Assigned => PlacedState::Assigned,
            TaskState::Starting => PlacedState::Starting,
            TaskState::Running => PlacedState::Running,
            TaskState::Preempting => PlacedState::Preempting,
            TaskState::Restarting => PlacedState::Restarting,
            TaskState::Draining => PlacedState::Draining,
            TaskState::Killing => PlacedState::Killing,
            TaskState::Partitioned => PlacedState::Partitioned,
        })
    }
}

impl End {
    pub fn state(self) -> TaskState {
        match self {
            End::Finished => TaskState::Finished,
            End::Failed => TaskState::Failed,
            End::Killed => TaskState::Killed,
            End::Lost => TaskState::Lost,
        }
    }

    fn of(state: TaskState) -> Option<End> {
        match state {
            TaskState::Finished => Some(End::Finished),
            TaskState::Failed => Some(End::Failed),
            TaskState::Killed => Some(End::Killed),
            TaskState::Lost => Some(End::Lost),
            _ => None,
        }
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
