//! Updates: as records, in snapshots, and as clients see them.

use std::collections::BTreeMap;

use dawn_proto::v1::update_record::Record as Wire;
use dawn_proto::v1::{self, UpdateKind, UpdateState};
use dawn_proto::{SpecId, TaskId, Timestamp};

use super::parse::{WireError, name};
use super::policy::{update_policy, update_policy_to_wire};
use crate::model::{Changes, Instances, Job, JobId, Update, UpdateChange, UpdateEvent, UpdateMutation};

/// A set of instances as ranges.
pub fn instances_to_wire(instances: &Instances) -> Vec<v1::InstanceRange> {
    instances.ranges().iter().map(|(first, last)| v1::InstanceRange { first: *first, last: *last }).collect()
}

pub(super) fn instances_from_wire(wire: &[v1::InstanceRange]) -> Instances {
    // No job has more: a broken record can't make the set grow without bound.
    let most = dawn_proto::validate::MAX_INSTANCES;
    wire.iter().flat_map(|range| range.first..=range.last.min(most)).collect()
}

fn list(instances: &Instances) -> v1::InstanceList {
    v1::InstanceList { instances: instances_to_wire(instances) }
}

fn event_to_wire(event: &UpdateEvent) -> v1::UpdateEvent {
    v1::UpdateEvent {
        state: event.state.into(),
        at_ms: event.at.0,
        author: event.author.clone(),
        message: event.message.clone(),
    }
}

pub(super) fn update_record(mutation: &UpdateMutation) -> v1::UpdateRecord {
    let record = match &mutation.what {
        UpdateChange::Begun(update) => Wire::Begun(begun(update)),
        UpdateChange::Advanced(instances) => Wire::Advanced(list(instances)),
        UpdateChange::Passed(instances) => Wire::Passed(list(instances)),
        UpdateChange::GaveUp(instances) => Wire::GaveUp(list(instances)),
        UpdateChange::Kept { instances, spec } => {
            Wire::Kept(v1::Kept { instances: instances_to_wire(instances), spec_id: wire_spec_id(*spec) })
        }
        UpdateChange::Moved { to, author, message } => Wire::Moved(v1::UpdateEvent {
            state: (*to).into(),
            at_ms: 0,
            author: author.clone(),
            message: message.clone(),
        }),
        UpdateChange::Pulsed => Wire::Pulsed(true),
        UpdateChange::Promoted => Wire::Promoted(true),
        UpdateChange::Group(group) => Wire::Group(*group),
        UpdateChange::Replaced { author } => Wire::Replaced(v1::Replaced { author: author.clone() }),
    };
    v1::UpdateRecord { job_id: mutation.job.0, record: Some(record) }
}

pub(super) fn update_mutation(wire: v1::UpdateRecord) -> Result<UpdateMutation, WireError> {
    let newer = || WireError::new("update", "is of a kind this version does not know; a newer one wrote it");
    let what = match wire.record.ok_or_else(newer)? {
        Wire::Begun(wire) => UpdateChange::Begun(Box::new(update_from_begun(wire)?)),
        Wire::Advanced(list) => UpdateChange::Advanced(instances_from_wire(&list.instances)),
        Wire::Passed(list) => UpdateChange::Passed(instances_from_wire(&list.instances)),
        Wire::GaveUp(list) => UpdateChange::GaveUp(instances_from_wire(&list.instances)),
        Wire::Kept(kept) => {
            UpdateChange::Kept { instances: instances_from_wire(&kept.instances), spec: spec_id(kept.spec_id) }
        }
        Wire::Moved(moved) => UpdateChange::Moved {
            to: name::<UpdateState>("update.state", moved.state)?,
            author: moved.author,
            message: moved.message,
        },
        Wire::Pulsed(_) => UpdateChange::Pulsed,
        Wire::Promoted(_) => UpdateChange::Promoted,
        Wire::Group(group) => UpdateChange::Group(group),
        Wire::Replaced(replaced) => UpdateChange::Replaced { author: replaced.author },
    };
    Ok(UpdateMutation { job: JobId(wire.job_id), what })
}

fn begun(update: &Update) -> v1::UpdateBegun {
    let before = update.before.iter().map(|(first, last, spec)| v1::Before {
        first: *first,
        last: *last,
        spec_id: wire_spec_id(*spec),
    });
    v1::UpdateBegun {
        number: update.number,
        kind: update.kind.into(),
        to_spec_id: update.to.0,
        from_version: update.from_version,
        to_version: update.to_version,
        policy: Some(update_policy_to_wire(&update.policy)),
        author: update.author.clone(),
        message: update.message.clone(),
        instances: instances_to_wire(&update.instances),
        before: before.collect(),
    }
}

fn wire_spec_id(spec: Option<SpecId>) -> u64 {
    spec.map_or(0, |spec| spec.0 + 1)
}

/// Spec ids begin at 0, which here is "nothing".
fn spec_id(wire: u64) -> Option<SpecId> {
    wire.checked_sub(1).map(SpecId)
}

