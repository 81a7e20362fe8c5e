//! The whole state as snapshot chunks, both ways. Equal states have equal bytes.

use std::sync::Arc;

use dawn_proto::v1;
use dawn_proto::{Epoch, SpecId, TaskId, Timestamp};
use prost::Message;

use super::agent_snapshot::{agent_from_wire, agent_to_wire};
use super::batch::{batch_from_wire, batch_to_wire};
use super::chunk::{Pieces, chunk, digest_of, in_pieces};
use super::job::{job_from_wire, job_to_wire};
use super::loss::{loss_from_snapshot, loss_snapshot};
use super::parse::WireError;
use super::quota::{quota_from_wire, quota_to_wire};
use super::restore::{restores_from_wire, restores_to_wire};
use super::stored_spec::{spec_from_wire, spec_to_wire, with_gaps};
use super::task::{task_from_wire, task_to_wire};
use super::update::{instances_to_wire, specs_of_changes};
use super::upkeep::{upkeep_from_snapshot, upkeep_snapshot};
use crate::model::bounds::CHUNK_BYTES;
use crate::model::{AgentNo, JobId, State, Truth};

/// Newest snapshot format this version reads.
pub const FORMAT: u32 = 2;

/// What it writes where nothing needs more, so that an older version reads it. The other has chunks in pieces, or parts of
/// a step.
const PLAIN_FORMAT: u32 = 1;

/// The state as encoded `dawn.v1.Snapshot` messages that together make one; the first has the scalars. None is larger than
/// [`CHUNK_BYTES`].
pub fn snapshot_chunks(state: &Truth) -> Vec<Vec<u8>> {
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

fn head(state: &Truth, format: u32) -> Vec<u8> {
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

/// A short name for the exact state: equal states have equal digests.
pub fn digest(state: &Truth) -> u64 {
    digest_of(&snapshot_chunks(state))
}

/// Puts a state together from its chunks, in their order.
#[derive(Debug, Default)]
pub struct StateBuilder {
    state: Truth,
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
        self.state = Truth {
            cluster_id: wire.cluster_id.clone(),
            epoch: Epoch(wire.epoch),
            index: wire.index,
            at: Timestamp(wire.at_ms),
            next_task: TaskId(wire.next_task_id),
            next_spec: SpecId(wire.next_spec_id),
            next_job: JobId(wire.next_job_id),
            next_agent: AgentNo(wire.next_agent_no),
            ..Truth::default()
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
        Ok(State::of(state))
    }
}
