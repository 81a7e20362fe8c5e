//! A set of a job's instances, kept as ranges: most sets that people and updates make are few of them.

use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// Inclusive, ascending, not touching each other.
    ranges: Vec<(u32, u32)>,
    /// Instances in all of them.
    count: usize,
}

impl Instances {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Whether one of them is in the range.
    pub fn has_any(&self, first: u32, last: u32) -> bool {
        let at = self.ranges.partition_point(|(_, end)| *end < first);
        first <= last && self.ranges.get(at).is_some_and(|(begin, _)| *begin <= last)
    }

    /// The lowest number above all of them.
    pub fn bound(&self) -> u32 {
        self.ranges.last().map_or(0, |(_, last)| last.saturating_add(1))
    }

    /// The range that has the instance, or where one that had it would stand.
    fn find(&self, instance: u32) -> Result<usize, usize> {
        let at = self.ranges.partition_point(|(_, last)| *last < instance);
        if self.ranges.get(at).is_some_and(|(first, _)| *first <= instance) { Ok(at) } else { Err(at) }
    }

    pub fn contains(&self, instance: u32) -> bool {
        self.find(instance).is_ok()
    }

    pub fn insert(&mut self, instance: u32) {
        let Err(at) = self.find(instance) else { return };
        self.count += 1;
        let follows = at > 0 && self.ranges[at - 1].1 + 1 == instance;
        let precedes = self.ranges.get(at).is_some_and(|(first, _)| instance + 1 == *first);
        match (follows, precedes) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = instance,
            (false, true) => self.ranges[at].0 = instance,
            (false, false) => self.ranges.insert(at, (instance, instance)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }
}

/// As people write them: "0-2, 5"; of many ranges the first ones.
impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (at, (first, last)) in self.ranges.iter().take(SHOWN).enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        if self.ranges.len() > SHOWN { write!(f, ", …, {}", self.bound() - 1) } else { Ok(()) }
    }
}

impl FromIterator<u32> for Instances {
    fn from_iter<T: IntoIterator<Item = u32>>(all: T) -> Self {
        let mut instances = Instances::default();
        all.into_iter().for_each(|instance| instances.insert(instance));
        instances
    }
}

impl Extend<u32> for Instances {
    fn extend<T: IntoIterator<Item = u32>>(&mut self, all: T) {
        all.into_iter().for_each(|instance| self.insert(instance));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn they_are_written_as_people_write_them() {
        let written = |numbers: &[u32]| numbers.iter().copied().collect::<Instances>().to_string();
        assert_eq!(written(&[]), "");
        assert_eq!(written(&[4, 1, 0, 2, 7, 8]), "0-2, 4, 7-8");
        assert_eq!(written(&[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]), "0, 2, 4, 6, 8, 10, 12, 14, …, 18");
    }

    #[test]
    fn ranges_are_the_set_whatever_the_order() {
        let numbers = [5, 3, 4, 9, 1, 9, 0, 2, 7, 8];
        let (mut instances, mut set) = (Instances::default(), BTreeSet::new());
        for number in numbers {
            instances.insert(number);
            set.insert(number);
            assert!(instances.iter().eq(set.iter().copied()), "{instances:?}");
            assert_eq!(instances.len(), set.len());
            assert!((0..12).all(|number| instances.contains(number) == set.contains(&number)), "{instances:?}");
        }
        assert_eq!(instances.ranges(), [(0, 5), (7, 9)]);
    }
}
