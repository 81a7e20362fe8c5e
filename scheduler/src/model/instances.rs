//! A set of a job's instances, kept as ranges: most sets that people and updates make are few of them.

/// Inclusive ranges, ascending, not touching each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instances(Vec<(u32, u32)>);

impl Instances {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|(first, last)| (last - first) as usize + 1).sum()
    }

    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// The range that has the instance, or where one that had it would stand.
    fn find(&self, instance: u32) -> Result<usize, usize> {
        let at = self.0.partition_point(|(_, last)| *last < instance);
        if self.0.get(at).is_some_and(|(first, _)| *first <= instance) { Ok(at) } else { Err(at) }
    }

    pub fn contains(&self, instance: u32) -> bool {
        self.find(instance).is_ok()
    }

    pub fn insert(&mut self, instance: u32) {
        let Err(at) = self.find(instance) else { return };
        let follows = at > 0 && self.0[at - 1].1 + 1 == instance;
        let precedes = self.0.get(at).is_some_and(|(first, _)| instance + 1 == *first);
        match (follows, precedes) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = instance,
            (false, true) => self.0[at].0 = instance,
            (false, false) => self.0.insert(at, (instance, instance)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
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
