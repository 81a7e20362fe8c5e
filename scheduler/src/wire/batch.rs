//! Batches as the journal's records, both ways.

use std::sync::Arc;

use dawn_proto::v1::record::Record as Wire;
use dawn_proto::v1::{self, NodeState, Reason, TickOutcome};
use dawn_proto::validate::FieldError;
use dawn_proto::{AgentId, Epoch, JobKey, SpecId, TaskId, TaskState, Timestamp};
use prost::Message;

use super::blame::{blame_mutation, blame_record};
use super::flow::{flow_mutation, flow_record};
use super::loss::{loss_mutation, loss_record};
use super::restore::{restore_from_wire, restore_to_wire};
use super::update::{instances_from_wire, instances_to_wire, update_mutation, update_record};
use super::upkeep::{upkeep_mutation, upkeep_record};
use super::welcome::{welcome_mutation, welcome_record};
use super::{WireError, attributes_from_wire, attributes_to_wire, exit_from_wire, exit_to_wire};
use super::{max_tasks_from_wire, port_number, ports_from_wire, ports_to_wire};
use super::{quota_from_wire, quota_to_wire, resources_from_wire, stored_job_spec};
use crate::model::{AgentNo, Batch, JobId, Mutation, Part, Shift, Spec};

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

/// The stored form of a spec as a message.
pub(super) fn spec_to_wire(spec: &Spec) -> v1::JobSpec {
    // invariant: `wire` was made by encoding this very message.
    v1::JobSpec::decode(&*spec.job.wire).unwrap_or_else(|error| panic!("{} does not decode: {error}", spec.id))
}

pub(super) fn spec_from_wire(id: u64, version: u32, wire: Option<v1::JobSpec>) -> Result<Spec, WireError> {
    let wire = wire.ok_or_else(|| WireError::new("spec", "is missing"))?;
    Ok(Spec::new(SpecId(id), version, stored_job_spec(&wire).map_err(of_spec)?))
}

pub(super) fn with_gaps(spec: Spec, gaps: &[v1::InstanceRange]) -> Spec {
    Spec { gaps: instances_from_wire(gaps), ..spec }
}

/// The first that is wrong with a spec.
pub(super) fn of_spec(errors: Vec<FieldError>) -> WireError {
    let first = errors.into_iter().next();
    first.map_or(WireError::new("spec", "is not valid"), |error| {
        WireError::new(format!("spec.{}", error.path), error.message)
    })
}

fn record(mutation: &Mutation) -> Wire {
    match mutation {
        Mutation::ClusterMade { cluster_id } => Wire::ClusterMade(v1::ClusterMade { cluster_id: cluster_id.clone() }),
        Mutation::EpochBegun { epoch } => Wire::EpochBegun(v1::EpochBegun { epoch: epoch.0 }),
        Mutation::JobMade { job, key } => Wire::JobMade(v1::JobMade { job_id: job.0, key: Some(key.into()) }),
        Mutation::JobVersioned { job, spec, author, message } => Wire::JobVersioned(Box::new(v1::JobVersioned {
            job_id: job.0,
            spec_id: spec.id.0,
            version: spec.version,
            spec: Some(spec_to_wire(spec)),
            author: author.clone(),
            message: message.clone(),
            gaps: instances_to_wire(&spec.gaps),
        })),
        Mutation::JobEnded { job, author, message, not_needed } => {
            let (author, message) = (author.clone(), message.clone());
            Wire::JobEnded(v1::JobEnded { job_id: job.0, author, message, not_needed: *not_needed })
        }
        Mutation::InstancesStopped { job, instances } => Wire::InstancesStopped(v1::InstancesStopped {
            job_id: job.0,
            instances: instances.iter().map(|(first, last)| v1::InstanceRange { first: *first, last: *last }).collect(),
        }),
        Mutation::JobSettled { job, to } => Wire::JobSettled(v1::JobSettled { job_id: job.0, to: *to }),
        Mutation::JobForgotten { job } => Wire::JobForgotten(v1::JobForgotten { job_id: job.0 }),
        Mutation::TaskMade { .. } | Mutation::TaskAssigned { .. } | Mutation::TaskMoved { .. } => task_record(mutation),
        Mutation::TaskForgotten { task } => Wire::TaskForgotten(v1::TaskForgotten { task_id: task.0 }),
        Mutation::AgentSeen { .. } => agent_record(mutation),
        Mutation::AgentMoved { agent, to } => Wire::AgentMoved(v1::AgentMoved { agent_no: agent.0, to: (*to).into() }),
        Mutation::AgentForgotten { agent } => Wire::AgentForgotten(v1::AgentForgotten { agent_no: agent.0 }),
        Mutation::Ticked { job, scheduled, outcome } => {
            Wire::Ticked(v1::Ticked { job_id: job.0, scheduled_ms: scheduled.0, outcome: (*outcome).into() })
        }
        Mutation::Nominated { task, agent, until } => {
            Wire::Nominated(v1::Nominated { task_id: task.0, agent_no: agent.0, until_ms: until.0 })
        }
        Mutation::AgentAvoided { agent, until, why, times } => Wire::AgentAvoided(v1::AgentAvoided {
            agent_no: agent.0,
            until_ms: until.map_or(0, |until| until.0),
            why: why.clone(),
            times: *times,
        }),
        Mutation::Restore(mutation) => Wire::Restore(restore_to_wire(mutation)),
        Mutation::Welcome(mutation) => Wire::Welcome(welcome_record(mutation)),
        Mutation::Update(mutation) => Wire::Update(update_record(mutation)),
        Mutation::Upkeep(mutation) => Wire::Maintenance(upkeep_record(mutation)),
        Mutation::Blame(mutation) => Wire::Blame(blame_record(mutation)),
        Mutation::QuotaSet { role, quota, author } => {
            Wire::QuotaSet(v1::QuotaSet { quota: Some(quota_to_wire(role, quota)), author: author.clone() })
        }
        Mutation::Flow(mutation) => Wire::Flow(flow_record(mutation)),
        Mutation::ClockShifted(shift) => {
            Wire::ClockShifted(v1::ClockShifted { by_ms: shift.by_ms, after_ms: shift.after.0 })
        }
        Mutation::Loss(mutation) => Wire::Loss(loss_record(mutation)),
    }
}

