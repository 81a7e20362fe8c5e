//! The whole state as snapshot chunks, both ways. Equal states have equal bytes.

use std::sync::Arc;

use dawn_proto::v1::{self, Reason, TickOutcome};
use dawn_proto::{Epoch, SpecId, TaskId, TaskState, Timestamp};
use prost::Message;

use super::agent_snapshot::{agent_from_wire, agent_to_wire};
use super::batch::{batch_from_wire, batch_to_wire};
use super::batch::{device_numbers, job_key, name, port_numbers, spec_from_wire, spec_to_wire, with_gaps};
use super::blame::{kept_off_from_wire, kept_off_to_wire};
use super::chunk::{Pieces, chunk, digest_of, in_pieces};
use super::exit_from_wire;
use super::flow::{flow_from_wire, flow_to_wire};
use super::loss::{loss_from_snapshot, loss_snapshot};
use super::restore::{restores_from_wire, restores_to_wire};
use super::update::{changes_from_wire, instances_to_wire, pins_to_wire, specs_of_changes, update_snapshot};
use super::upkeep::{upkeep_from_snapshot, upkeep_snapshot};
use super::view::transition_to_wire;
use super::{WireError, quota_from_wire, quota_to_wire};
use crate::model::bounds::CHUNK_BYTES;
use crate::model::{AgentNo, Ended, Job, JobId, Place, State, Status, Task, Tick, Waiting};
use crate::model::{Transition, Version};

/// Newest snapshot format this version reads.
pub const FORMAT: u32 = 2;

/// What it writes where nothing needs more, so that an older version reads it. The other has chunks in pieces, or parts of
/// a step.
const PLAIN_FORMAT: u32 = 1;

/// The state as encoded `dawn.v1.Snapshot` messages that together make one; the first has the scalars. None is larger than
/// [`CHUNK_BYTES`].
pub fn snapshot_chunks(state: &State) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let specs = state.specs.values().map(|spec| v1::SpecSnapshot {
        spec_id: spec.id.0,
        version: spec.version,
        spec: Some(spec_to_wire(spec)),
        gaps: instances_to_wire(&spec.gaps),
    });
    chunk(&mut chunks, specs, |specs| v1::Snapshot { specs, ..Default::default() });
    chunk(&mut chunks, state.jobs.values().map(job_to_wire), |jobs| v1::Snapshot { jobs, ..Default::default() });
    chunk(&mut chunks, state.tasks.values().map(task_to_wire), |tasks| v1::Snapshot { tasks, ..Default::default() });
    let agents = state.agents.values().map(agent_to_wire);
    chunk(&mut chunks, agents, |agents| v1::Snapshot { agents, ..Default::default() });
    let quotas = state.quotas.iter().map(|(role, quota)| quota_to_wire(role, quota));
    chunk(&mut chunks, quotas, |quotas| v1::Snapshot { quotas, ..Default::default() });
    if let Some(restore) = restores_to_wire(&state.restores) {
        chunks.push(v1::Snapshot { restore: Some(restore), ..Default::default() }.encode_to_vec());
    }
    let upkeep = state.agents.values().filter_map(upkeep_snapshot);
    chunk(&mut chunks, upkeep, |maintenance| v1::Snapshot { maintenance, ..Default::default() });
    if let Some(loss) = loss_snapshot(state) {
        chunks.push(v1::Snapshot { loss: Some(loss), ..Default::default() }.encode_to_vec());
    }
    let parts = state.parts.iter().map(batch_to_wire);
    chunk(&mut chunks, parts, |parts| v1::Snapshot { parts, ..Default::default() });
    let is_plain = state.parts.is_empty() && chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES);
    let head = head(state, if is_plain { PLAIN_FORMAT } else { FORMAT });
    std::iter::once(head).chain(chunks.into_iter().flat_map(in_pieces)).collect()
}

fn head(state: &State, format: u32) -> Vec<u8> {
    let head = v1::Snapshot {
        format,
        index: state.index,
        epoch: state.epoch.0,
        cluster_id: state.cluster_id.clone(),
        at_ms: state.at.0,
        next_task_id: state.next_task.0,
        next_spec_id: state.next_spec.0,
        next_job_id: state.next_job.0,
        next_agent_no: state.next_agent.0,
        ..Default::default()
    };
    head.encode_to_vec()
}

fn job_to_wire(job: &Job) -> v1::JobSnapshot {
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

/// Ascending numbers as inclusive ranges.
fn ranges(numbers: impl Iterator<Item = u32>) -> Vec<v1::InstanceRange> {
    let mut ranges: Vec<v1::InstanceRange> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(range) if range.last.checked_add(1) == Some(number) => range.last = number,
            _ => ranges.push(v1::InstanceRange { first: number, last: number }),
        }
    }
    ranges
}

