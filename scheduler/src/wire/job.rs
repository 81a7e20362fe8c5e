//! Jobs: what the journal says of them, and as they are in snapshots.

use std::sync::Arc;

use dawn_proto::v1::{self, TickOutcome};
use dawn_proto::{SpecId, Timestamp};

use super::blame::{kept_off_from_wire, kept_off_to_wire};
use super::flow::{flow_from_wire, flow_to_wire};
use super::parse::{WireError, job_key, name, ranges};
use super::record::Recorded;
use super::stored_spec::{spec_from_wire, spec_to_wire, with_gaps};
use super::update::{changes_from_wire, instances_to_wire, pins_to_wire, update_snapshot};
use crate::model::{
    Ended, InstancesStopped, Job, JobEnded, JobForgotten, JobId, JobMade, JobSettled, JobVersioned, Tick, Ticked,
    Version,
};

impl Recorded for JobMade {
    type Wire = v1::JobMade;

    fn to_wire(&self) -> v1::JobMade {
        v1::JobMade { job_id: self.job.0, key: Some((&self.key).into()) }
    }

    fn from_wire(made: v1::JobMade) -> Result<Self, WireError> {
        Ok(JobMade { job: JobId(made.job_id), key: job_key(made.key.as_ref())? })
    }
}

impl Recorded for JobVersioned {
    type Wire = v1::JobVersioned;

    fn to_wire(&self) -> v1::JobVersioned {
        v1::JobVersioned {
            job_id: self.job.0,
            spec_id: self.spec.id.0,
            version: self.spec.version,
            spec: Some(spec_to_wire(&self.spec)),
            author: self.author.clone(),
            message: self.message.clone(),
            gaps: instances_to_wire(&self.spec.gaps),
        }
    }

    fn from_wire(made: v1::JobVersioned) -> Result<Self, WireError> {
        let spec = with_gaps(spec_from_wire(made.spec_id, made.version, made.spec)?, &made.gaps);
        Ok(JobVersioned { job: JobId(made.job_id), spec: Arc::new(spec), author: made.author, message: made.message })
    }
}

impl Recorded for JobEnded {
    type Wire = v1::JobEnded;

    fn to_wire(&self) -> v1::JobEnded {
        let (author, message) = (self.author.clone(), self.message.clone());
        v1::JobEnded { job_id: self.job.0, author, message, not_needed: self.not_needed }
    }

    fn from_wire(ended: v1::JobEnded) -> Result<Self, WireError> {
        let v1::JobEnded { job_id, author, message, not_needed } = ended;
        Ok(JobEnded { job: JobId(job_id), author, message, not_needed })
    }
}

impl Recorded for InstancesStopped {
    type Wire = v1::InstancesStopped;

    fn to_wire(&self) -> v1::InstancesStopped {
        let range = |(first, last): &(u32, u32)| v1::InstanceRange { first: *first, last: *last };
        v1::InstancesStopped { job_id: self.job.0, instances: self.instances.iter().map(range).collect() }
    }

    fn from_wire(stopped: v1::InstancesStopped) -> Result<Self, WireError> {
        let instances = stopped.instances.iter().map(|range| (range.first, range.last)).collect();
        Ok(InstancesStopped { job: JobId(stopped.job_id), instances })
    }
}

impl Recorded for JobSettled {
    type Wire = v1::JobSettled;

    fn to_wire(&self) -> v1::JobSettled {
        v1::JobSettled { job_id: self.job.0, to: self.to }
    }

    fn from_wire(settled: v1::JobSettled) -> Result<Self, WireError> {
        Ok(JobSettled { job: JobId(settled.job_id), to: settled.to })
    }
}

impl Recorded for JobForgotten {
    type Wire = v1::JobForgotten;

    fn to_wire(&self) -> v1::JobForgotten {
        v1::JobForgotten { job_id: self.job.0 }
    }

