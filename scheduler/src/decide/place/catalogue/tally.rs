//! How many tasks of a job there are by some small number (an agent's, a rack's): an open-addressing table of u32 to u32.
//! Lookups only, so its inner order is never seen. Not here: what the numbers stand for.

/// No value's number.
const EMPTY: u32 = u32::MAX;

#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Power of two many, or none.
    cells: Vec<(u32, u32)>,
    used: usize,
}

impl Tally {
    /// 8 bytes per key and at least a third of the table free.
    const FIRST: usize = 4;

    fn home(&self, key: u32) -> usize {
        // Fibonacci hashing: numbers in a row are spread over the table.
        let shift = 64 - self.cells.len().trailing_zeros();
        (u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize
    }

    fn find(&self, key: u32) -> usize {
        let mask = self.cells.len() - 1;
        let mut at = self.home(key);
        while self.cells[at].0 != EMPTY && self.cells[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }

    pub fn get(&self, key: u32) -> u32 {
        if self.cells.is_empty() {
            return 0;
        }
        let (found, count) = self.cells[self.find(key)];
        if found == key { count } else { 0 }
    }

    /// Keys with a count above zero.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.used
    }

    pub fn add(&mut self, key: u32) {
        if self.cells.is_empty() {
            self.cells = vec![(EMPTY, 0); Self::FIRST];
        }
        let mut at = self.find(key);
        if self.cells[at].0 == EMPTY {
            if (self.used + 1) * 3 > self.cells.len() * 2 {
                self.grow();
                at = self.find(key);
            }
            self.cells[at] = (key, 0);
            self.used += 1;
        }
        self.cells[at].1 += 1;
    }

    /// # Panics
    /// When the key has no count: somebody took what was never added.
    pub fn take(&mut self, key: u32) {
        assert!(self.get(key) > 0, "tally of {key} would fall below zero");
        let at = self.find(key);
        self.cells[at].1 -= 1;
        if self.cells[at].1 == 0 {
            self.remove(at);
        }
    }

    fn grow(&mut self) {
        let bigger = vec![(EMPTY, 0); self.cells.len() * 2];
        for (key, count) in std::mem::replace(&mut self.cells, bigger) {
            if key != EMPTY {
                let at = self.find(key);
                self.cells[at] = (key, count);
            }
        }
    }

    /// Closes the gap, so that no search ends before its key.
    fn remove(&mut self, mut gap: usize) {
        let mask = self.cells.len() - 1;
        self.used -= 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let (key, _) = self.cells[at];
            if key == EMPTY {
                break;
            }
            let from_home = at.wrapping_sub(self.home(key)) & mask;
            if from_home >= (at.wrapping_sub(gap) & mask) {
                self.cells[gap] = self.cells[at];
                gap = at;
            }
        }
        self.cells[gap] = (EMPTY, 0);
    }

    /// Keys and counts in key order.
    pub fn sorted(&self) -> Vec<(u32, u32)> {
        let mut all: Vec<_> = self.cells.iter().copied().filter(|(key, _)| *key != EMPTY).collect();
        all.sort_unstable();
        all
    }

    pub fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<(u32, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn it_counts_as_a_map_does() {
        let mut random = rand::rngs::SmallRng::seed_from_u64(7);
        let (mut tally, mut map) = (Tally::default(), BTreeMap::new());
        for _ in 0..20_000 {
            let key = random.random_range(0..300);
            if random.random_bool(0.5) {
                tally.add(key);
                *map.entry(key).or_insert(0) += 1;
            } else if let Some(count) = map.get_mut(&key) {
                tally.take(key);
                *count -= 1;
                map.retain(|_, count| *count > 0);
            }
            assert_eq!(tally.get(key), map.get(&key).copied().unwrap_or(0));
            assert_eq!(tally.len(), map.len());
        }
        assert_eq!(tally.sorted(), map.into_iter().collect::<Vec<_>>());
    }
}