fn task_to_wire(task: &Task) -> v1::TaskSnapshot {
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

/// A short name for the exact state: equal states have equal digests.
pub fn digest(state: &State) -> u64 {
    digest_of(&snapshot_chunks(state))
}

/// Puts a state together from its chunks, in their order.
#[derive(Debug, Default)]
pub struct StateBuilder {
    state: State,
    /// Of a chunk whose last piece is still to come.
    pieces: Pieces,
}

impl StateBuilder {
    /// Takes the next chunk.
    ///
    /// # Errors
    /// When it does not decode, is of a newer format, or names what is not there.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), WireError> {
        let decode =
            |chunk: &[u8]| v1::Snapshot::decode(chunk).map_err(|error| WireError::new("snapshot", error.to_string()));
        let wire = decode(chunk)?;
        if !wire.piece.is_empty() {
            return match self.pieces.join(wire) {
                Some(whole) => self.take(decode(&whole)?),
                None => Ok(()),
            };
        }
        self.pieces.none_left()?;
        self.take(wire)
    }

    fn take(&mut self, wire: v1::Snapshot) -> Result<(), WireError> {
        if wire.format != 0 {
            self.head(&wire)?;
        }
        for spec in wire.specs {
            let read = spec_from_wire(spec.spec_id, spec.version, spec.spec).map_err(|error| error.within("specs"))?;
            self.state.specs.insert(read.id, Arc::new(with_gaps(read, &spec.gaps)));
        }
        for job in wire.jobs {
            let job = job_from_wire(job).map_err(|error| error.within("jobs"))?;
            self.state.jobs.insert(job.id, job);
        }
        for task in wire.tasks {
            let task = task_from_wire(task).map_err(|error| error.within("tasks"))?;
            self.state.tasks.insert(task.id, task);
        }
        for agent in wire.agents {
            let agent = agent_from_wire(agent).map_err(|error| error.within("agents"))?;
            self.state.agents.insert(agent.no, agent);
        }
        if let Some(restore) = wire.restore {
            self.state.restores = restores_from_wire(restore);
        }
        if let Some(loss) = wire.loss {
            loss_from_snapshot(&mut self.state, loss);
        }
        for planned in wire.maintenance {
            let (agent, upkeep) = upkeep_from_snapshot(planned).map_err(|error| error.within("maintenance"))?;
            if let Some(agent) = self.state.agents.get_mut(&agent) {
                agent.upkeep = upkeep;
            }
        }
        self.state.quotas.extend(wire.quotas.iter().map(|quota| quota_from_wire(Some(quota))));
        for part in wire.parts {
            self.state.parts.push(batch_from_wire(part).map_err(|error| error.within("parts"))?);
        }
        Ok(())
    }

    fn head(&mut self, wire: &v1::Snapshot) -> Result<(), WireError> {
        if wire.format > FORMAT {
            let message = format!("is {}, this version reads up to {FORMAT}; use a newer dawn", wire.format);
            return Err(WireError::new("format", message));
        }
        self.state = State {
            cluster_id: wire.cluster_id.clone(),
            epoch: Epoch(wire.epoch),
            index: wire.index,
            at: Timestamp(wire.at_ms),
            next_task: TaskId(wire.next_task_id),
            next_spec: SpecId(wire.next_spec_id),
            next_job: JobId(wire.next_job_id),
            next_agent: AgentNo(wire.next_agent_no),
            ..State::default()
        };
        Ok(())
    }

    /// The whole state, with its indexes.
    ///
    /// # Errors
    /// When a task or version names what is not there.
    pub fn finish(self) -> Result<State, WireError> {
        self.pieces.none_left()?;
        let state = self.state;
        let has = |spec: SpecId| state.specs.contains_key(&spec);
        for job in state.jobs.values() {
            if let Some(version) = job.versions.iter().find(|version| !has(version.spec)) {
                return Err(WireError::new(job.id.to_string(), format!("its {} is missing", version.spec)));
            }
        }
        for job in state.jobs.values() {
            if let Some(missing) = specs_of_changes(&job.changes).into_iter().find(|spec| !has(*spec)) {
                return Err(WireError::new(job.id.to_string(), format!("its {missing} is missing")));
            }
        }
        for task in state.tasks.values() {
            let placed = task.status.place().map(|place| place.agent);
            let missing = match placed.filter(|_| task.held_on().is_some()) {
                _ if !state.jobs.contains_key(&task.job) => task.job.to_string(),
                _ if !has(task.spec) => task.spec.to_string(),
                Some(agent) if !state.agents.contains_key(&agent) => agent.to_string(),
                _ => continue,
            };
            return Err(WireError::new(task.id.to_string(), format!("its {missing} is missing")));
        }
        Ok(state.reindexed())
    }
}

fn job_from_wire(wire: v1::JobSnapshot) -> Result<Job, WireError> {
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
        tasks: Default::default(),
        slots: Default::default(),
        living: 0,
        window: u32::MAX,
    })
}

fn task_from_wire(wire: v1::TaskSnapshot) -> Result<Task, WireError> {
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
