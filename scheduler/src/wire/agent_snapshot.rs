//! One agent of a snapshot, both ways. Not here: what is planned for it (`upkeep`), and what was said of its loss (`loss`).

use dawn_proto::v1::{self, NodeState};
use dawn_proto::{TaskId, Timestamp};

use super::blame::{blame_from_wire, blame_to_wire};
use super::parse::{WireError, attributes_to_wire, name, ports_to_wire, taken_ports_to_wire};
use super::record::Recorded;
use super::welcome::{welcome_from_snapshot, welcome_snapshot};
use crate::model::{Agent, AgentSeen, Avoided};

pub(super) fn agent_to_wire(agent: &Agent) -> v1::AgentSnapshot {
    let avoided = agent.avoided.as_ref();
    v1::AgentSnapshot {
        seen: Some(v1::AgentSeen {
            agent_no: agent.no.0,
            agent_id: agent.id.to_string(),
            hostname: agent.hostname.clone(),
            version: agent.version.clone(),
            isolation: agent.isolation.clone(),
            boot_id: agent.boot_id.clone(),
            total: Some((&agent.total).into()),
            attributes: attributes_to_wire(&agent.attributes),
            ports: ports_to_wire(&agent.ports),
            offer_epoch: agent.offer_epoch,
            max_tasks: Some(agent.max_tasks),
            taken_ports: taken_ports_to_wire(&agent.taken_ports),
        }),
        state: agent.state.into(),
        since_ms: agent.since.0,
        registered_ms: agent.registered_at.0,
        avoided_until_ms: avoided.map_or(0, |avoided| avoided.until.0),
        avoided_why: avoided.map(|avoided| avoided.why.clone()).unwrap_or_default(),
        avoided_times: avoided.map_or(0, |avoided| avoided.times),
        first_task_of_boot: agent.first_task_of_boot.0,
        welcome: welcome_snapshot(&agent.welcome),
        blames: agent.blames.iter().map(|blame| blame_to_wire(agent.no, blame)).collect(),
    }
}

pub(super) fn agent_from_wire(wire: v1::AgentSnapshot) -> Result<Agent, WireError> {
    let seen = wire.seen.ok_or_else(|| WireError::new("seen", "is missing"))?;
    let seen = AgentSeen::from_wire(seen)?;
    let avoided = Avoided { until: Timestamp(wire.avoided_until_ms), why: wire.avoided_why, times: wire.avoided_times };
    Ok(Agent {
        no: seen.agent,
        id: seen.id,
        hostname: seen.hostname,
        version: seen.version,
        isolation: seen.isolation,
        boot_id: seen.boot_id,
        total: seen.total,
        attributes: seen.attributes,
        ports: seen.ports,
        max_tasks: seen.max_tasks,
        taken_ports: seen.taken_ports,
        offer_epoch: seen.offer_epoch,
        state: name::<NodeState>("state", wire.state)?,
        since: Timestamp(wire.since_ms),
        registered_at: Timestamp(wire.registered_ms),
        avoided: (wire.avoided_until_ms != 0).then_some(avoided),
        blames: wire.blames.iter().map(blame_from_wire).collect::<Result<_, _>>()?,
        declared_down: None,
        upkeep: None,
        first_task_of_boot: TaskId(wire.first_task_of_boot),
        welcome: wire.welcome.map(welcome_from_snapshot).unwrap_or_default(),
    })
}
