//! A map by numbers that are given out in order: what a BTreeMap does, in less memory and time. Values lie in blocks of 64
//! neighbouring numbers, without holes. A copy shares all blocks, and either side copies a block before it changes it: so a
//! copy of a million tasks takes no time, and what does not change is held once.

use std::collections::{BTreeMap, btree_map};
use std::iter::{FlatMap, Map};
use std::ops::{Bound, Index, RangeBounds};
use std::slice;
use std::sync::Arc;

use dawn_proto::{SpecId, TaskId};

use super::{AgentNo, JobId};

const BLOCK: u64 = 64;

/// A key that is a number.
pub trait Number: Copy + Ord {
    fn number(self) -> u64;
}

macro_rules! number {
    ($($name:ty),*) => {$(
        impl Number for $name {
            fn number(self) -> u64 {
                u64::from(self.0)
            }
        }
    )*};
}
number!(TaskId, SpecId, JobId, AgentNo);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered<K, V> {
    /// By number / 64; none is empty.
    blocks: BTreeMap<u64, Arc<Block<K, V>>>,
    len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block<K, V> {
    /// Which of the 64 are there.
    there: u64,
    /// Those, in order.
    items: Vec<(K, V)>,
}

impl<K: Clone, V: Clone> Block<K, V> {
    /// The block of that number in `blocks`, for a change of it; made when it is not there.
    fn open(blocks: &mut BTreeMap<u64, Arc<Self>>, number: u64) -> &mut Self {
        Arc::make_mut(blocks.entry(number).or_insert_with(|| Arc::new(Block { there: 0, items: Vec::new() })))
    }
}

impl<K, V> Block<K, V> {
    /// Where the value of a bit is, or would be put.
    fn rank(&self, bit: u64) -> usize {
        (self.there & (bit - 1)).count_ones() as usize
    }

    fn has(&self, bit: u64) -> bool {
        self.there & bit != 0
    }
}

/// Which block and bit are a key's.
fn place<K: Number>(key: K) -> (u64, u64) {
    let number = key.number();
    (number / BLOCK, 1 << (number % BLOCK))
}

type OfBlock<'a, K, V> = Map<slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;
type Blocks<'a, K, V> = btree_map::Range<'a, u64, Arc<Block<K, V>>>;
type Entry<'a, K, V> = (&'a u64, &'a Arc<Block<K, V>>);
type All<'a, K, V> = FlatMap<Blocks<'a, K, V>, OfBlock<'a, K, V>, fn(Entry<'a, K, V>) -> OfBlock<'a, K, V>>;

fn of_block<'a, K, V>((_, block): Entry<'a, K, V>) -> OfBlock<'a, K, V> {
    block.items.iter().map(|(key, value)| (key, value))
}

/// In the order of the numbers.
pub struct Iter<'a, K, V>(All<'a, K, V>);

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

impl<K, V> Default for Numbered<K, V> {
    fn default() -> Self {
        Numbered { blocks: BTreeMap::new(), len: 0 }
    }
}

impl<K: Number, V: Clone> Numbered<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn contains_key(&self, key: &K) -> bool {
        let (block, bit) = place(*key);
        self.blocks.get(&block).is_some_and(|block| block.has(bit))
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        let (block, bit) = place(*key);
        let block = self.blocks.get(&block).filter(|block| block.has(bit))?;
        block.items.get(block.rank(bit)).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (block, bit) = place(*key);
        let block = Arc::make_mut(self.blocks.get_mut(&block).filter(|block| block.has(bit))?);
        let rank = block.rank(bit);
        block.items.get_mut(rank).map(|(_, value)| value)
    }

    /// The value there; made when there is none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let (block, bit) = place(key);
        let block = Block::open(&mut self.blocks, block);
        let rank = block.rank(bit);
        if !block.has(bit) {
            block.items.insert(rank, (key, V::default()));
            block.there |= bit;
            self.len += 1;
        }
        &mut block.items[rank].1
    }

    /// Puts a value there; answers the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (block, bit) = place(key);
        let block = Block::open(&mut self.blocks, block);
        let rank = block.rank(bit);
        if block.has(bit) {
            return Some(std::mem::replace(&mut block.items[rank].1, value));
        }
        block.items.insert(rank, (key, value));
        block.there |= bit;
        self.len += 1;
        None
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (number, bit) = place(*key);
        let block = Arc::make_mut(self.blocks.get_mut(&number).filter(|block| block.has(bit))?);
        let (_, value) = block.items.remove(block.rank(bit));
        block.there &= !bit;
        self.len -= 1;
        if block.items.is_empty() {
            self.blocks.remove(&number);
        } else if block.items.capacity() > 2 * block.items.len() + 4 {
            block.items.shrink_to_fit();
        }
        Some(value)
    }

    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.blocks.range(..).flat_map(of_block))
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.blocks.values_mut().flat_map(|block| &mut Arc::make_mut(block).items).map(|(_, value)| value)
    }

    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let block = |bound: Bound<&K>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => Bound::Included(key.number() / BLOCK),
            Bound::Unbounded => Bound::Unbounded,
        };
        let blocks = (block(range.start_bound()), block(range.end_bound()));
        self.blocks.range(blocks).flat_map(of_block).filter(move |(key, _)| range.contains(key))
    }
}

