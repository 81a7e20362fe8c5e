//! Works for which nothing was found, by what could change that. Not here: whether it does.

use std::collections::BTreeSet;

use dawn_proto::Dimension::Cpu;

use crate::model::Now;

use super::super::amounts::Amounts;
use super::super::catalogue::Work;
use super::super::numbers::{KeyId, ShapeId, WorkId};

/// How much cpu, in octaves.
fn cpu_step(amounts: &Amounts) -> u8 {
    (64 - amounts[Cpu].max(0).leading_zeros()) as u8
}

/// A work that sleeps: in the order of the cpu it asks for, then of its shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sleeper {
    level: u8,
    pub shape: ShapeId,
    pub work: WorkId,
}

impl Sleeper {
    pub fn of(number: WorkId, work: &Work, need: &Amounts) -> Sleeper {
        Sleeper { level: cpu_step(need), shape: work.shape, work: number }
    }

    /// Comes after it.
    pub fn next(self) -> Sleeper {
        Sleeper { work: WorkId(self.work.0 + 1), ..self }
    }

    /// Comes after all that ask for its shape.
    pub fn next_shape(self) -> Sleeper {
        Sleeper { shape: ShapeId(self.shape.0 + 1), work: WorkId(0), ..self }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Sleepers {
    /// Who waits for room.
    by_level: BTreeSet<Sleeper>,
    /// By the job's key: who looks at its tasks.
    watching: BTreeSet<(KeyId, WorkId)>,
    /// By monotonic time.
    retries: BTreeSet<(u64, WorkId)>,
}

impl Sleepers {
    pub fn insert(&mut self, sleeper: Sleeper) {
        self.by_level.insert(sleeper);
    }

    pub fn remove(&mut self, sleeper: &Sleeper) {
        self.by_level.remove(sleeper);
    }

    pub fn is_empty(&self) -> bool {
        self.by_level.is_empty()
    }

    pub fn all(&self) -> impl Iterator<Item = (ShapeId, WorkId)> {
        self.by_level.iter().map(|sleeper| (sleeper.shape, sleeper.work))
    }

    pub fn nobody_waits(&self, shape: ShapeId, need: &Amounts) -> bool {
        let first = Sleeper { level: cpu_step(need), shape, work: WorkId(0) };
        self.by_level.range(first..=Sleeper { work: WorkId(u32::MAX), ..first }).next().is_none()
    }

    pub fn from(&self, from: Sleeper, free: &Amounts) -> Option<Sleeper> {
        let most = cpu_step(free);
        self.by_level.range(from..).next().copied().filter(|sleeper| sleeper.level <= most)
    }

    pub fn retry_at(&mut self, mono_ms: u64, number: WorkId) {
        self.retries.insert((mono_ms, number));
    }

    pub fn retry_no_more(&mut self, mono_ms: u64, number: WorkId) {
        self.retries.remove(&(mono_ms, number));
    }

    pub fn due(&self, now: Now) -> Option<WorkId> {
        self.retries.first().filter(|(due, _)| *due <= now.mono_ms).map(|(_, work)| *work)
    }

    #[inline]
    pub fn nobody_watches(&self) -> bool {
        self.watching.is_empty()
    }

    pub fn watch(&mut self, watched: &[KeyId], number: WorkId) {
        self.watching.extend(watched.iter().map(|key| (*key, number)));
    }

    pub fn watch_no_more(&mut self, watched: &[KeyId], number: WorkId) {
        watched.iter().for_each(|key| _ = self.watching.remove(&(*key, number)));
    }

    pub fn watchers(&self, of: KeyId) -> Vec<WorkId> {
        self.watching.range((of, WorkId(0))..=(of, WorkId(u32::MAX))).map(|(_, watcher)| *watcher).collect()
    }
}
