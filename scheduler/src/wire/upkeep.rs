//! Maintenance: as records, in snapshots, and as clients see it.

use dawn_proto::Timestamp;
use dawn_proto::v1::{self, MaintenanceMode};

use super::parse::{WireError, name};
use crate::model::{Agent, AgentNo, Upkeep, UpkeepMutation};

/// What is planned, without what its tasks wait for.
pub fn upkeep_to_wire(upkeep: &Upkeep) -> v1::NodeMaintenance {
    v1::NodeMaintenance {
        mode: upkeep.mode.into(),
        since_ms: upkeep.since.0,
        start_ms: upkeep.start.0,
        deadline_ms: upkeep.deadline.0,
        author: upkeep.author.clone(),
        message: upkeep.message.clone(),
        heed_ms: upkeep.heed_ms,
        waits: Vec::new(),
    }
}

fn upkeep_from_wire(wire: Option<v1::NodeMaintenance>) -> Result<Option<Upkeep>, WireError> {
    let Some(wire) = wire else { return Ok(None) };
    let mode = name::<MaintenanceMode>("maintenance.mode", wire.mode)?;
    Ok((mode != MaintenanceMode::None).then_some(Upkeep {
        mode,
        since: Timestamp(wire.since_ms),
        start: Timestamp(wire.start_ms),
        deadline: Timestamp(wire.deadline_ms),
        heed_ms: wire.heed_ms,
        author: wire.author,
        message: wire.message,
    }))
}

pub(super) fn upkeep_record(mutation: &UpkeepMutation) -> v1::MaintenanceSet {
    v1::MaintenanceSet { agent_no: mutation.agent.0, maintenance: mutation.upkeep.as_ref().map(upkeep_to_wire) }
}

pub(super) fn upkeep_mutation(wire: v1::MaintenanceSet) -> Result<UpkeepMutation, WireError> {
    Ok(UpkeepMutation { agent: AgentNo(wire.agent_no), upkeep: upkeep_from_wire(wire.maintenance)? })
}

pub(super) fn upkeep_snapshot(agent: &Agent) -> Option<v1::MaintenanceSnapshot> {
    let maintenance = Some(upkeep_to_wire(agent.upkeep.as_ref()?));
    Some(v1::MaintenanceSnapshot { agent_no: agent.no.0, maintenance })
}

pub(super) fn upkeep_from_snapshot(wire: v1::MaintenanceSnapshot) -> Result<(AgentNo, Option<Upkeep>), WireError> {
    Ok((AgentNo(wire.agent_no), upkeep_from_wire(wire.maintenance)?))
}
