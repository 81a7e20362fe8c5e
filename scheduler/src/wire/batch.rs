//! Batches as the journal's records, both ways.

use dawn_proto::v1::record::Record as Wire;
use dawn_proto::v1::{self, TaskState};
use dawn_proto::{Epoch, Timestamp};

use super::blame::{blame_mutation, blame_record};
use super::flow::{flow_mutation, flow_record};
use super::loss::{loss_mutation, loss_record};
use super::parse::WireError;
use super::record::Recorded;
use super::restore::{restore_from_wire, restore_to_wire};
use super::update::{update_mutation, update_record};
use super::upkeep::{upkeep_mutation, upkeep_record};
use super::welcome::{welcome_mutation, welcome_record};
use crate::model::{Batch, ClusterMade, EpochBegun, Mutation, Part, Shift};

/// Encodes a batch.
pub fn batch_to_wire(batch: &Batch) -> v1::Batch {
    v1::Batch {
        index: batch.index,
        epoch: batch.epoch.0,
        at_ms: batch.at.0,
        records: batch.mutations.iter().map(|mutation| v1::Record { record: Some(record(mutation)) }).collect(),
        part: batch.part.map_or(0, |part| part.number),
        parts: batch.part.map_or(0, |part| part.of),
    }
}

/// Decodes a batch.
///
/// # Errors
/// Names the record and field that a newer or broken writer left.
pub fn batch_from_wire(wire: v1::Batch) -> Result<Batch, WireError> {
    let records = wire.records.into_iter().enumerate();
    let mutations = records.map(|(i, record)| mutation(record).map_err(|error| error.within(&format!("records[{i}]"))));
    Ok(Batch {
        index: wire.index,
        epoch: Epoch(wire.epoch),
        at: Timestamp(wire.at_ms),
        part: part(wire.part, wire.parts)?,
        mutations: mutations.collect::<Result<_, _>>()?,
    })
}

fn part(number: u32, of: u32) -> Result<Option<Part>, WireError> {
    match (number, of) {
        (0, 0) => Ok(None),
        (1.., _) if number <= of => Ok(Some(Part { number, of })),
        _ => Err(WireError::new("part", format!("{number} is none of {of} parts"))),
    }
}

fn record(mutation: &Mutation) -> Wire {
    match mutation {
        Mutation::ClusterMade(made) => Wire::ClusterMade(v1::ClusterMade { cluster_id: made.cluster_id.clone() }),
        Mutation::EpochBegun(begun) => Wire::EpochBegun(v1::EpochBegun { epoch: begun.epoch.0 }),
        Mutation::JobMade(made) => Wire::JobMade(made.to_wire()),
        Mutation::JobVersioned(versioned) => Wire::JobVersioned(Box::new(versioned.to_wire())),
        Mutation::JobEnded(ended) => Wire::JobEnded(ended.to_wire()),
        Mutation::InstancesStopped(stopped) => Wire::InstancesStopped(stopped.to_wire()),
        Mutation::JobSettled(settled) => Wire::JobSettled(settled.to_wire()),
        Mutation::JobForgotten(forgotten) => Wire::JobForgotten(forgotten.to_wire()),
        Mutation::TaskMade(made) => Wire::TaskMade(made.to_wire()),
        Mutation::TaskAssigned(assigned) => Wire::TaskMoved(assigned.to_wire()),
        Mutation::TaskMoved(moved) => Wire::TaskMoved(moved.to_wire()),
        Mutation::EndDated(dated) => Wire::EndDated(dated.to_wire()),
        Mutation::TaskForgotten(forgotten) => Wire::TaskForgotten(forgotten.to_wire()),
        Mutation::AgentSeen(seen) => Wire::AgentSeen(Box::new(seen.to_wire())),
        Mutation::AgentMoved(moved) => Wire::AgentMoved(moved.to_wire()),
        Mutation::AgentForgotten(forgotten) => Wire::AgentForgotten(forgotten.to_wire()),
        Mutation::Ticked(ticked) => Wire::Ticked(ticked.to_wire()),
        Mutation::Nominated(nominated) => Wire::Nominated(nominated.to_wire()),
        Mutation::AgentAvoided(avoided) => Wire::AgentAvoided(avoided.to_wire()),
        Mutation::Restore(mutation) => Wire::Restore(restore_to_wire(mutation)),
        Mutation::Welcome(mutation) => Wire::Welcome(welcome_record(mutation)),
        Mutation::Update(mutation) => Wire::Update(update_record(mutation)),
        Mutation::Upkeep(mutation) => Wire::Maintenance(upkeep_record(mutation)),
        Mutation::Blame(mutation) => Wire::Blame(blame_record(mutation)),
        Mutation::QuotaSet(set) => Wire::QuotaSet(set.to_wire()),
        Mutation::Flow(mutation) => Wire::Flow(flow_record(mutation)),
        Mutation::ClockShifted(shift) => {
            Wire::ClockShifted(v1::ClockShifted { by_ms: shift.by_ms, after_ms: shift.after.0 })
        }
        Mutation::Loss(mutation) => Wire::Loss(loss_record(mutation)),
    }
}

