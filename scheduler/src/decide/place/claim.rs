//! Claims: room that preemption frees is kept for the task that caused it, until it is there, has ended, or time is up.

use dawn_proto::{TaskId, Timestamp};

use super::numbers::{SlotId, WorkId};
use super::{Placer, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub slot: SlotId,
    pub work: WorkId,
    pub until: Timestamp,
}

impl Placer {
    /// Keeps room on the slot for a pending task; an earlier claim of the task is given back.
    pub(super) fn claim(&mut self, task: TaskId, work: WorkId, slot: SlotId, until: Timestamp) {
        self.works.get_mut(work).claimed += 1;
        self.drop_claim(task, true);
        self.works.get_mut(work).remove_pending(task);
        self.claims.insert(task, Claim { slot, work, until });
        self.claim_ends.insert((until, task));
        self.keep(slot, task, work, true);
        self.requeue(work);
    }

    /// Gives back a task's claim, if it has one. `pending`: the task still waits, for any room now.
    pub(super) fn drop_claim(&mut self, task: TaskId, pending: bool) {
        let Some(claim) = self.claims.remove(&task) else { return };
        self.claim_ends.remove(&(claim.until, task));
        self.keep(claim.slot, task, claim.work, false);
        self.dirty.push(claim.slot);
        let work = self.works.get_mut(claim.work);
        work.claimed -= 1;
        if pending {
            work.insert_pending(task);
            self.wake_one(claim.work);
            self.requeue(claim.work);
        } else if work.is_over() {
            self.drop_work(claim.work);
        }
    }

    pub(super) fn expire_claims(&mut self, now: Timestamp) {
        while let Some((until, task)) = self.claim_ends.first().copied()
            && until <= now
        {
            self.drop_claim(task, true);
        }
    }

    /// Puts tasks where room was kept for them, as far as it is free now.
    pub(super) fn use_claims(&mut self, step: &mut Step) {
        let changed = std::mem::take(&mut self.claimed_slots);
        let mut tasks: Vec<TaskId> =
            changed.into_iter().flat_map(|slot| self.details[slot].claims.iter().copied()).collect();
        tasks.sort_unstable();
        tasks.dedup();
        for task in tasks {
            let Some(claim) = self.claims.get(&task).copied() else { continue };
            if step.left == 0 {
                self.claimed_slots.insert(claim.slot);
                continue;
            }
            self.prepare_for(claim.work);
            let slot = claim.slot;
            self.keep(slot, task, claim.work, false);
            let fits = self.misses(slot, claim.work).is_none() && self.quota_left(claim.work).0 > 0;
            self.keep(slot, task, claim.work, true);
            if fits {
                self.works.get_mut(claim.work).held += 1;
                self.drop_claim(task, true);
                self.works.get_mut(claim.work).held -= 1;
                self.works.get_mut(claim.work).remove_pending(task);
                self.assign_task(slot, claim.work, task, step);
                self.requeue(claim.work);
            }
        }
    }
}
