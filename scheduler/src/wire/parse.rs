//! The small parts of messages, both ways, and what is said of one that can't be right.

use dawn_proto::v1::{self, PortHolder};
use dawn_proto::{JobKey, Resources};

use crate::model::{Attributes, PortRanges, TakenPorts};

/// A message that can't be what it claims. `path` names the field (`records[3].task_made.job_id`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct WireError {
    pub path: String,
    pub message: String,
}

impl WireError {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        WireError { path: path.into(), message: message.into() }
    }

    /// The same error seen from the message that holds this one.
    pub(super) fn within(self, outer: &str) -> Self {
        WireError { path: format!("{outer}.{}", self.path), message: self.message }
    }
}

pub(super) fn attributes_to_wire(attributes: &Attributes) -> Vec<v1::Attribute> {
    attributes.iter().map(|(name, values)| v1::Attribute { name: name.clone(), values: values.clone() }).collect()
}

pub(super) fn ports_to_wire(ports: &PortRanges) -> Vec<v1::PortRange> {
    ports.iter().map(|(first, last)| v1::PortRange { first: u32::from(*first), last: u32::from(*last) }).collect()
}

/// Values sorted, without repeats; a name given twice has the values of both.
pub(super) fn attributes_from_wire(wire: &[v1::Attribute]) -> Attributes {
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

pub(super) fn max_tasks_from_wire(max_tasks: Option<u32>) -> u32 {
    max_tasks.unwrap_or(MAX_TASKS_WHEN_ABSENT)
}

/// Sorted and joined where they touch.
pub(super) fn ports_from_wire(wire: &[v1::PortRange]) -> Result<PortRanges, WireError> {
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

pub(super) fn taken_ports_to_wire(taken: &TakenPorts) -> Vec<v1::TakenPort> {
    taken.iter().map(|(port, holder)| v1::TakenPort { port: (*port).into(), holder: (*holder).into() }).collect()
}

/// A holder from a newer agent is one of which nothing is known.
pub(super) fn taken_ports_from_wire(wire: &[v1::TakenPort]) -> Result<TakenPorts, WireError> {
    let read = |(i, taken): (usize, &v1::TakenPort)| {
        let port = port_number(&format!("taken_ports[{i}]"), taken.port)?;
        Ok((port, PortHolder::try_from(taken.holder).unwrap_or(PortHolder::Unspecified)))
    };
    wire.iter().enumerate().map(read).collect()
}

pub(super) fn resources_from_wire(wire: Option<&v1::Resources>) -> Resources {
    wire.map(Resources::from).unwrap_or_default()
}

pub(super) fn port_number(path: &str, number: u32) -> Result<u16, WireError> {
    u16::try_from(number).map_err(|_| WireError::new(path, format!("{number} is no port number")))
}

pub(super) fn port_numbers(ports: &[u32]) -> Result<Box<[u16]>, WireError> {
    ports.iter().map(|port| port_number("ports", *port)).collect()
}

pub(super) fn device_numbers(devices: &[u32]) -> Result<Box<[u16]>, WireError> {
    let number = |device: &u32| {
        u16::try_from(*device).map_err(|_| WireError::new("devices", format!("{device} is no device's number")))
    };
    devices.iter().map(number).collect()
}

pub(super) fn job_key(key: Option<&v1::JobKey>) -> Result<JobKey, WireError> {
    let key = key.ok_or_else(|| WireError::new("key", "is missing"))?;
    JobKey::try_from(key).map_err(|error| WireError::new("key", error.to_string()))
}

pub(super) fn name<E: TryFrom<i32>>(path: &str, value: i32) -> Result<E, WireError> {
    E::try_from(value).map_err(|_| WireError::new(path, format!("{value} is not known to this version")))
}

/// Ascending numbers as inclusive ranges.
pub(super) fn ranges(numbers: impl Iterator<Item = u32>) -> Vec<v1::InstanceRange> {
    let mut ranges: Vec<v1::InstanceRange> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(range) if range.last.checked_add(1) == Some(number) => range.last = number,
            _ => ranges.push(v1::InstanceRange { first: number, last: number }),
        }
    }
    ranges
}