    fn from_wire(forgotten: v1::JobForgotten) -> Result<Self, WireError> {
        Ok(JobForgotten { job: JobId(forgotten.job_id) })
    }
}

impl Recorded for Ticked {
    type Wire = v1::Ticked;

    fn to_wire(&self) -> v1::Ticked {
        v1::Ticked { job_id: self.job.0, scheduled_ms: self.scheduled.0, outcome: self.outcome.into() }
    }

    fn from_wire(ticked: v1::Ticked) -> Result<Self, WireError> {
        Ok(Ticked {
            job: JobId(ticked.job_id),
            scheduled: Timestamp(ticked.scheduled_ms),
            outcome: name::<TickOutcome>("outcome", ticked.outcome)?,
        })
    }
}

pub(super) fn job_to_wire(job: &Job) -> v1::JobSnapshot {
    let ended = job.ended.as_ref();
    let version = |version: &Version| v1::VersionSnapshot {
        version: version.version,
        spec_id: version.spec.0,
        at_ms: version.at.0,
        author: version.author.clone(),
        message: version.message.clone(),
        unproven: !version.was_healthy,
        replaces: version.replaces,
    };
    let tick = |tick: &Tick| v1::Tick {
        scheduled_ms: tick.scheduled.0,
        decided_ms: tick.decided.0,
        outcome: tick.outcome.into(),
    };
    v1::JobSnapshot {
        job_id: job.id.0,
        key: Some((&job.key).into()),
        versions: job.versions.iter().map(version).collect(),
        created_ms: job.created.0,
        ended_ms: ended.map_or(0, |ended| ended.at.0),
        ended_by: ended.map(|ended| ended.by.clone()).unwrap_or_default(),
        ended_message: ended.map(|ended| ended.message.clone()).unwrap_or_default(),
        ended_not_needed: ended.is_some_and(|ended| ended.not_needed),
        ticks: job.ticks.iter().map(tick).collect(),
        stopped: ranges(job.stopped.iter().copied()),
        settled: job.settled,
        flow: flow_to_wire(&job.flow),
        updates: job.changes.updates.iter().map(update_snapshot).collect(),
        restored_version: job.changes.restored.unwrap_or(0),
        pins: pins_to_wire(&job.changes.pins),
        kept_off: job.kept_off.iter().map(|kept| kept_off_to_wire(job.id, kept)).collect(),
    }
}

pub(super) fn job_from_wire(wire: v1::JobSnapshot) -> Result<Job, WireError> {
    let ended = Ended {
        at: Timestamp(wire.ended_ms),
        by: wire.ended_by,
        message: wire.ended_message,
        not_needed: wire.ended_not_needed,
    };
    let version = |version: v1::VersionSnapshot| Version {
        version: version.version,
        spec: SpecId(version.spec_id),
        at: Timestamp(version.at_ms),
        author: version.author,
        message: version.message,
        was_healthy: !version.unproven,
        replaces: version.replaces,
    };
    let tick = |tick: v1::Tick| {
        let outcome = name::<TickOutcome>("ticks.outcome", tick.outcome)?;
        Ok(Tick { scheduled: Timestamp(tick.scheduled_ms), decided: Timestamp(tick.decided_ms), outcome })
    };
    Ok(Job {
        id: JobId(wire.job_id),
        key: job_key(wire.key.as_ref())?,
        created: Timestamp(wire.created_ms),
        versions: wire.versions.into_iter().map(version).collect(),
        ended: (wire.ended_ms != 0).then_some(ended),
        ticks: wire.ticks.into_iter().map(tick).collect::<Result<_, WireError>>()?,
        stopped: wire.stopped.iter().flat_map(|range| range.first..=range.last).collect(),
        settled: wire.settled,
        flow: flow_from_wire(wire.flow),
        changes: changes_from_wire(wire.restored_version, &wire.pins, wire.updates)?,
        kept_off: wire.kept_off.iter().map(kept_off_from_wire).collect::<Result<_, _>>()?,
    })
}
