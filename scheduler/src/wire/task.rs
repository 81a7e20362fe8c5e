//! Tasks: what the journal says of them, and as they are in snapshots.

use dawn_proto::v1::{self, Reason};
use dawn_proto::{SpecId, TaskId, TaskState, Timestamp};

use super::exit::{exit_from_wire, exit_to_wire};
use super::parse::{WireError, device_numbers, name, port_numbers};
use super::record::Recorded;
use super::view::transition_to_wire;
use crate::model::{
    AgentNo, EndDated, JobId, Nominated, Place, Status, Task, TaskAssigned, TaskForgotten, TaskMade, TaskMoved,
    Transition, Waiting,
};

impl Recorded for TaskMade {
    type Wire = v1::TaskMade;

    fn to_wire(&self) -> v1::TaskMade {
        v1::TaskMade {
            task_id: self.task.0,
            job_id: self.job.0,
            spec_id: self.spec.0,
            instance: self.instance,
            attempt: self.attempt,
            failures: self.failures,
            restarts: self.restarts,
            run_at_ms: self.run_at.0,
            ready_at_ms: self.ready_at.map_or(0, |ready_at| ready_at.0),
            reason: self.reason.into(),
        }
    }

    fn from_wire(made: v1::TaskMade) -> Result<Self, WireError> {
        Ok(TaskMade {
            task: TaskId(made.task_id),
            job: JobId(made.job_id),
            spec: SpecId(made.spec_id),
            instance: made.instance,
            attempt: made.attempt,
            failures: made.failures,
            restarts: made.restarts,
            run_at: Timestamp(made.run_at_ms),
            ready_at: (made.ready_at_ms != 0).then_some(Timestamp(made.ready_at_ms)),
            reason: name::<Reason>("reason", made.reason)?,
        })
    }
}

/// An assignment is a move, with a place.
impl Recorded for TaskAssigned {
    type Wire = v1::TaskMoved;

    fn to_wire(&self) -> v1::TaskMoved {
        v1::TaskMoved {
            task_id: self.task.0,
            to: TaskState::Assigned.into(),
            agent_no: self.agent.0,
            ports: self.ports.iter().map(|port| u32::from(*port)).collect(),
            devices: self.devices.iter().map(|device| u32::from(*device)).collect(),
            ..Default::default()
        }
    }

    fn from_wire(moved: v1::TaskMoved) -> Result<Self, WireError> {
        let (ports, devices) = (port_numbers(&moved.ports)?, device_numbers(&moved.devices)?);
        Ok(TaskAssigned { task: TaskId(moved.task_id), agent: AgentNo(moved.agent_no), ports, devices })
    }
}

impl Recorded for TaskMoved {
    type Wire = v1::TaskMoved;

    fn to_wire(&self) -> v1::TaskMoved {
        let (exit_code, signal) = exit_to_wire(self.exit);
        v1::TaskMoved {
            task_id: self.task.0,
            to: self.to.into(),
            reason: self.reason.into(),
            message: self.message.to_string(),
            exit_code,
            signal,
            ended_ms: self.ended.map_or(0, |ended| ended.0),
            ..Default::default()
        }
    }

    fn from_wire(moved: v1::TaskMoved) -> Result<Self, WireError> {
        Ok(TaskMoved {
            task: TaskId(moved.task_id),
            to: name::<TaskState>("to", moved.to)?,
            reason: name::<Reason>("reason", moved.reason)?,
            message: moved.message.into(),
            exit: exit_from_wire(moved.exit_code, moved.signal),
            ended: (moved.ended_ms != 0).then_some(Timestamp(moved.ended_ms)),
        })
    }
}

impl Recorded for EndDated {
    type Wire = v1::EndDated;

    fn to_wire(&self) -> v1::EndDated {
        v1::EndDated { task_id: self.task.0, at_ms: self.at.0 }
    }

    fn from_wire(dated: v1::EndDated) -> Result<Self, WireError> {
        Ok(EndDated { task: TaskId(dated.task_id), at: Timestamp(dated.at_ms) })
    }
}

