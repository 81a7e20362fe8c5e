//! How much of the journal is written, queued and kept at once, in bytes. What waits in number is bounded where it waits.
//! Not here: what a job's spec and an agent's registration may hold (the proto crate's `validate`).

/// Most bytes of one step: its batch as it is encoded, neither compressed nor with the journal's own framing. etcd takes
/// requests of 1.5 MiB unless told otherwise, and the largest spec (1 MiB) with what is decided about it fits.
pub const STEP_BYTES: usize = 5 << 18;

/// Most bytes of one segment in etcd and of one group in the embedded journal, unpacked. As large as a step, so that every
/// step fits into one; both are cut between steps only.
pub const SEGMENT_BYTES: usize = STEP_BYTES;

/// Most bytes of one value that is put into etcd: a segment or a part of a snapshot that does not shrink, with its header.
/// The transaction's keys and guards come on top; they have less than 4 KiB together.
pub const VALUE_BYTES: usize = SEGMENT_BYTES + 64;

/// Most bytes of one piece of a snapshot, unpacked: it is put into etcd by itself, as a segment is.
pub const CHUNK_BYTES: usize = SEGMENT_BYTES;

/// Most bytes of one command's decision, which is written in parts when it is larger than a step: a run of 100,000 tasks
/// that forgets one as large has 10 MiB. The leader, its followers and whoever replays hold it in memory as a whole.
pub const DECISION_BYTES: usize = 32 << 20;

/// Most agents of a cluster, those that are silent and not forgotten included.
pub const AGENTS: usize = 100_000;

/// Most bytes of what all agents offer together: attributes, ports and amounts, as they are stored. The state, each copy of it
/// and each snapshot holds them.
pub const OFFERED_BYTES: usize = 256 << 20;

/// Most bytes of clients' commands that wait to be decided: thirty of the largest.
pub const COMMAND_QUEUE_BYTES: usize = 32 << 20;

/// Most bytes of agents' messages that wait to be decided: four of the largest.
pub const LINK_QUEUE_BYTES: usize = 64 << 20;
