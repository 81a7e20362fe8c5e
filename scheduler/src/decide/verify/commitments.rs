//! What agents are committed to, and what roles hold.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::Tier;
use dawn_proto::{ByDimension, Dimension, Resources};

use super::{Promise, Verified};
use crate::model::{Agent, Bound, State, Task, amount_of};

/// Of one gpu.
const DEVICE_MILLI: u64 = 1000;

pub(super) fn check(state: &State, verified: &mut Verified) {
    for agent in state.agents.values() {
        verified.count(Promise::Commitment);
        let tasks = state.indexes().tasks_on.get(&agent.no).into_iter().flatten().filter_map(|id| state.tasks.get(id));
        fits(state, agent, tasks, verified);
    }
    quotas(state, verified);
}

fn fits<'s>(state: &State, agent: &Agent, tasks: impl Iterator<Item = &'s Task>, verified: &mut Verified) {
    let (mut sum, mut ports) = (Resources::default(), BTreeSet::new());
    let mut devices: BTreeMap<u16, u64> = BTreeMap::new();
    for task in tasks {
        let job = &state.spec_of(task).job;
        sum.add(&job.demand);
        let Some(place) = task.status.place() else { continue };
        let (own_ports, own_devices) = place.numbers(job.ports.len());
        for port in own_ports {
            if !ports.insert(*port) {
                verified.find(Promise::Commitment, format!("{}: port {port} is given twice", agent.id));
            }
        }
        for device in own_devices {
            *devices.entry(*device).or_default() += job.demand.gpu_milli.min(DEVICE_MILLI);
        }
    }
    for (device, taken) in devices.into_iter().filter(|(_, taken)| *taken > DEVICE_MILLI) {
        let text = format!("{}: {taken} thousandths of gpu device {device} are given", agent.id);
        verified.find(Promise::Commitment, text);
    }
    for dimension in Dimension::ALL {
        exceeds(agent, dimension.name(), sum.amount(dimension), agent.total.amount(dimension), verified);
    }
    for (name, taken) in &sum.custom_milli {
        exceeds(agent, name, *taken, agent.total.custom_milli.get(name).copied().unwrap_or(0), verified);
    }
}

fn exceeds(agent: &Agent, dimension: &str, taken: u64, total: u64, verified: &mut Verified) {
    if taken > total {
        let (taken, total) = (amount_of(dimension, taken), amount_of(dimension, total));
        let text = format!("{} is committed to {taken}, it offers {total}", agent.id);
        // A restarted agent offers the disk that is free by then.
        match dimension {
            "disk" => verified.drift(Promise::Commitment, text),
            _ => verified.find(Promise::Commitment, text),
        }
    }
}

/// A quota may be set below what is in use: nothing is stopped for it.
fn quotas(state: &State, verified: &mut Verified) {
    let mut held: BTreeMap<&str, [ByDimension<u64>; 2]> = BTreeMap::new();
    for task in state.indexes().tasks_on.values().flatten().filter_map(|id| state.tasks.get(id)) {
        let job = &state.spec_of(task).job;
        let [production, all] = held.entry(job.key.role()).or_default();
        for dimension in Dimension::ALL {
            let amount = job.demand.amount(dimension);
            all[dimension] = all[dimension].saturating_add(amount);
            if job.tier == Tier::Production {
                production[dimension] = production[dimension].saturating_add(amount);
            }
        }
    }
    for (role, [production, all]) in held {
        let quota = state.quota_of(role);
        verified.count(Promise::Constraint);
        for (bound, used) in [(Bound::Guarantee, production), (Bound::Limit, all)] {
            for (dimension, most) in quota.bounds(bound).pairs().filter(|(dimension, most)| used[*dimension] > *most) {
                let text = |amount| amount_of(dimension.name(), amount);
                let (used, most) = (text(used[dimension]), text(most));
                verified.drift(Promise::Constraint, format!("role {role} holds {used}, its {bound} is {most}"));
            }
        }
    }
}