impl Recorded for TaskForgotten {
    type Wire = v1::TaskForgotten;

    fn to_wire(&self) -> v1::TaskForgotten {
        v1::TaskForgotten { task_id: self.task.0 }
    }

    fn from_wire(forgotten: v1::TaskForgotten) -> Result<Self, WireError> {
        Ok(TaskForgotten { task: TaskId(forgotten.task_id) })
    }
}

impl Recorded for Nominated {
    type Wire = v1::Nominated;

    fn to_wire(&self) -> v1::Nominated {
        v1::Nominated { task_id: self.task.0, agent_no: self.agent.0, until_ms: self.until.0 }
    }

    fn from_wire(nominated: v1::Nominated) -> Result<Self, WireError> {
        Ok(Nominated {
            task: TaskId(nominated.task_id),
            agent: AgentNo(nominated.agent_no),
            until: Timestamp(nominated.until_ms),
        })
    }
}

pub(super) fn task_to_wire(task: &Task) -> v1::TaskSnapshot {
    let place = task.status.place();
    let (ready_at, nominated) = match &task.status {
        Status::Waiting(Waiting::Throttled { ready_at }) => (ready_at.0, None),
        Status::Waiting(Waiting::Pending { nominated }) => (0, *nominated),
        _ => (0, None),
    };
    v1::TaskSnapshot {
        task_id: task.id.0,
        job_id: task.job.0,
        spec_id: task.spec.0,
        instance: task.instance,
        attempt: task.attempt,
        failures: task.failures,
        restarts: task.restarts,
        run_at_ms: task.run_at.0,
        ready_at_ms: ready_at,
        state: task.state().into(),
        placed: place.is_some(),
        agent_no: place.map_or(0, |place| place.agent.0),
        ports: place.into_iter().flat_map(|place| &place.ports).map(|port| u32::from(*port)).collect(),
        devices: place.into_iter().flat_map(|place| &place.devices).map(|device| u32::from(*device)).collect(),
        history: task.history.iter().map(transition_to_wire).collect(),
        nominated: nominated.is_some(),
        nominated_agent_no: nominated.map_or(0, |(agent, _)| agent.0),
        nominated_until_ms: nominated.map_or(0, |(_, until)| until.0),
    }
}

pub(super) fn task_from_wire(wire: v1::TaskSnapshot) -> Result<Task, WireError> {
    let (ports, devices) = (port_numbers(&wire.ports)?, device_numbers(&wire.devices)?);
    let place = Place { agent: AgentNo(wire.agent_no), ports, devices };
    let place = wire.placed.then_some(place);
    let nominated = (AgentNo(wire.nominated_agent_no), Timestamp(wire.nominated_until_ms));
    let status = match name::<TaskState>("state", wire.state)? {
        TaskState::Throttled => Some(Status::Waiting(Waiting::Throttled { ready_at: Timestamp(wire.ready_at_ms) })),
        TaskState::Pending => {
            Some(Status::Waiting(Waiting::Pending { nominated: wire.nominated.then_some(nominated) }))
        }
        placed_or_ended => Status::with_place(placed_or_ended, place),
    };
    let transition = |transition: v1::Transition| {
        Ok(Transition {
            to: name::<TaskState>("history.state", transition.state)?,
            at: Timestamp(transition.at_ms),
            reason: name::<Reason>("history.reason", transition.reason)?,
            message: transition.message.into(),
            exit: exit_from_wire(transition.exit_code, transition.signal),
        })
    };
    Ok(Task {
        id: TaskId(wire.task_id),
        job: JobId(wire.job_id),
        spec: SpecId(wire.spec_id),
        instance: wire.instance,
        attempt: wire.attempt,
        failures: wire.failures,
        restarts: wire.restarts,
        run_at: Timestamp(wire.run_at_ms),
        status: status.ok_or_else(|| WireError::new("placed", "is missing for a placed task"))?,
        history: wire.history.into_iter().map(transition).collect::<Result<_, WireError>>()?,
    })
}