fn task_record(mutation: &Mutation) -> Wire {
    match mutation {
        Mutation::TaskMade { task, job, spec, instance, attempt, failures, restarts, run_at, ready_at, reason } => {
            Wire::TaskMade(v1::TaskMade {
                task_id: task.0,
                job_id: job.0,
                spec_id: spec.0,
                instance: *instance,
                attempt: *attempt,
                failures: *failures,
                restarts: *restarts,
                run_at_ms: run_at.0,
                ready_at_ms: ready_at.map_or(0, |ready_at| ready_at.0),
                reason: (*reason).into(),
            })
        }
        Mutation::TaskAssigned { task, agent, ports, devices } => Wire::TaskMoved(v1::TaskMoved {
            task_id: task.0,
            to: TaskState::Assigned.into(),
            agent_no: agent.0,
            ports: ports.iter().map(|port| u32::from(*port)).collect(),
            devices: devices.iter().map(|device| u32::from(*device)).collect(),
            ..Default::default()
        }),
        Mutation::TaskMoved { task, to, reason, message, exit } => {
            let (exit_code, signal) = exit_to_wire(*exit);
            Wire::TaskMoved(v1::TaskMoved {
                task_id: task.0,
                to: (*to).into(),
                reason: (*reason).into(),
                message: message.to_string(),
                exit_code,
                signal,
                ..Default::default()
            })
        }
        other => unreachable!("{other:?} is no task's"),
    }
}

fn agent_record(mutation: &Mutation) -> Wire {
    let Mutation::AgentSeen {
        agent,
        id,
        hostname,
        version,
        isolation,
        boot_id,
        total,
        attributes,
        ports,
        max_tasks,
        offer_epoch,
    } = mutation
    else {
        unreachable!("agent_record is called for AgentSeen alone");
    };
    Wire::AgentSeen(Box::new(v1::AgentSeen {
        agent_no: agent.0,
        agent_id: id.to_string(),
        hostname: hostname.clone(),
        version: version.clone(),
        isolation: isolation.clone(),
        boot_id: boot_id.clone(),
        total: Some(total.into()),
        attributes: attributes_to_wire(attributes),
        ports: ports_to_wire(ports),
        offer_epoch: *offer_epoch,
        max_tasks: Some(*max_tasks),
    }))
}

