//! Restores and adopted tasks, both ways, and tasks as agents describe them.

use std::sync::Arc;

use dawn_proto::v1::restore_record::Record as Wire;
use dawn_proto::v1::{self, TaskState};
use dawn_proto::validate::MAX_GPUS;
use dawn_proto::{Epoch, SpecId, TaskId, Timestamp};

use super::parse::{WireError, device_numbers, name, port_number, port_numbers};
use super::record::Recorded;
use super::stored_spec::{of_spec, spec_from_wire, spec_to_wire};
use super::{brought_spec, report};
use crate::model::{AgentNo, Description, JobId, RestoreMutation, Restored, Restores, Spec, TaskAdopted};

pub(super) fn restore_to_wire(mutation: &RestoreMutation) -> v1::RestoreRecord {
    let record = match mutation {
        RestoreMutation::Restored(restored) => Wire::Restored(restored_to_wire(restored)),
        RestoreMutation::Over => Wire::Over(v1::RestoreOver {}),
        RestoreMutation::Behind { next_task, next_spec } => {
            Wire::Behind(v1::JournalBehind { next_task_id: next_task.0, next_spec_id: next_spec.0 })
        }
        RestoreMutation::BehindOver => Wire::BehindOver(v1::JournalBehindOver {}),
        RestoreMutation::EpochRaised { floor } => Wire::EpochRaised(v1::EpochRaised { floor: floor.0 }),
        RestoreMutation::SpecAdopted { job, spec, current } => Wire::SpecAdopted(v1::SpecAdopted {
            job_id: job.0,
            spec_id: spec.id.0,
            version: spec.version,
            spec: Some(spec_to_wire(spec)),
            current: *current,
        }),
        RestoreMutation::TaskAdopted(adopted) => Wire::TaskAdopted(adopted.to_wire()),
    };
    v1::RestoreRecord { record: Some(record) }
}

pub(super) fn restore_from_wire(wire: v1::RestoreRecord) -> Result<RestoreMutation, WireError> {
    let newer = || WireError::new("restore", "is of a kind this version does not know; a newer one wrote it");
    Ok(match wire.record.ok_or_else(newer)? {
        Wire::Restored(restored) => RestoreMutation::Restored(restored_from_wire(&restored)),
        Wire::Over(_) => RestoreMutation::Over,
        Wire::Behind(behind) => {
            RestoreMutation::Behind { next_task: TaskId(behind.next_task_id), next_spec: SpecId(behind.next_spec_id) }
        }
        Wire::BehindOver(_) => RestoreMutation::BehindOver,
        Wire::EpochRaised(raised) => RestoreMutation::EpochRaised { floor: Epoch(raised.floor) },
        Wire::SpecAdopted(adopted) => RestoreMutation::SpecAdopted {
            job: JobId(adopted.job_id),
            spec: Arc::new(spec_from_wire(adopted.spec_id, adopted.version, adopted.spec)?),
            current: adopted.current,
        },
        Wire::TaskAdopted(adopted) => RestoreMutation::TaskAdopted(Box::new(Recorded::from_wire(adopted)?)),
    })
}

impl Recorded for TaskAdopted {
    type Wire = v1::TaskAdopted;

    fn to_wire(&self) -> v1::TaskAdopted {
        v1::TaskAdopted {
            task_id: self.task.0,
            job_id: self.job.0,
            spec_id: self.spec.0,
            instance: self.instance,
            attempt: self.attempt,
            run_at_ms: self.run_at.0,
            agent_no: self.agent.0,
            ports: self.ports.iter().map(|port| u32::from(*port)).collect(),
            devices: self.devices.iter().map(|device| u32::from(*device)).collect(),
            state: self.state.into(),
        }
    }

    fn from_wire(adopted: v1::TaskAdopted) -> Result<Self, WireError> {
        Ok(TaskAdopted {
            task: TaskId(adopted.task_id),
            job: JobId(adopted.job_id),
            spec: SpecId(adopted.spec_id),
            instance: adopted.instance,
            attempt: adopted.attempt,
            run_at: Timestamp(adopted.run_at_ms),
            agent: AgentNo(adopted.agent_no),
            ports: port_numbers(&adopted.ports)?,
            devices: device_numbers(&adopted.devices)?,
            state: name::<TaskState>("state", adopted.state)?,
        })
    }
}

fn restored_to_wire(restored: &Restored) -> v1::Restored {
    v1::Restored {
        at_ms: restored.at.0,
        epoch: restored.epoch.0,
        first_lost_task_id: restored.first_lost_task.0,
        next_task_id: restored.next_task.0,
        next_spec_id: restored.next_spec.0,
    }
}

fn restored_from_wire(wire: &v1::Restored) -> Restored {
    Restored {
        at: Timestamp(wire.at_ms),
        epoch: Epoch(wire.epoch),
        first_lost_task: TaskId(wire.first_lost_task_id),
        next_task: TaskId(wire.next_task_id),
        next_spec: SpecId(wire.next_spec_id),
    }
}

/// None where nothing was ever restored.
pub(super) fn restores_to_wire(restores: &Restores) -> Option<v1::RestoreSnapshot> {
    let restored = restores.kept.iter().map(restored_to_wire).collect();
    let epoch_floor = restores.epoch_floor.0;
    (*restores != Restores::default()).then_some(v1::RestoreSnapshot {
        restored,
        waiting: restores.waiting,
        epoch_floor,
        behind: restores.behind,
        first_lost_task_id: restores.first_lost_task.map_or(0, |task| task.0),
    })
}

pub(super) fn restores_from_wire(wire: v1::RestoreSnapshot) -> Restores {
    let kept = wire.restored.iter().map(restored_from_wire).collect();
    Restores {
        kept,
        waiting: wire.waiting,
        behind: wire.behind,
        first_lost_task: (wire.first_lost_task_id > 0).then_some(TaskId(wire.first_lost_task_id)),
        epoch_floor: Epoch(wire.epoch_floor),
    }
}

/// Reads what an agent says a task is.
///
/// # Errors
/// Names the field that can't be right; of a task that an older agent started, its spec.
pub fn description(wire: v1::TaskDescription) -> Result<Description, WireError> {
    let report = report(wire.report.ok_or_else(|| WireError::new("report", "is missing"))?)?;
    let devices = wire.devices.len();
    if devices > MAX_GPUS {
        return Err(WireError::new("devices", format!("{devices} are named; at most {MAX_GPUS} are allowed")));
    }
    // Whatever an agent brings is held to what a client may bring: it becomes a job.
    let spec = wire.spec.ok_or_else(|| WireError::new("spec", "is missing"))?;
    let spec = Spec::new(SpecId(wire.spec_id), wire.version, brought_spec(spec).map_err(of_spec)?);
    let of_name = |name: &str| wire.ports.iter().find(|port| port.name == name);
    let ports = spec.job.ports.iter().map(|port| {
        let found = of_name(&port.name);
        let found = found.ok_or_else(|| WireError::new("ports", format!("{:?} is missing", port.name)))?;
        port_number("ports", found.port)
    });
    Ok(Description {
        ports: ports.collect::<Result<_, _>>()?,
        devices: device_numbers(&wire.devices)?,
        report,
        instance: wire.instance,
        attempt: wire.attempt,
        run_at: Timestamp(wire.run_at_ms),
        spec: Arc::new(spec),
    })
}
