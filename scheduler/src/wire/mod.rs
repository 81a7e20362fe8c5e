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
mod loss;
mod policy;
mod quota;
mod restore;
mod schedule;
mod snapshot;
mod spec;
mod update;
mod upkeep;
mod view;
mod welcome;

use dawn_proto::Resources;
use dawn_proto::v1;

use exit::{exit_from_wire, exit_to_wire};

use crate::model::{Attributes, PortRanges};

pub use agent::{held_tasks, offer, registration, report};
pub use batch::{batch_from_wire, batch_to_wire};
pub use chunk::{Digest, digest_of};
pub use entry::journal_entries;
pub use flow::{Arguments, dispatched_key, dispatched_spec};
pub use inspect::inspection;
pub use policy::update_policy;
pub use quota::{bounds_from_wire, quota_from_wire, quota_to_wire};
pub use restore::description;
pub use schedule::parse_schedule;
pub use snapshot::{StateBuilder, digest, snapshot_chunks};
pub use spec::{brought_spec, parse_job_spec, stored_job_spec};
pub use update::{instances_to_wire, update_view};
pub use upkeep::upkeep_to_wire;
pub use view::{assigned_devices, assigned_ports, node_view, task_view};

/// A message that can't be what it claims. `path` names the field (`records[3].task_made.job_id`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct WireError {
    pub path: String,
    pub message: String,
}

impl WireError {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        WireError { path: path.into(), message: message.into() }
    }

    /// The same error seen from the message that holds this one.
    fn within(self, outer: &str) -> Self {
        WireError { path: format!("{outer}.{}", self.path), message: self.message }
    }
}

fn attributes_to_wire(attributes: &Attributes) -> Vec<v1::Attribute> {
    attributes.iter().map(|(name, values)| v1::Attribute { name: name.clone(), values: values.clone() }).collect()
}

fn ports_to_wire(ports: &PortRanges) -> Vec<v1::PortRange> {
    ports.iter().map(|(first, last)| v1::PortRange { first: u32::from(*first), last: u32::from(*last) }).collect()
}

/// Values sorted, without repeats; a name given twice has the values of both.
fn attributes_from_wire(wire: &[v1::Attribute]) -> Attributes {
    let mut attributes = Attributes::new();
    for attribute in wire {
        attributes.entry(attribute.name.clone()).or_default().extend(attribute.values.iter().cloned());
    }
    for values in attributes.values_mut() {
        values.sort_unstable();
        values.dedup();
    }
    attributes
}

/// What agents take that do not say how many tasks they run at once: those before there was such a field.
const MAX_TASKS_WHEN_ABSENT: u32 = 5_000;

fn max_tasks_from_wire(max_tasks: Option<u32>) -> u32 {
    max_tasks.unwrap_or(MAX_TASKS_WHEN_ABSENT)
}

/// Sorted and joined where they touch.
fn ports_from_wire(wire: &[v1::PortRange]) -> Result<PortRanges, WireError> {
    let mut ranges = Vec::with_capacity(wire.len());
    for (i, range) in wire.iter().enumerate() {
        let port = |number: u32| u16::try_from(number).ok().filter(|port| *port > 0);
        match (port(range.first), port(range.last)) {
            (Some(first), Some(last)) if first <= last => ranges.push((first, last)),
            _ => {
                let message = format!("{}-{} is no range of ports 1-65535", range.first, range.last);
                return Err(WireError::new(format!("ports[{i}]"), message));
            }
        }
    }
    ranges.sort_unstable();
    let mut joined: PortRanges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if u32::from(first) <= u32::from(before.1) + 1 => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    Ok(joined)
}

fn resources_from_wire(wire: Option<&v1::Resources>) -> Resources {
    wire.map(Resources::from).unwrap_or_default()
}

fn port_number(path: &str, number: u32) -> Result<u16, WireError> {
    u16::try_from(number).map_err(|_| WireError::new(path, format!("{number} is no port number")))
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
