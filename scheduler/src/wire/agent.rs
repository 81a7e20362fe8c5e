//! What agents say, and what the journal says of them. Ids, ports and states are checked here; whether it makes sense is
//! decided elsewhere.

use dawn_proto::v1::{self, NodeState, Reason};
use dawn_proto::{AgentId, Epoch, HeldDigest, TaskId, TaskState, Timestamp};

use super::exit::exit_from_wire;
use super::parse::{
    WireError, attributes_from_wire, attributes_to_wire, max_tasks_from_wire, name, ports_from_wire, ports_to_wire,
    resources_from_wire, taken_ports_from_wire, taken_ports_to_wire,
};
use super::record::Recorded;
use crate::model::{AgentAvoided, AgentForgotten, AgentMoved, AgentNo, AgentSeen, Offer, Registration, Report};

/// Messages of reports are for people; longer ones are cut.
const MAX_MESSAGE_BYTES: usize = 512;

/// Reads an agent's first message.
///
/// # Errors
/// Names the field that can't be right.
pub fn registration(wire: v1::Register) -> Result<Registration, WireError> {
    let id = AgentId::new(&wire.agent_id).ok_or_else(|| {
        let shown: String = wire.agent_id.chars().take(80).collect();
        WireError::new("agent_id", format!("{shown:?} is not valid: 1-63 characters of a-z A-Z 0-9 _ . -"))
    })?;
    let offer_wire = wire.offer.as_ref().ok_or_else(|| WireError::new("offer", "is missing"))?;
    Ok(Registration {
        id,
        hostname: wire.hostname,
        version: wire.version,
        cluster_id: wire.cluster_id,
        isolation: wire.isolation,
        boot_id: wire.boot_id,
        offer: offer(offer_wire).map_err(|error| error.within("offer"))?,
        epoch_seen: Epoch(wire.epoch_seen),
        welcome: wire.welcome,
        fresh_number: 0,
        tasks: reports(wire.tasks)?,
        held: wire.held.map(HeldDigest::from),
    })
}

/// Reads the list that a digest stood for.
///
/// # Errors
/// Names the report that can't be right.
pub fn held_tasks(wire: v1::HeldTasks) -> Result<Vec<Report>, WireError> {
    reports(wire.tasks)
}

fn reports(wire: Vec<v1::TaskReport>) -> Result<Vec<Report>, WireError> {
    let reports = wire.into_iter().enumerate();
    reports.map(|(i, task)| report(task).map_err(|error| error.within(&format!("tasks[{i}]")))).collect()
}

/// Reads an offer.
///
/// # Errors
/// When a port range is none.
pub fn offer(wire: &v1::Offer) -> Result<Offer, WireError> {
    Ok(Offer {
        epoch: wire.epoch,
        total: resources_from_wire(wire.total.as_ref()),
        attributes: attributes_from_wire(&wire.attributes),
        ports: ports_from_wire(&wire.ports)?,
        max_tasks: max_tasks_from_wire(wire.max_tasks),
        taken_ports: taken_ports_from_wire(&wire.taken_ports)?,
    })
}

/// Reads a task's report.
///
/// # Errors
/// When the state is not known here: a newer agent speaks.
pub fn report(wire: v1::TaskReport) -> Result<Report, WireError> {
    let state = TaskState::try_from(wire.state).ok().filter(|state| *state != TaskState::Unspecified);
    let state = state.ok_or_else(|| WireError::new("state", format!("{} is no task state known here", wire.state)))?;
    let mut message = wire.message;
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    }
    Ok(Report {
        task: TaskId(wire.task_id),
        sequence: wire.sequence,
        state,
        at: Timestamp(wire.at_ms),
        // A reason from a newer agent is only words; the state is what counts.
        reason: Reason::try_from(wire.reason).unwrap_or(Reason::None),
        message,
        exit: exit_from_wire(wire.exit_code, wire.signal),
    })
}

impl Recorded for AgentSeen {
    type Wire = v1::AgentSeen;

    fn to_wire(&self) -> v1::AgentSeen {
        v1::AgentSeen {
            agent_no: self.agent.0,
            agent_id: self.id.to_string(),
            hostname: self.hostname.clone(),
            version: self.version.clone(),
            isolation: self.isolation.clone(),
            boot_id: self.boot_id.clone(),
            total: Some((&self.total).into()),
            attributes: attributes_to_wire(&self.attributes),
            ports: ports_to_wire(&self.ports),
            offer_epoch: self.offer_epoch,
            max_tasks: Some(self.max_tasks),
            taken_ports: taken_ports_to_wire(&self.taken_ports),
        }
    }

    fn from_wire(seen: v1::AgentSeen) -> Result<Self, WireError> {
        let id = AgentId::new(&seen.agent_id);
        Ok(AgentSeen {
            agent: AgentNo(seen.agent_no),
            id: id.ok_or_else(|| WireError::new("agent_id", format!("{:?} is no agent id", seen.agent_id)))?,
            hostname: seen.hostname,
            version: seen.version,
            isolation: seen.isolation,
            boot_id: seen.boot_id,
            total: resources_from_wire(seen.total.as_ref()),
            attributes: attributes_from_wire(&seen.attributes),
            ports: ports_from_wire(&seen.ports)?,
            max_tasks: max_tasks_from_wire(seen.max_tasks),
            taken_ports: taken_ports_from_wire(&seen.taken_ports)?,
            offer_epoch: seen.offer_epoch,
        })
    }
}

impl Recorded for AgentMoved {
    type Wire = v1::AgentMoved;

    fn to_wire(&self) -> v1::AgentMoved {
        v1::AgentMoved { agent_no: self.agent.0, to: self.to.into() }
    }

    fn from_wire(moved: v1::AgentMoved) -> Result<Self, WireError> {
        Ok(AgentMoved { agent: AgentNo(moved.agent_no), to: name::<NodeState>("to", moved.to)? })
    }
}

impl Recorded for AgentForgotten {
    type Wire = v1::AgentForgotten;

    fn to_wire(&self) -> v1::AgentForgotten {
        v1::AgentForgotten { agent_no: self.agent.0 }
    }

    fn from_wire(forgotten: v1::AgentForgotten) -> Result<Self, WireError> {
        Ok(AgentForgotten { agent: AgentNo(forgotten.agent_no) })
    }
}

impl Recorded for AgentAvoided {
    type Wire = v1::AgentAvoided;

    fn to_wire(&self) -> v1::AgentAvoided {
        v1::AgentAvoided {
            agent_no: self.agent.0,
            until_ms: self.until.map_or(0, |until| until.0),
            why: self.why.clone(),
            times: self.times,
        }
    }

    fn from_wire(avoided: v1::AgentAvoided) -> Result<Self, WireError> {
        Ok(AgentAvoided {
            agent: AgentNo(avoided.agent_no),
            until: (avoided.until_ms != 0).then_some(Timestamp(avoided.until_ms)),
            why: avoided.why,
            times: avoided.times,
        })
    }
}
