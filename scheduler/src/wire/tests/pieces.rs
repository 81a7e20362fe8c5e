//! Snapshots of what is too large for a chunk: what old journals hold, and parts of a step.

use dawn_proto::v1;
use prost::Message;

use super::super::sample::{noise, story};
use super::super::*;
use crate::model::bounds::CHUNK_BYTES;
use crate::model::{AgentSeen, Mutation, Part, State};

fn formats(chunks: &[Vec<u8>]) -> u32 {
    v1::Snapshot::decode(&*chunks[0]).unwrap().format
}

fn built(chunks: &[Vec<u8>]) -> Result<State, WireError> {
    let mut builder = StateBuilder::default();
    chunks.iter().try_for_each(|chunk| builder.add(chunk))?;
    builder.finish()
}

/// An agent as versions without bounds took it.
fn with_large_agent() -> State {
    let (_, mut state) = story(3, 60);
    let agent = state.agents.values().next().unwrap().clone();
    let seen = Mutation::AgentSeen(Box::new(AgentSeen {
        agent: agent.no,
        id: agent.id,
        hostname: "h".repeat(1 << 20),
        version: agent.version,
        isolation: agent.isolation,
        boot_id: noise(1, 15 << 20),
        total: agent.total,
        attributes: agent.attributes,
        ports: agent.ports,
        offer_epoch: agent.offer_epoch,
        max_tasks: agent.max_tasks,
        taken_ports: agent.taken_ports,
    }));
    state.apply_one(&seen, state.at);
    state
}

#[test]
fn an_item_that_is_too_large_for_a_chunk_is_written_in_pieces_and_whole_again_when_read() {
    let state = with_large_agent();
    let chunks = snapshot_chunks(&state);
    assert!(chunks.len() > 12 && chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
    assert_eq!(formats(&chunks), 2, "an older version refuses it");
    assert_eq!(digest(&built(&chunks).unwrap()), digest(&state));
    let last = chunks.iter().rposition(|chunk| !v1::Snapshot::decode(&**chunk).unwrap().piece.is_empty()).unwrap();
    let without = |at: usize| {
        let rest = chunks.iter().enumerate().filter(|(number, _)| *number != at);
        built(&rest.map(|(_, chunk)| chunk.clone()).collect::<Vec<_>>())
    };
    assert!(without(last).is_err() && without(last - 1).is_err());
}

#[test]
fn a_state_that_needs_no_more_is_written_as_older_versions_read_it() {
    let (_, state) = story(3, 60);
    assert_eq!(formats(&snapshot_chunks(&state)), 1);
}

#[test]
fn parts_of_a_step_are_in_a_snapshot_and_an_older_version_refuses_it() {
    let (batches, mut state) = story(3, 60);
    let part = Some(Part { number: 1, of: 2 });
    let mut batch = crate::model::Batch::clone(&batches[0]);
    (batch.index, batch.part, batch.epoch) = (state.index + 1, part, state.epoch);
    let before = state.clone();
    state.apply(&batch);
    let chunks = snapshot_chunks(&state);
    assert_eq!(formats(&chunks), 2);
    let restored = built(&chunks).unwrap();
    assert_eq!(format!("{restored:?}"), format!("{state:?}"));
    assert_eq!((restored.parts.len(), restored.tasks.len()), (1, before.tasks.len()));
}
