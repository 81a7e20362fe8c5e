//! Amounts of what a task takes and an agent has, and their arithmetic. The kinds of resource are one list, `Dimension`, that
//! every loop goes by. A new kind is a variant here with its words, a field of `Resources`, and its fields in the messages.
//! Not here: ports, which are numbers rather than amounts.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, IndexMut};

use crate::{amounts, v1};

/// A kind of resource that has a field of its own. Not here: the operator's own scalars, which go by names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    Cpu,
    Memory,
    Disk,
    Gpu,
}

/// In what a dimension is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a thing: "8 cpus".
    Milli,
    /// "512 MiB of memory".
    Bytes,
}

impl Dimension {
    pub const ALL: [Dimension; 4] = [Dimension::Cpu, Dimension::Memory, Dimension::Disk, Dimension::Gpu];
    pub const COUNT: usize = Dimension::ALL.len();

    /// Its words: the name that people read and write, its field in messages, and in what it is counted.
    const fn words(self) -> (&'static str, &'static str, Unit) {
        match self {
            Dimension::Cpu => ("cpu", "cpu_milli", Unit::Milli),
            Dimension::Memory => ("memory", "memory_bytes", Unit::Bytes),
            Dimension::Disk => ("disk", "disk_bytes", Unit::Bytes),
            Dimension::Gpu => ("gpu", "gpu_milli", Unit::Milli),
        }
    }

