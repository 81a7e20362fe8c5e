//! Between the wire's messages (`dawn.v1`) and the model, both ways. Not here: bytes, streams, and what is answered.

mod agent;
mod agent_snapshot;
mod batch;
mod blame;
mod chunk;
mod entry;
mod exit;
mod flow;
mod inspect;
mod job;
mod loss;
mod parse;
mod policy;
mod quota;
mod record;
mod restore;
mod schedule;
mod snapshot;
mod spec;
mod steps;
mod stored_spec;
mod task;
mod update;
mod upkeep;
mod view;
mod welcome;

pub use agent::{held_tasks, offer, registration, report};
pub use batch::{batch_from_wire, batch_to_wire};
pub use chunk::{Digest, digest_of};
pub use entry::journal_entries;
pub use flow::{Arguments, dispatched_key, dispatched_spec};
pub use inspect::inspection;
pub use parse::WireError;
pub use policy::update_policy;
pub use quota::{bounds_from_wire, quota_from_wire, quota_to_wire};
pub use restore::description;
pub use schedule::parse_schedule;
pub use snapshot::{StateBuilder, digest, snapshot_chunks};
pub use spec::{brought_spec, parse_job_spec, stored_job_spec};
pub use update::{instances_to_wire, update_view};
pub use upkeep::upkeep_to_wire;
pub use view::{assigned_devices, assigned_ports, node_view, task_view};

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
