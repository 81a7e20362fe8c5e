//! The wire contract `dawn.v1` and the few value types both ends must agree on.
//! Not here: anything that decides; it imports nothing of Dawn's.

#![warn(clippy::expect_used, clippy::unwrap_used)]

#[allow(clippy::all, missing_docs)]
pub mod v1 {
    tonic::include_proto!("dawn.v1");
}

/// What `v1` is made from, an encoded `google.protobuf.FileDescriptorSet`: for showing messages field by field.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dawn.v1.bin"));

pub mod amounts;
mod clients;
mod cpu_share;
mod encoded_spec;
pub mod errors;
pub mod fields;
mod frame;
mod held_digest;
mod ids;
mod job_kind;
pub mod names;
mod resources;
mod task_state;
mod time;
pub mod validate;
pub mod words;

pub use clients::Clients;
pub use cpu_share::CpuShare;
pub use encoded_spec::EncodedSpec;
pub use frame::{FrameError, read_frame, write_frame};
pub use held_digest::HeldDigest;
pub use ids::{AgentId, Epoch, JobKey, JobKeyError, SpecId, TaskId};
pub use resources::{ByDimension, Dimension, Lack, Resources, Unit};
pub use time::Timestamp;
pub use v1::TaskState;
