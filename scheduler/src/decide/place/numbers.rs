//! Numbers of placement: each kind of thing that has a number has a type for it, so that none is taken for another, and
//! tables that go by one of these types. Not here: what the numbers stand for.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use crate::model::AgentNo;

/// A number that a table can go by.
pub(super) trait Number: Copy {
    fn at(self) -> usize;
    fn of(at: usize) -> Self;
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(transparent)]
        pub(super) struct $name(pub u32);

        impl Number for $name {
            #[inline]
            fn at(self) -> usize {
                self.0 as usize
            }

            #[inline]
            fn of(at: usize) -> Self {
                $name(at as u32)
            }
        }
    )*};
}

numbers! {
    /// Of an agent's room. It is the agent's own number, which is never used again: a number costs its slot for ever
    /// (about 300 bytes).
    SlotId
    /// Of a work: the tasks of one job version. Used again.
    WorkId
    /// Of a shape: what a task takes and which agents may have it. Used again.
    ShapeId
    /// Of an attribute's name.
    AttributeId
    /// Of one of the texts of an attribute, or of several at once: see `Attribute`.
    ValueId
    /// Of a class: agents that are equal in every attribute of few values.
    ClassId
    /// Of a job's key.
    KeyId
    /// Of a count of a job's tasks by an attribute's values. Used again.
    CountId
    /// Of the name of a scalar of the operator's.
    ScalarId
    /// Of a role's name.
    RoleId
}

impl SlotId {
    #[inline]
    pub fn of_agent(agent: AgentNo) -> SlotId {
        SlotId(agent.0)
    }

    pub fn agent(self) -> AgentNo {
        AgentNo(self.0)
    }
}

/// A row of entries that goes by one kind of number.
#[derive(Clone, Debug)]
pub(super) struct Table<N, T> {
    entries: Vec<T>,
    by: PhantomData<N>,
}

impl<N, T> Default for Table<N, T> {
    fn default() -> Self {
        Table { entries: Vec::new(), by: PhantomData }
    }
}

impl<N: Number, T> Table<N, T> {
    /// Adds an entry; its number is the answer.
    pub fn push(&mut self, entry: T) -> N {
        self.entries.push(entry);
        N::of(self.entries.len() - 1)
    }

    /// Makes it so long that the number has an entry.
    pub fn reach(&mut self, number: N, empty: impl FnMut() -> T) {
        if self.entries.len() <= number.at() {
            self.entries.resize_with(number.at() + 1, empty);
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub fn has(&self, number: N) -> bool {
        number.at() < self.entries.len()
    }

    #[inline]
    pub fn get(&self, number: N) -> Option<&T> {
        self.entries.get(number.at())
    }

    pub fn get_mut(&mut self, number: N) -> Option<&mut T> {
        self.entries.get_mut(number.at())
    }

    pub fn numbers(&self) -> impl DoubleEndedIterator<Item = N> + use<N, T> {
        (0..self.entries.len()).map(N::of)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.entries.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.entries.iter_mut()
    }

    pub fn pairs(&self) -> impl Iterator<Item = (N, &T)> {
        self.entries.iter().enumerate().map(|(at, entry)| (N::of(at), entry))
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}

impl<N, T> From<Vec<T>> for Table<N, T> {
    fn from(entries: Vec<T>) -> Self {
        Table { entries, by: PhantomData }
    }
}

impl<N: Number, T> Index<N> for Table<N, T> {
    type Output = T;

    #[inline]
    fn index(&self, number: N) -> &T {
        &self.entries[number.at()]
    }
}

impl<N: Number, T> IndexMut<N> for Table<N, T> {
    #[inline]
    fn index_mut(&mut self, number: N) -> &mut T {
        &mut self.entries[number.at()]
    }
}
