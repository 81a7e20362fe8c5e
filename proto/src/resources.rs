//! Amounts of what a task takes and an agent has, and their arithmetic.
//! Not here: ports, which are numbers rather than amounts.

use std::collections::BTreeMap;
use std::fmt;

use crate::{amounts, v1};

/// Amounts by dimension. Missing custom scalars are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of one cpu.
    pub cpu_milli: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// Thousandths of a gpu. As a demand: a multiple of 1000 is whole devices, below 1000 a share of one.
    pub gpu_milli: u64,
    /// By name, in thousandths of the unit; no zero entries.
    pub custom_milli: BTreeMap<String, u64>,
}

/// A dimension that is short, with its numbers in the dimension's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// "cpu", "memory", "disk", "gpu" or a custom scalar's name.
    pub dimension: String,
    pub need: u64,
    pub have: u64,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.dimension.as_str() {
            "memory" | "disk" => amounts::bytes,
            _ => amounts::thousandths,
        };
        write!(f, "{}: needs {}, has {}", self.dimension, text(self.need), text(self.have))
    }
}

impl Resources {
    /// The first dimension in which `demand` does not fit, if any.
    pub fn lacks(&self, demand: &Resources) -> Option<Lack> {
        let lack = |dimension: &str, need: u64, have: u64| {
            (need > have).then(|| Lack { dimension: dimension.into(), need, have })
        };
        lack("cpu", demand.cpu_milli, self.cpu_milli)
            .or_else(|| lack("memory", demand.memory_bytes, self.memory_bytes))
            .or_else(|| lack("disk", demand.disk_bytes, self.disk_bytes))
            .or_else(|| lack("gpu", demand.gpu_milli, self.gpu_milli))
            .or_else(|| {
                demand
                    .custom_milli
                    .iter()
                    .find_map(|(name, need)| lack(name, *need, self.custom_milli.get(name).copied().unwrap_or(0)))
            })
    }

    pub fn fits(&self, demand: &Resources) -> bool {
        self.cpu_milli >= demand.cpu_milli
            && self.memory_bytes >= demand.memory_bytes
            && self.disk_bytes >= demand.disk_bytes
            && self.gpu_milli >= demand.gpu_milli
            && demand
                .custom_milli
                .iter()
                .all(|(name, need)| self.custom_milli.get(name).is_some_and(|have| have >= need))
    }

    /// Adds in place; saturates.
    pub fn add(&mut self, other: &Resources) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.disk_bytes = self.disk_bytes.saturating_add(other.disk_bytes);
        self.gpu_milli = self.gpu_milli.saturating_add(other.gpu_milli);
        for (name, amount) in &other.custom_milli {
            let entry = self.custom_milli.entry(name.clone()).or_default();
            *entry = entry.saturating_add(*amount);
        }
    }

    /// Takes away in place; a dimension that has less becomes zero.
    pub fn take(&mut self, other: &Resources) {
        self.cpu_milli = self.cpu_milli.saturating_sub(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
        self.disk_bytes = self.disk_bytes.saturating_sub(other.disk_bytes);
        self.gpu_milli = self.gpu_milli.saturating_sub(other.gpu_milli);
        for (name, amount) in &other.custom_milli {
            if let Some(entry) = self.custom_milli.get_mut(name) {
                *entry = entry.saturating_sub(*amount);
            }
        }
        self.custom_milli.retain(|_, amount| *amount > 0);
    }
}

impl From<&v1::Resources> for Resources {
    fn from(wire: &v1::Resources) -> Self {
        Resources {
            cpu_milli: wire.cpu_milli,
            memory_bytes: wire.memory_bytes,
            disk_bytes: wire.disk_bytes,
            gpu_milli: wire.gpu_milli,
            custom_milli: wire.custom_milli.iter().filter(|(_, v)| **v > 0).map(|(k, v)| (k.clone(), *v)).collect(),
        }
    }
}

impl From<&Resources> for v1::Resources {
    fn from(own: &Resources) -> Self {
        v1::Resources {
            cpu_milli: own.cpu_milli,
            memory_bytes: own.memory_bytes,
            disk_bytes: own.disk_bytes,
            gpu_milli: own.gpu_milli,
            custom_milli: own.custom_milli.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(cpu: u64, licences: u64) -> Resources {
        Resources {
            cpu_milli: cpu,
            custom_milli: BTreeMap::from([("licence".to_string(), licences)]),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_added_can_be_taken_again() {
        let mut sum = some(500, 1);
        sum.add(&some(250, 2));
        sum.take(&some(250, 2));
        assert_eq!(sum, some(500, 1));
    }

    #[test]
    fn the_first_short_dimension_is_named_with_its_numbers() {
        let have = some(500, 1);
        assert!(have.fits(&some(500, 1)));
        assert_eq!(have.lacks(&some(500, 2)).unwrap().to_string(), "licence: needs 0.002, has 0.001");
        assert!(!have.fits(&some(500, 2)));
        assert!(!Resources::default().fits(&some(0, 1)));
    }
}
