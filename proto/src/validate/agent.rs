//! What an agent may say of itself: bounds of each field of a registration and of an offer, which the agent holds itself to
//! and the scheduler holds it to. Not here: whether it makes sense beside other agents.

use prost::Message;

use super::{FieldError, MAX_CUSTOM, MAX_VALUE_BYTES, MAX_VALUES};
use crate::v1::{HeldTasks, Offer, Register};

/// A name in DNS has at most so many bytes, and the kernel's host name has fewer.
pub const MAX_HOSTNAME_BYTES: usize = 253;
/// The kernel's boot id has 36.
pub const MAX_BOOT_ID_BYTES: usize = 64;
/// Of the agent's program: a version, perhaps with what it was built from.
pub const MAX_VERSION_BYTES: usize = 128;
/// What tasks are kept apart by, in words.
pub const MAX_ISOLATION_BYTES: usize = 256;
/// Clusters are named by 32.
pub const MAX_CLUSTER_ID_BYTES: usize = 64;
pub const MAX_ATTRIBUTES: usize = 256;
/// As long as a name that a constraint may ask for.
pub const MAX_ATTRIBUTE_NAME_BYTES: usize = 63;
/// All attributes of an agent together, encoded: they are part of the state, and of each snapshot, for as long as the node is
/// known.
pub const MAX_ATTRIBUTES_BYTES: usize = 64 << 10;
/// As many as there can be that don't touch each other.
pub const MAX_PORT_RANGES: usize = 1 << 15;
/// Ports of which an offer says that something else has them. More can be left out of its ranges.
pub const MAX_TAKEN_PORTS: usize = 256;
/// Tasks named in one message. An agent holds fewer.
pub const MAX_HELD_TASKS: usize = 100_000;
/// Most bytes of one message between an agent and the scheduler, either way: a registration with the most that an agent
/// holds has 11 MiB.
pub const MAX_LINK_MESSAGE_BYTES: usize = 16 << 20;

fn bytes(path: &str, have: usize, most: usize) -> Result<(), FieldError> {
    bounded(path, have, most, "bytes")
}

fn bounded(path: &str, have: usize, most: usize, what: &str) -> Result<(), FieldError> {
    let message = || format!("{have} {what}; at most {most} are allowed");
    if have > most { Err(FieldError { path: path.to_string(), message: message() }) } else { Ok(()) }
}

/// Holds a registration to its bounds.
///
/// # Errors
/// The first field that is too large, with its size and its bound.
pub fn registration(register: &Register) -> Result<(), FieldError> {
    bytes("hostname", register.hostname.len(), MAX_HOSTNAME_BYTES)?;
    bytes("boot_id", register.boot_id.len(), MAX_BOOT_ID_BYTES)?;
    bytes("version", register.version.len(), MAX_VERSION_BYTES)?;
    bytes("isolation", register.isolation.len(), MAX_ISOLATION_BYTES)?;
    bytes("cluster_id", register.cluster_id.len(), MAX_CLUSTER_ID_BYTES)?;
    bounded("tasks", register.tasks.len(), MAX_HELD_TASKS, "tasks")?;
    register.offer.as_ref().map_or(Ok(()), offer)
}

/// Holds the list of all tasks that an agent holds to its bound.
///
/// # Errors
/// When it is too long, with its length and its bound.
pub fn held_tasks(held: &HeldTasks) -> Result<(), FieldError> {
    bounded("tasks", held.tasks.len(), MAX_HELD_TASKS, "tasks")
}