impl<'a, K: Number, V: Clone> IntoIterator for &'a Numbered<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<K: Number, V: Clone> Index<&K> for Numbered<K, V> {
    type Output = V;

    /// # Panics
    /// When it is not there.
    fn index(&self, key: &K) -> &V {
        self.get(key).unwrap_or_else(|| panic!("number {} is not there", key.number()))
    }
}

impl<K: Number, V: Clone> Extend<(K, V)> for Numbered<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        items.into_iter().for_each(|(key, value)| _ = self.insert(key, value));
    }
}

impl<K: Number, V: Clone> FromIterator<(K, V)> for Numbered<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut all = Numbered::default();
        all.extend(items);
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_copy_is_a_world_of_its_own() {
        let mut first: Numbered<TaskId, u64> = (0..200).map(|number| (TaskId(number), number)).collect();
        let mut copy = first.clone();
        assert!(Arc::ptr_eq(&first.blocks[&0], &copy.blocks[&0]), "unchanged blocks are shared");
        *first.get_mut(&TaskId(3)).unwrap() = 7;
        copy.remove(&TaskId(4));
        copy.insert(TaskId(500), 1);
        assert_eq!((first[&TaskId(3)], copy[&TaskId(3)]), (7, 3));
        assert_eq!((first.get(&TaskId(4)), copy.get(&TaskId(4))), (Some(&4), None));
        assert_eq!((first.len(), copy.len(), first.contains_key(&TaskId(500))), (200, 200, false));
        assert!(Arc::ptr_eq(&first.blocks[&2], &copy.blocks[&2]));
    }

    proptest! {
        #[test]
        fn it_does_what_a_btreemap_does(
            steps in prop::collection::vec((0u64..300, any::<bool>()), 0..400),
            from in 0u64..300,
            to in 0u64..300,
        ) {
            let (mut ours, mut theirs) = (Numbered::<TaskId, u64>::default(), BTreeMap::new());
            for (at, (number, put)) in steps.into_iter().enumerate() {
                let key = TaskId(number);
                match put {
                    true => prop_assert_eq!(ours.insert(key, at as u64), theirs.insert(key, at as u64)),
                    false => prop_assert_eq!(ours.remove(&key), theirs.remove(&key)),
                }
                prop_assert_eq!(ours.get(&key), theirs.get(&key));
                prop_assert_eq!(ours.get_mut(&TaskId(from)), theirs.get_mut(&TaskId(from)));
                prop_assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
            }
            prop_assert!(ours.iter().eq(theirs.iter()));
            prop_assert!(ours.iter().rev().eq(theirs.iter().rev()));
            prop_assert!(ours.keys().rev().eq(theirs.keys().rev()));
            prop_assert!(ours.values().rev().eq(theirs.values().rev()));
            let (from, to) = (TaskId(from.min(to)), TaskId(from.max(to)));
            prop_assert!(ours.range(from..=to).eq(theirs.range(from..=to)));
            prop_assert!(ours.range(..to).rev().eq(theirs.range(..to).rev()));
            let after = (Bound::Excluded(from), Bound::Unbounded);
            prop_assert!(ours.range(after).eq(theirs.range(after)));
            prop_assert_eq!(theirs.into_iter().collect::<Numbered<_, _>>(), ours);
        }
    }
}
