//! One work's turn: its tasks are placed together, tightest fits first, as many as its role is due.
//! Not here: whose turn it is, where candidates are found.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use dawn_proto::{Dimension, TaskId};

use crate::model::{Bound, Mutation, Place, State, TaskAssigned};

use super::fleet::Held;
use super::numbers::{SlotId, WorkId};
use super::queue::{Ahead, Turn};
use super::{Placer, Step};

/// Most candidates compared at once; more are looked for when they do not suffice.
const MOST_CANDIDATES: usize = 4096;

impl Placer {
    /// How many more tasks of the work its role's quota allows, and which bound and dimension end it.
    pub(super) fn quota_left(&self, work: WorkId) -> (usize, Bound, Dimension) {
        let need = self.catalogue.need_of(work);
        let work = self.catalogue.work(work);
        self.queue.quota_left(work, &need)
    }

    /// Places what the turn's work is due, and puts it back in its queue or to sleep.
    pub(super) fn take_turn(&mut self, state: &State, turn: &Turn, step: &mut Step) {
        let number = turn.ticket.2;
        let need = self.catalogue.need_of(number);
        // What has a claim will count as soon as its room is free.
        let allowed = self.quota_left(number).0.saturating_sub(self.catalogue.work(number).claimed as usize);
        let due = self.queue.due(turn, self.settings.share_slack_ppm * 1000, &need);
        let most = self.queue.waiting(number).len().min(step.left).min(due).min(allowed);
        if allowed == 0 {
            self.queue.set_over_quota(number, true);
            self.put_to_sleep(number, step.now);
            return;
        }
        if self.view().is_gang(number) {
            return self.take_gang_turn(number, allowed, step);
        }
        let done = match self.view().is_pinned(number) {
            true => self.take_pinned_turn(state, number, most, step),
            false => self.take_free_turn(state, number, most, step),
        };
        if done < most {
            self.put_to_sleep(number, step.now);
        } else {
            self.doubt(self.catalogue.work(number).shape);
            self.requeue(number);
        }
    }

    /// Places tasks of a work wherever they fit, plans room for the rest; how many of either.
    fn take_free_turn(&mut self, state: &State, number: WorkId, most: usize, step: &mut Step) -> usize {
        let placed = self.place_some(number, most, step);
        let planned = if placed < most { self.preempt(state, number, most - placed, step) } else { 0 };
        placed + planned
    }

    /// Places up to `most` tasks of a work; how many it could.
    pub(super) fn place_some(&mut self, number: WorkId, most: usize, step: &mut Step) -> usize {
        let placed = self.place_on_open(number, most, step);
        placed + self.place_on_avoided(number, most - placed, step)
    }

    fn place_on_open(&mut self, number: WorkId, most: usize, step: &mut Step) -> usize {
        let shape = self.catalogue.work(number).shape;
        if self.catalogue.shape(shape).fits_nowhere {
            return 0;
        }
        self.prepare_work(number);
        let spreads = !self.catalogue.work(number).rules.spreads.is_empty();
        let mut placed = if spreads { self.place_spread(number, most, step) } else { 0 };
        while placed < most {
            let now = self.place_round(number, most - placed, step);
            if now == 0 {
                break;
            }
            placed += now;
        }
        placed
    }

    /// Compares candidates once and fills the best of them.
    fn place_round(&mut self, number: WorkId, most: usize, step: &mut Step) -> usize {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        self.collect(number, most.min(MOST_CANDIDATES), &mut candidates);
        candidates.sort_unstable();
        if self.catalogue.work(number).rules.weigh() {
            let placed = self.fill_by_cost(number, most, &candidates, step);
            self.candidates = candidates;
            return placed;
        }
        // What a task costs somewhere depends on the job's other tasks: one each, then compared again.
        let one_each = !self.catalogue.work(number).rules.is_empty();
        let mut placed = 0;
        for (_, slot) in &candidates {
            let slot = *slot;
            while placed < most && self.view().misses(slot, number).is_none() {
                self.assign(slot, number, step);
                placed += 1;
                if one_each {
                    break;
                }
            }
            if placed == most {
                break;
            }
        }
        self.candidates = candidates;
        placed
    }

    /// Fills candidates, cheapest first, each task after the one before it was counted: a wish is worth as much to the
    /// last instance as to the first, and what it costs to crowd is weighed against it.
    fn fill_by_cost(&mut self, number: WorkId, most: usize, candidates: &[(i64, SlotId)], step: &mut Step) -> usize {
        let mut heap: BinaryHeap<_> = candidates.iter().copied().map(Reverse).collect();
        let mut placed = 0;
        while placed < most
            && let Some(Reverse((cost, slot))) = heap.pop()
        {
            if self.view().misses(slot, number).is_some() {
                continue;
            }
            let now = self.view().cost(slot, self.catalogue.work(number));
            if now > cost && heap.peek().is_some_and(|Reverse((next, _))| now > *next) {
                heap.push(Reverse((now, slot)));
                continue;
            }
            self.assign(slot, number, step);
            placed += 1;
            if self.view().misses(slot, number).is_none() {
                heap.push(Reverse((self.view().cost(slot, self.catalogue.work(number)), slot)));
            }
        }
        placed
    }

    /// Gives the work's oldest pending task to the slot.
    pub(super) fn assign(&mut self, slot: SlotId, number: WorkId, step: &mut Step) {
        if let Some(task) = self.queue.take_oldest(number) {
            self.assign_task(slot, number, task, step);
        }
    }

    /// Gives a task, already out of the queue, to the slot.
    pub(super) fn assign_task(&mut self, slot: SlotId, number: WorkId, task: TaskId, step: &mut Step) {
        let since_s = (step.now.wall.0 / 1000).clamp(0, u32::MAX.into()) as u32;
        let Place { agent, ports, devices } = self.hold(slot, Held::new(task, number, since_s, false), None);
        self.queue.decide(Ahead::Assigned(task));
        step.out.push(Mutation::TaskAssigned(TaskAssigned { task, agent, ports, devices }));
        step.left -= 1;
    }
}