/// Holds an offer to its bounds.
///
/// # Errors
/// The first field that is too large, with its size and its bound.
pub fn offer(offer: &Offer) -> Result<(), FieldError> {
    bounded("offer.attributes", offer.attributes.len(), MAX_ATTRIBUTES, "attributes")?;
    for (i, attribute) in offer.attributes.iter().enumerate() {
        let path = format!("offer.attributes[{i}]");
        bytes(&format!("{path}.name"), attribute.name.len(), MAX_ATTRIBUTE_NAME_BYTES)?;
        bounded(&format!("{path}.values"), attribute.values.len(), MAX_VALUES, "values")?;
        for (j, value) in attribute.values.iter().enumerate() {
            bytes(&format!("{path}.values[{j}]"), value.len(), MAX_VALUE_BYTES)?;
        }
    }
    let together = offer.attributes.iter().map(Message::encoded_len).sum();
    bytes("offer.attributes", together, MAX_ATTRIBUTES_BYTES)?;
    bounded("offer.ports", offer.ports.len(), MAX_PORT_RANGES, "ranges")?;
    bounded("offer.taken_ports", offer.taken_ports.len(), MAX_TAKEN_PORTS, "ports")?;
    let custom = offer.total.iter().flat_map(|total| &total.custom_milli);
    bounded("offer.total.custom_milli", custom.clone().count(), MAX_CUSTOM, "amounts")?;
    custom.into_iter().try_for_each(|(name, _)| bytes("offer.total.custom_milli", name.len(), MAX_ATTRIBUTE_NAME_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Attribute, PortRange, Resources, TakenPort, TaskReport};

    fn attribute(values: Vec<String>) -> Attribute {
        Attribute { name: "a".repeat(MAX_ATTRIBUTE_NAME_BYTES), values }
    }

    fn largest() -> Register {
        let total = Resources {
            custom_milli: (0..MAX_CUSTOM).map(|n| (format!("{n:063}"), u64::MAX)).collect(),
            ..Resources::default()
        };
        let offer = Offer {
            epoch: u64::MAX,
            total: Some(total),
            attributes: vec![attribute(vec!["v".repeat(MAX_VALUE_BYTES); 200])],
            ports: vec![PortRange { first: 1, last: 1 }; MAX_PORT_RANGES],
            taken_ports: vec![TakenPort::default(); MAX_TAKEN_PORTS],
            ..Offer::default()
        };
        Register {
            hostname: "h".repeat(MAX_HOSTNAME_BYTES),
            boot_id: "b".repeat(MAX_BOOT_ID_BYTES),
            version: "1".repeat(MAX_VERSION_BYTES),
            isolation: "i".repeat(MAX_ISOLATION_BYTES),
            cluster_id: "c".repeat(MAX_CLUSTER_ID_BYTES),
            offer: Some(offer),
            ..Register::default()
        }
    }

    #[test]
    fn the_largest_of_each_field_is_taken_and_one_more_is_named_with_both_sizes() {
        registration(&largest()).unwrap();
        type Change = fn(&mut Register);
        let changes: [(Change, &str, usize); 12] = [
            (|one| one.hostname.push('h'), "hostname: 254 bytes", MAX_HOSTNAME_BYTES),
            (|one| one.boot_id.push('h'), "boot_id: 65 bytes", MAX_BOOT_ID_BYTES),
            (|one| one.version.push('h'), "version: 129 bytes", MAX_VERSION_BYTES),
            (|one| one.isolation.push('h'), "isolation: 257 bytes", MAX_ISOLATION_BYTES),
            (|one| one.cluster_id.push('h'), "cluster_id: 65 bytes", MAX_CLUSTER_ID_BYTES),
            (|one| one.tasks = vec![TaskReport::default(); MAX_HELD_TASKS + 1], "tasks: 100001 tasks", MAX_HELD_TASKS),
            (|one| offered(one).attributes = vec![attribute(vec![]); 257], "offer.attributes: 257", MAX_ATTRIBUTES),
            (
                |one| offered(one).attributes[0].values[1].push('v'),
                "offer.attributes[0].values[1]: 257 bytes",
                MAX_VALUE_BYTES,
            ),
            (
                |one| offered(one).attributes.push(attribute(vec!["v".repeat(200); 200])),
                "offer.attributes: ",
                MAX_ATTRIBUTES_BYTES,
            ),
            (
                |one| offered(one).ports.push(PortRange { first: 1, last: 1 }),
                "offer.ports: 32769 ranges",
                MAX_PORT_RANGES,
            ),
            (
                |one| offered(one).taken_ports.push(TakenPort::default()),
                "offer.taken_ports: 257 ports",
                MAX_TAKEN_PORTS,
            ),
            (
                |one| _ = offered(one).total.get_or_insert_default().custom_milli.insert("more".into(), 1),
                "offer.total.custom_milli: 65 amounts",
                MAX_CUSTOM,
            ),
        ];
        for (change, said, most) in changes {
            let mut register = largest();
            change(&mut register);
            let error = registration(&register).unwrap_err().to_string();
            assert!(error.starts_with(said) && error.contains(&format!("at most {most} ")), "{error}");
        }
    }

    fn offered(register: &mut Register) -> &mut Offer {
        register.offer.get_or_insert_default()
    }
}
