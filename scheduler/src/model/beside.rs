//! What lives beside another life of its instance, as while an update has a next life beside the one before, or went back and left an
//! ended one after a living one. Each instance counts once: as the life of it that is furthest up. Not here: what a task counts
//! as (`tally`).

use std::collections::BTreeMap;

use dawn_proto::Timestamp;

use super::{Index, JobId, Standing, Truth};

/// Tasks by what they count as.
type Counts = [u32; Standing::COUNT];

/// The best first. Ended lives are last: beside a living one none of them counts.
const FURTHEST_UP: [Standing; Standing::COUNT] = [
    Standing::Running,
    Standing::Starting,
    Standing::Partitioned,
    Standing::Stopping,
    Standing::Pending,
    Standing::Finished,
    Standing::Failed,
    Standing::Killed,
    Standing::Lost,
];

/// Slots of which more than one task would count, each with those that do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    slots: BTreeMap<(Timestamp, u32), Counts>,
    all: Counts,
}

impl Beside {
    pub fn of(&self, standing: Standing) -> u32 {
        self.all[standing as usize]
    }

    pub fn living(&self) -> u32 {
        self.all[..Standing::FIRST_ENDED].iter().sum()
    }

    pub fn has(&self, slot: (Timestamp, u32)) -> bool {
        !self.slots.is_empty() && self.slots.contains_key(&slot)
    }

    pub fn clear(&mut self) {
        *self = Beside::default();
    }

    /// `counts`: of every task of the slot that would count.
    fn set(&mut self, slot: (Timestamp, u32), mut counts: Counts) {
        for (all, before) in self.all.iter_mut().zip(self.slots.remove(&slot).unwrap_or_default()) {
            *all -= before;
        }
        let best = FURTHEST_UP.into_iter().find(|standing| counts[*standing as usize] > 0);
        let Some(best) = best.filter(|_| counts.iter().sum::<u32>() > 1) else { return };
        counts[best as usize] -= 1;
        for (all, more) in self.all.iter_mut().zip(counts) {
            *all += more;
        }
        self.slots.insert(slot, counts);
    }
}

impl Index {
    /// Looks at a slot of which more than one task may count.
    pub(super) fn count_slot(&mut self, truth: &Truth, id: JobId, (run_at, instance): (Timestamp, u32)) {
        let Some((job, tally)) = truth.jobs.get(&id).zip(self.tallies.get(&id)) else { return };
        let (tasks, mut counts) = (self.tasks_of(id), [0; Standing::COUNT]);
        let newest = tasks.newest(run_at, instance);
        for task in tasks.slot(run_at, instance).filter_map(|id| truth.tasks.get(&id)) {
            let counts_here =
                !task.state().is_terminal() || newest == Some(task.id) && truth.counts_ended(job, tally.run_at(), task);
            if let Some(standing) = Standing::of(task.state()).filter(|_| counts_here) {
                counts[standing as usize] += 1;
            }
        }
        self.tallies.or_default(id).beside.set((run_at, instance), counts);
    }
}
