//! The claims: for which task room is kept where and until when, and which tasks are disturbed for it. Not here: the room itself
//! (the fleet), who waits for any room (the queue), what is asked for (the catalogue).

mod disrupted;

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::{TaskId, Timestamp};

use crate::model::JobId;

use super::numbers::{SlotId, WorkId};
use disrupted::Disrupted;

/// Room that preemption frees, kept for the task that caused it until it is there, has ended, or time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub slot: SlotId,
    pub work: WorkId,
    pub until: Timestamp,
}

#[derive(Clone, Debug, Default)]
pub struct Claims {
    claims: BTreeMap<TaskId, Claim>,
    ends: BTreeSet<(Timestamp, TaskId)>,
    /// Slots with claims where room may have come free.
    freed: BTreeSet<SlotId>,
    disrupted: Disrupted,
}

impl Claims {
    pub fn get(&self, task: TaskId) -> Option<Claim> {
        self.claims.get(&task).copied()
    }

    pub fn len(&self) -> usize {
        self.claims.len()
    }

    pub fn insert(&mut self, task: TaskId, claim: Claim) {
        self.claims.insert(task, claim);
        self.ends.insert((claim.until, task));
    }

    pub fn remove(&mut self, task: TaskId) -> Option<Claim> {
        let claim = self.claims.remove(&task)?;
        self.ends.remove(&(claim.until, task));
        Some(claim)
    }

    /// A task whose claim's time is up.
    pub fn over(&self, now: Timestamp) -> Option<TaskId> {
        self.ends.first().filter(|(until, _)| *until <= now).map(|(_, task)| *task)
    }

    /// Room may have come free on a slot with claims.
    pub fn see_freed(&mut self, slot: SlotId) {
        self.freed.insert(slot);
    }

    /// Slots with claims where room may have come free since this was last asked.
    pub fn take_freed(&mut self) -> BTreeSet<SlotId> {
        std::mem::take(&mut self.freed)
    }

    /// A task is being stopped for another one, or replaces one that was and has not run yet.
    pub fn disrupt(&mut self, task: TaskId, job: JobId) {
        self.disrupted.insert(task, job);
    }

    pub fn disrupt_no_more(&mut self, task: TaskId) {
        self.disrupted.remove(task);
    }

    /// How many tasks of the job are disturbed.
    pub fn disrupted(&self, job: JobId) -> u32 {
        self.disrupted.of(job)
    }

    /// All of it, for comparing.
    #[cfg(test)]
    pub fn shown(&self) -> String {
        let claims: Vec<_> = self.claims.iter().map(|(task, claim)| (task, claim.slot, claim.until)).collect();
        format!("claims {claims:?}\ndisrupted {:?}", self.disrupted.tasks)
    }
}