    pub const fn name(self) -> &'static str {
        self.words().0
    }

    pub const fn field(self) -> &'static str {
        self.words().1
    }

    pub const fn unit(self) -> Unit {
        self.words().2
    }

    pub fn named(name: &str) -> Option<Dimension> {
        Dimension::ALL.into_iter().find(|dimension| dimension.name() == name)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Unit {
    /// Of what a dimension or a scalar of the operator's is called.
    pub fn of_name(name: &str) -> Unit {
        Dimension::named(name).map_or(Unit::Milli, Dimension::unit)
    }

    /// An amount as people write it in job files.
    pub fn text(self, amount: u64) -> String {
        match self {
            Unit::Milli => amounts::thousandths(amount),
            Unit::Bytes => amounts::bytes(amount),
        }
    }
}

/// One value for each dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct ByDimension<T>([T; Dimension::COUNT]);

impl<T> ByDimension<T> {
    /// The same for each.
    pub const fn all(value: T) -> Self
    where
        T: Copy,
    {
        ByDimension([value; Dimension::COUNT])
    }

    #[inline]
    pub fn from_fn(mut value: impl FnMut(Dimension) -> T) -> Self {
        ByDimension(Dimension::ALL.map(&mut value))
    }

    /// Those that are named, and of the others nothing.
    pub fn only<const N: usize>(named: [(Dimension, T); N]) -> Self
    where
        T: Default,
    {
        let mut all = Self::from_fn(|_| T::default());
        named.into_iter().for_each(|(dimension, value)| all[dimension] = value);
        all
    }

    #[inline]
    pub fn map<U>(self, value: impl FnMut(T) -> U) -> ByDimension<U> {
        ByDimension(self.0.map(value))
    }

    #[inline]
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    #[inline]
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    /// Each beside its dimension.
    pub fn pairs(&self) -> impl Iterator<Item = (Dimension, &T)> {
        Dimension::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Dimension> for ByDimension<T> {
    type Output = T;

    #[inline]
    fn index(&self, dimension: Dimension) -> &T {
        &self.0[dimension as usize]
    }
}

impl<T> IndexMut<Dimension> for ByDimension<T> {
    #[inline]
    fn index_mut(&mut self, dimension: Dimension) -> &mut T {
        &mut self.0[dimension as usize]
    }
}

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
    /// The name of a dimension, or of a custom scalar.
    pub dimension: String,
    pub need: u64,
    pub have: u64,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |amount| Unit::of_name(&self.dimension).text(amount);
        write!(f, "{}: needs {}, has {}", self.dimension, text(self.need), text(self.have))
    }
}

/// Resources and their messages by dimension: the one place that knows which field is whose.
macro_rules! by_dimension {
    ($of:ty, $amount:ty) => {
        impl $of {
            pub fn amount(&self, dimension: Dimension) -> $amount {
                match dimension {
                    Dimension::Cpu => self.cpu_milli,
                    Dimension::Memory => self.memory_bytes,
                    Dimension::Disk => self.disk_bytes,
                    Dimension::Gpu => self.gpu_milli,
                }
            }

            pub fn amount_mut(&mut self, dimension: Dimension) -> &mut $amount {
                match dimension {
                    Dimension::Cpu => &mut self.cpu_milli,
                    Dimension::Memory => &mut self.memory_bytes,
                    Dimension::Disk => &mut self.disk_bytes,
                    Dimension::Gpu => &mut self.gpu_milli,
                }
            }

            pub fn amounts(&self) -> ByDimension<$amount> {
                ByDimension::from_fn(|dimension| self.amount(dimension))
            }
        }

        impl From<&ByDimension<$amount>> for $of {
            fn from(amounts: &ByDimension<$amount>) -> Self {
                let mut all = Self::default();
                amounts.pairs().for_each(|(dimension, amount)| *all.amount_mut(dimension) = *amount);
                all
            }
        }
    };
}

by_dimension!(Resources, u64);
by_dimension!(v1::Resources, u64);
by_dimension!(v1::QuotaBounds, Option<u64>);

impl Resources {
    /// The first dimension in which `demand` does not fit, if any.
    pub fn lacks(&self, demand: &Resources) -> Option<Lack> {
        let lack = |dimension: &str, need: u64, have: u64| {
            (need > have).then(|| Lack { dimension: dimension.into(), need, have })
        };
        let of = |dimension: Dimension| lack(dimension.name(), demand.amount(dimension), self.amount(dimension));
        Dimension::ALL.into_iter().find_map(of).or_else(|| {
            demand
                .custom_milli
                .iter()
                .find_map(|(name, need)| lack(name, *need, self.custom_milli.get(name).copied().unwrap_or(0)))
        })
    }

    pub fn fits(&self, demand: &Resources) -> bool {
        Dimension::ALL.into_iter().all(|dimension| self.amount(dimension) >= demand.amount(dimension))
            && demand
                .custom_milli
                .iter()
                .all(|(name, need)| self.custom_milli.get(name).is_some_and(|have| have >= need))
    }

    /// Adds in place; saturates.
    pub fn add(&mut self, other: &Resources) {
        for dimension in Dimension::ALL {
            let sum = self.amount(dimension).saturating_add(other.amount(dimension));
            *self.amount_mut(dimension) = sum;
        }
        for (name, amount) in &other.custom_milli {
            let entry = self.custom_milli.entry(name.clone()).or_default();
            *entry = entry.saturating_add(*amount);
        }
    }

    /// Takes away in place; a dimension that has less becomes zero.
    pub fn take(&mut self, other: &Resources) {
        for dimension in Dimension::ALL {
            let left = self.amount(dimension).saturating_sub(other.amount(dimension));
            *self.amount_mut(dimension) = left;
        }
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
        let custom = wire.custom_milli.iter().filter(|(_, amount)| **amount > 0);
        let custom_milli = custom.map(|(name, amount)| (name.clone(), *amount)).collect();
        Resources { custom_milli, ..Resources::from(&wire.amounts()) }
    }
}

impl From<&Resources> for v1::Resources {
    fn from(own: &Resources) -> Self {
        v1::Resources { custom_milli: own.custom_milli.clone(), ..v1::Resources::from(&own.amounts()) }
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

    #[test]
    fn dimensions_are_listed_in_their_order_and_go_by_different_names() {
        for (at, dimension) in Dimension::ALL.into_iter().enumerate() {
            assert_eq!(dimension as usize, at);
            assert_eq!(Dimension::named(dimension.name()), Some(dimension));
        }
        assert_eq!((Unit::of_name("disk"), Unit::of_name("licence")), (Unit::Bytes, Unit::Milli));
    }
}