fn mutation(record: v1::Record) -> Result<Mutation, WireError> {
    let newer = || WireError::new("record", "is of a kind this version does not know; a newer one wrote it");
    Ok(match record.record.ok_or_else(newer)? {
        Wire::ClusterMade(made) => Mutation::ClusterMade { cluster_id: made.cluster_id },
        Wire::EpochBegun(begun) => Mutation::EpochBegun { epoch: Epoch(begun.epoch) },
        Wire::JobMade(made) => Mutation::JobMade { job: JobId(made.job_id), key: job_key(made.key.as_ref())? },
        Wire::JobVersioned(made) => Mutation::JobVersioned {
            job: JobId(made.job_id),
            spec: Arc::new(with_gaps(spec_from_wire(made.spec_id, made.version, made.spec)?, &made.gaps)),
            author: made.author,
            message: made.message,
        },
        Wire::JobEnded(v1::JobEnded { job_id, author, message, not_needed }) => {
            Mutation::JobEnded { job: JobId(job_id), author, message, not_needed }
        }
        Wire::InstancesStopped(stopped) => Mutation::InstancesStopped {
            job: JobId(stopped.job_id),
            instances: stopped.instances.iter().map(|range| (range.first, range.last)).collect(),
        },
        Wire::JobSettled(settled) => Mutation::JobSettled { job: JobId(settled.job_id), to: settled.to },
        Wire::JobForgotten(forgotten) => Mutation::JobForgotten { job: JobId(forgotten.job_id) },
        Wire::TaskMade(made) => task_made(made)?,
        Wire::TaskMoved(moved) => task_moved(moved)?,
        Wire::TaskForgotten(forgotten) => Mutation::TaskForgotten { task: TaskId(forgotten.task_id) },
        Wire::AgentSeen(seen) => agent_seen(*seen)?,
        Wire::AgentMoved(v1::AgentMoved { agent_no, to }) => {
            Mutation::AgentMoved { agent: AgentNo(agent_no), to: name::<NodeState>("to", to)? }
        }
        Wire::AgentForgotten(forgotten) => Mutation::AgentForgotten { agent: AgentNo(forgotten.agent_no) },
        Wire::Ticked(ticked) => Mutation::Ticked {
            job: JobId(ticked.job_id),
            scheduled: Timestamp(ticked.scheduled_ms),
            outcome: name::<TickOutcome>("outcome", ticked.outcome)?,
        },
        Wire::Nominated(nominated) => Mutation::Nominated {
            task: TaskId(nominated.task_id),
            agent: AgentNo(nominated.agent_no),
            until: Timestamp(nominated.until_ms),
        },
        Wire::AgentAvoided(avoided) => agent_avoided(avoided),
        Wire::Restore(restore) => Mutation::Restore(restore_from_wire(restore)?),
        Wire::Welcome(record) => Mutation::Welcome(welcome_mutation(record)?),
        Wire::Update(record) => Mutation::Update(update_mutation(record)?),
        Wire::Maintenance(set) => Mutation::Upkeep(upkeep_mutation(set)?),
        Wire::Blame(record) => Mutation::Blame(blame_mutation(record)?),
        Wire::QuotaSet(set) => {
            let (role, quota) = quota_from_wire(set.quota.as_ref());
            Mutation::QuotaSet { role, quota, author: set.author }
        }
        Wire::Flow(record) => Mutation::Flow(flow_mutation(record)?),
        Wire::ClockShifted(shifted) => {
            Mutation::ClockShifted(Shift { by_ms: shifted.by_ms, after: Timestamp(shifted.after_ms) })
        }
        Wire::Loss(record) => Mutation::Loss(loss_mutation(record)?),
    })
}

fn task_made(made: v1::TaskMade) -> Result<Mutation, WireError> {
    Ok(Mutation::TaskMade {
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

fn task_moved(moved: v1::TaskMoved) -> Result<Mutation, WireError> {
    let task = TaskId(moved.task_id);
    let to = name::<TaskState>("to", moved.to)?;
    if to == TaskState::Assigned {
        let (ports, devices) = (port_numbers(&moved.ports)?, device_numbers(&moved.devices)?);
        return Ok(Mutation::TaskAssigned { task, agent: AgentNo(moved.agent_no), ports, devices });
    }
    let reason = name::<Reason>("reason", moved.reason)?;
    let exit = exit_from_wire(moved.exit_code, moved.signal);
    Ok(Mutation::TaskMoved { task, to, reason, message: moved.message.into(), exit })
}

fn agent_avoided(avoided: v1::AgentAvoided) -> Mutation {
    Mutation::AgentAvoided {
        agent: AgentNo(avoided.agent_no),
        until: (avoided.until_ms != 0).then_some(Timestamp(avoided.until_ms)),
        why: avoided.why,
        times: avoided.times,
    }
}

pub(super) fn agent_seen(seen: v1::AgentSeen) -> Result<Mutation, WireError> {
    let id = AgentId::new(&seen.agent_id);
    Ok(Mutation::AgentSeen {
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
        offer_epoch: seen.offer_epoch,
    })
}

pub(super) fn port_numbers(ports: &[u32]) -> Result<Box<[u16]>, WireError> {
    ports.iter().map(|port| port_number("ports", *port)).collect()
}

pub(super) fn device_numbers(devices: &[u32]) -> Result<Box<[u16]>, WireError> {
    let number = |device: &u32| {
        u16::try_from(*device).map_err(|_| WireError::new("devices", format!("{device} is no device's number")))
    };
    devices.iter().map(number).collect()
}

pub(super) fn job_key(key: Option<&v1::JobKey>) -> Result<JobKey, WireError> {
    let key = key.ok_or_else(|| WireError::new("key", "is missing"))?;
    JobKey::try_from(key).map_err(|error| WireError::new("key", error.to_string()))
}

pub(super) fn name<E: TryFrom<i32>>(path: &str, value: i32) -> Result<E, WireError> {
    E::try_from(value).map_err(|_| WireError::new(path, format!("{value} is not known to this version")))
}
