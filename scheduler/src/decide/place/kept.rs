//! Room that was kept for a task is used as soon as it is free, and given back when its time is up. Not here: who gets a claim.

use dawn_proto::{TaskId, Timestamp};

use super::{Placer, Step};

impl Placer {
    pub(super) fn expire_claims(&mut self, now: Timestamp) {
        while let Some(task) = self.claims.over(now) {
            self.drop_claim(task, true);
        }
    }

    /// Puts tasks where room was kept for them, as far as it is free now.
    pub(super) fn use_claims(&mut self, step: &mut Step) {
        let changed = self.claims.take_freed();
        let mut tasks: Vec<TaskId> =
            changed.into_iter().flat_map(|slot| self.fleet.detail(slot).claims.iter().map(|(task, _)| *task)).collect();
        tasks.sort_unstable();
        tasks.dedup();
        for task in tasks {
            let Some(claim) = self.claims.get(task) else { continue };
            if step.left == 0 {
                self.claims.see_freed(claim.slot);
                continue;
            }
            self.prepare_for(claim.work);
            self.keep(claim.slot, task, claim.work, false);
            let fits = self.view().misses(claim.slot, claim.work).is_none() && self.quota_left(claim.work).0 > 0;
            self.keep(claim.slot, task, claim.work, true);
            if fits {
                // The work must outlive the moment in which its task is neither claimed nor assigned.
                self.catalogue.claim(claim.work);
                self.drop_claim(task, true);
                self.catalogue.unclaim(claim.work);
                self.queue.remove(claim.work, task);
                self.assign_task(claim.slot, claim.work, task, step);
                self.requeue(claim.work);
            }
        }
    }
}