fn mutation(record: v1::Record) -> Result<Mutation, WireError> {
    let newer = || WireError::new("record", "is of a kind this version does not know; a newer one wrote it");
    Ok(match record.record.ok_or_else(newer)? {
        Wire::ClusterMade(made) => Mutation::ClusterMade(ClusterMade { cluster_id: made.cluster_id }),
        Wire::EpochBegun(begun) => Mutation::EpochBegun(EpochBegun { epoch: Epoch(begun.epoch) }),
        Wire::JobMade(made) => Mutation::JobMade(Recorded::from_wire(made)?),
        Wire::JobVersioned(versioned) => Mutation::JobVersioned(Recorded::from_wire(*versioned)?),
        Wire::JobEnded(ended) => Mutation::JobEnded(Recorded::from_wire(ended)?),
        Wire::InstancesStopped(stopped) => Mutation::InstancesStopped(Recorded::from_wire(stopped)?),
        Wire::JobSettled(settled) => Mutation::JobSettled(Recorded::from_wire(settled)?),
        Wire::JobForgotten(forgotten) => Mutation::JobForgotten(Recorded::from_wire(forgotten)?),
        Wire::TaskMade(made) => Mutation::TaskMade(Recorded::from_wire(made)?),
        Wire::TaskMoved(moved) if moved.to == i32::from(TaskState::Assigned) => {
            Mutation::TaskAssigned(Recorded::from_wire(moved)?)
        }
        Wire::TaskMoved(moved) => Mutation::TaskMoved(Recorded::from_wire(moved)?),
        Wire::EndDated(dated) => Mutation::EndDated(Recorded::from_wire(dated)?),
        Wire::TaskForgotten(forgotten) => Mutation::TaskForgotten(Recorded::from_wire(forgotten)?),
        Wire::AgentSeen(seen) => Mutation::AgentSeen(Box::new(Recorded::from_wire(*seen)?)),
        Wire::AgentMoved(moved) => Mutation::AgentMoved(Recorded::from_wire(moved)?),
        Wire::AgentForgotten(forgotten) => Mutation::AgentForgotten(Recorded::from_wire(forgotten)?),
        Wire::Ticked(ticked) => Mutation::Ticked(Recorded::from_wire(ticked)?),
        Wire::Nominated(nominated) => Mutation::Nominated(Recorded::from_wire(nominated)?),
        Wire::AgentAvoided(avoided) => Mutation::AgentAvoided(Recorded::from_wire(avoided)?),
        Wire::Restore(restore) => Mutation::Restore(restore_from_wire(restore)?),
        Wire::Welcome(record) => Mutation::Welcome(welcome_mutation(record)?),
        Wire::Update(record) => Mutation::Update(update_mutation(record)?),
        Wire::Maintenance(set) => Mutation::Upkeep(Box::new(upkeep_mutation(set)?)),
        Wire::Blame(record) => Mutation::Blame(blame_mutation(record)?),
        Wire::QuotaSet(set) => Mutation::QuotaSet(Box::new(Recorded::from_wire(set)?)),
        Wire::Flow(record) => Mutation::Flow(flow_mutation(record)?),
        Wire::ClockShifted(shifted) => {
            Mutation::ClockShifted(Shift { by_ms: shifted.by_ms, after: Timestamp(shifted.after_ms) })
        }
        Wire::Loss(record) => Mutation::Loss(loss_mutation(record)?),
    })
}