fn update_from_begun(wire: v1::UpdateBegun) -> Result<Update, WireError> {
    Ok(Update {
        number: wire.number,
        kind: name::<UpdateKind>("update.kind", wire.kind)?,
        to: SpecId(wire.to_spec_id),
        from_version: wire.from_version,
        to_version: wire.to_version,
        policy: update_policy(wire.policy.as_ref()),
        author: wire.author,
        message: wire.message,
        instances: instances_from_wire(&wire.instances),
        before: wire.before.iter().map(|run| (run.first, run.last, spec_id(run.spec_id))).collect(),
        began: Timestamp(0),
        first_task: TaskId(0),
        state: UpdateState::RollingForward,
        advanced: Instances::default(),
        passed: Instances::default(),
        gave_up: Instances::default(),
        failures: BTreeMap::new(),
        promoted: false,
        group: 0,
        pulsed: Timestamp(0),
        progress: Timestamp(0),
        events: Default::default(),
    })
}

pub(super) fn update_snapshot(update: &Update) -> v1::UpdateSnapshot {
    let failures = update.failures.iter();
    v1::UpdateSnapshot {
        begun: Some(begun(update)),
        began_ms: update.began.0,
        state: update.state.into(),
        first_task_id: update.first_task.0,
        advanced: instances_to_wire(&update.advanced),
        passed: instances_to_wire(&update.passed),
        gave_up: instances_to_wire(&update.gave_up),
        failures: failures.map(|(at, of)| v1::InstanceFailures { instance: *at, failures: *of }).collect(),
        promoted: update.promoted,
        group: update.group,
        pulsed_ms: update.pulsed.0,
        progress_ms: update.progress.0,
        events: update.events.iter().map(event_to_wire).collect(),
    }
}

fn update_from_snapshot(wire: v1::UpdateSnapshot) -> Result<Update, WireError> {
    let begun = wire.begun.ok_or_else(|| WireError::new("updates.begun", "is missing"))?;
    let event = |event: v1::UpdateEvent| {
        let state = name::<UpdateState>("updates.events.state", event.state)?;
        Ok(UpdateEvent { state, at: Timestamp(event.at_ms), author: event.author, message: event.message })
    };
    Ok(Update {
        began: Timestamp(wire.began_ms),
        first_task: TaskId(wire.first_task_id),
        state: name::<UpdateState>("updates.state", wire.state)?,
        advanced: instances_from_wire(&wire.advanced),
        passed: instances_from_wire(&wire.passed),
        gave_up: instances_from_wire(&wire.gave_up),
        failures: wire.failures.iter().map(|of| (of.instance, of.failures)).collect(),
        promoted: wire.promoted,
        group: wire.group,
        pulsed: Timestamp(wire.pulsed_ms),
        progress: Timestamp(wire.progress_ms),
        events: wire.events.into_iter().map(event).collect::<Result<_, WireError>>()?,
        ..update_from_begun(begun)?
    })
}

/// Runs of equal pins.
pub(super) fn pins_to_wire(pins: &BTreeMap<u32, Option<SpecId>>) -> Vec<v1::Before> {
    let mut runs: Vec<v1::Before> = Vec::new();
    for (instance, spec) in pins {
        let spec_id = wire_spec_id(*spec);
        match runs.last_mut() {
            Some(run) if run.last + 1 == *instance && run.spec_id == spec_id => run.last = *instance,
            _ => runs.push(v1::Before { first: *instance, last: *instance, spec_id }),
        }
    }
    runs
}

pub(super) fn changes_from_wire(
    restored: u32,
    pins: &[v1::Before],
    updates: Vec<v1::UpdateSnapshot>,
) -> Result<Changes, WireError> {
    let most = dawn_proto::validate::MAX_INSTANCES;
    let pins = pins.iter().flat_map(|run| (run.first..=run.last.min(most)).map(|at| (at, spec_id(run.spec_id))));
    Ok(Changes {
        restored: (restored > 0).then_some(restored),
        pins: pins.collect(),
        updates: updates.into_iter().map(update_from_snapshot).collect::<Result<_, WireError>>()?,
    })
}

/// Every spec that is pointed to, for the check of a snapshot.
pub(super) fn specs_of_changes(changes: &Changes) -> Vec<SpecId> {
    let active = changes.active();
    let before = active.into_iter().flat_map(|update| update.before.iter().filter_map(|(_, _, spec)| *spec));
    before.chain(active.map(|update| update.to)).chain(changes.pins.values().flatten().copied()).collect()
}

/// An update as clients see it.
pub fn update_view(job: &Job, update: &Update, waits: String, index: u64) -> v1::UpdateInfo {
    v1::UpdateInfo {
        key: Some((&job.key).into()),
        number: update.number,
        kind: update.kind.into(),
        state: update.state.into(),
        from_version: update.from_version,
        to_version: update.to_version,
        author: update.author.clone(),
        message: update.message.clone(),
        began_ms: update.began.0,
        policy: Some(update_policy_to_wire(&update.policy)),
        instances: instances_to_wire(&update.instances),
        done: instances_to_wire(&update.passed),
        failed: instances_to_wire(&update.gave_up),
        active: instances_to_wire(&update.in_progress().collect()),
        events: update.events.iter().map(event_to_wire).collect(),
        waits,
        index,
    }
}
