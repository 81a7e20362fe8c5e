//! The queue: which tasks wait, whose turn it is, which works sleep until something changes, and what was decided and is not yet
//! observed. Not here: where there is room (the fleet), what is asked for (the catalogue), for whom room is kept (the claims).

mod order;
mod sleepers;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dawn_proto::{Dimension, TaskId};

use crate::model::{Bound, Now, Quota};

use super::amounts::Amounts;
use super::catalogue::Work;
use super::numbers::{KeyId, RoleId, ShapeId, Table, WorkId};

pub use order::{BANDS, Turn, band_of};

use order::{Order, Ticket};
pub use sleepers::Sleeper;

use sleepers::Sleepers;

/// A decision counted when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    Assigned(TaskId),
    Preempting(TaskId),
    Nominated(TaskId),
}

/// A work's tasks that wait, and how they do.
#[derive(Clone, Debug, Default)]
struct Waiting {
    /// Pending and without a claim, ascending.
    tasks: VecDeque<TaskId>,
    /// Its place in the order; None: it has no turn.
    ticket: Option<Ticket>,
    /// Nothing was found for it; something must change first.
    asleep: bool,
    /// Asleep because its role is at its limit.
    over_quota: bool,
    /// When it may look for victims again, and while asleep the jobs whose tasks it watches.
    retry_ms: u64,
    watched: Vec<KeyId>,
}

#[derive(Clone, Debug, Default)]
pub struct Queue {
    order: Order,
    waiting: Table<WorkId, Waiting>,
    sleepers: Sleepers,
    /// Decisions returned and not yet observed.
    ahead: VecDeque<Ahead>,
    /// How often the fleet had moved when those who sleep were last shown the avoided agents.
    shown: u64,
}

/// Tasks that wait.
impl Queue {
    /// Pending tasks of a work that have no claim, the oldest first.
    pub fn waiting(&self, number: WorkId) -> &VecDeque<TaskId> {
        &self.waiting[number].tasks
    }

    /// A work begins: nothing of it waits.
    pub fn begin(&mut self, number: WorkId) {
        self.waiting.reach(number, Waiting::default);
        self.waiting[number] = Waiting::default();
    }

    pub fn insert(&mut self, number: WorkId, task: TaskId) {
        let tasks = &mut self.waiting[number].tasks;
        if tasks.back().is_none_or(|last| *last < task) {
            tasks.push_back(task);
        } else if let Err(at) = tasks.binary_search(&task) {
            tasks.insert(at, task);
        }
    }

    pub fn remove(&mut self, number: WorkId, task: TaskId) {
        let tasks = &mut self.waiting[number].tasks;
        if let Ok(at) = tasks.binary_search(&task) {
            tasks.remove(at);
        }
    }

    #[inline]
    pub fn take_oldest(&mut self, number: WorkId) -> Option<TaskId> {
        self.waiting[number].tasks.pop_front()
    }

    /// Puts a work where it belongs in its role's order, or out of it.
    pub fn settle(&mut self, number: WorkId, work: &Work) {
        let waiting = &mut self.waiting[number];
        let oldest = waiting.tasks.front().filter(|_| !waiting.asleep);
        let wanted = oldest.map(|oldest| (Reverse(work.priority), *oldest, number));
        if waiting.ticket == wanted {
            return;
        }
        if let Some(ticket) = std::mem::replace(&mut waiting.ticket, wanted) {
            self.order.dequeue(work.band, work.role, &ticket);
        }
        if let Some(ticket) = wanted {
            self.order.enqueue(work.band, work.role, ticket);
        }
    }

    pub fn bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| size_of::<Waiting>() + waiting.tasks.capacity() * 8).sum()
    }
}

/// Whose turn it is, and what roles may have.
impl Queue {
    pub fn next(&mut self) -> Option<Turn> {
        self.order.next()
    }

    /// Nobody has a turn.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn role(&mut self, name: &str) -> RoleId {
        self.order.role(name)
    }

    pub fn set_quotas(&mut self, quotas: &BTreeMap<String, Quota>) {
        self.order.set_quotas(quotas);
    }

    /// The fleet has so much now.
    pub fn set_total(&mut self, total: Amounts) {
        self.order.set_total(total);
    }

    /// A task of the work holds room, or no longer.
    #[inline]
    pub fn hold(&mut self, work: &Work, need: &Amounts) {
        self.order.hold(work.band, work.role, need);
    }

    #[inline]
    pub fn release(&mut self, work: &Work, need: &Amounts) {
        self.order.release(work.band, work.role, need);
    }

    /// How many more tasks of the work its role's quota allows, and which bound and dimension end it.
    pub fn quota_left(&self, work: &Work, need: &Amounts) -> (usize, Bound, Dimension) {
        self.order.quota_left(work.band, work.role, need)
    }

    pub fn is_bounded(&self, role: RoleId) -> bool {
        self.order.is_bounded(role)
    }

    /// A bound of the role in a dimension, and what it uses of it.
    pub fn quota(&self, role: RoleId, bound: Bound, dimension: Dimension) -> (i64, i64) {
        self.order.quota(role, bound, dimension)
    }

    /// How many tasks of `need` bring the turn's role beyond the next one's share and some slack; at least one.
    pub fn due(&self, turn: &Turn, slack: u64, need: &Amounts) -> usize {
        let until = |share: u64| self.order.tasks_until(turn.band, turn.role, share.saturating_add(slack), need);
        turn.next_share.map_or(usize::MAX, until)
    }

    /// What each role uses by band, for comparing.
    #[cfg(test)]
    pub fn shown(&self) -> BTreeMap<(String, usize), Amounts> {
        self.order.shown()
    }
}

/// Works that sleep.
impl Queue {
    /// Takes a work out of the order until something changes: room for its shape, tasks of a job that it watches, or its time to
    /// retry. `may_retry`: now, if time alone may help.
    pub fn sleep(
        &mut self,
        number: WorkId,
        work: &Work,
        need: &Amounts,
        watched: BTreeSet<KeyId>,
        may_retry: Option<Now>,
    ) {
        let waiting = &mut self.waiting[number];
        waiting.asleep = true;
        self.sleepers.insert(Sleeper::of(number, work, need));
        if let Some(now) = may_retry.filter(|_| !waiting.over_quota) {
            waiting.retry_ms = waiting.retry_ms.max(now.mono_ms + 1);
            self.sleepers.retry_at(waiting.retry_ms, number);
        }
        waiting.watched = watched.into_iter().collect();
        self.sleepers.watch(&waiting.watched, number);
        self.settle(number, work);
    }

    /// Whether it slept. It is to be settled.
    pub fn wake(&mut self, number: WorkId, work: &Work, need: &Amounts) -> bool {
        let waiting = &mut self.waiting[number];
        if !waiting.asleep {
            return false;
        }
        (waiting.asleep, waiting.over_quota) = (false, false);
        self.sleepers.remove(&Sleeper::of(number, work, need));
        self.sleepers.retry_no_more(waiting.retry_ms, number);
        self.sleepers.watch_no_more(&std::mem::take(&mut waiting.watched), number);
        true
    }

    pub fn set_over_quota(&mut self, number: WorkId, yes: bool) {
        self.waiting[number].over_quota = yes;
    }

    pub fn is_over_quota(&self, number: WorkId) -> bool {
        self.waiting[number].over_quota
    }

    /// Whether the work may look for victims again.
    pub fn may_look(&self, number: WorkId, now: Now) -> bool {
        self.waiting[number].retry_ms <= now.mono_ms
    }

    /// Looking costs more than placing: not again before then.
    pub fn look_again_at(&mut self, number: WorkId, mono_ms: u64) {
        self.waiting[number].retry_ms = mono_ms;
    }

    /// The shape and number of each work that sleeps, by the cpu it asks for.
    pub fn sleeping(&self) -> impl Iterator<Item = (ShapeId, WorkId)> {
        self.sleepers.all()
    }

    pub fn nobody_sleeps(&self) -> bool {
        self.sleepers.is_empty()
    }

    /// Whether no work sleeps that asks for the shape.
    pub fn nobody_sleeps_for(&self, shape: ShapeId, need: &Amounts) -> bool {
        self.sleepers.nobody_waits(shape, need)
    }

    /// The first sleeper at or after one, that asks for no more cpu than there is.
    pub fn sleeper_from(&self, from: Sleeper, free: &Amounts) -> Option<Sleeper> {
        self.sleepers.from(from, free)
    }

    #[inline]
    pub fn nobody_watches(&self) -> bool {
        self.sleepers.nobody_watches()
    }

    /// Works that look at the job's tasks while they sleep.
    pub fn watchers(&self, of: KeyId) -> Vec<WorkId> {
        self.sleepers.watchers(of)
    }

    /// A work whose time to look again has come.
    pub fn due_again(&self, now: Now) -> Option<WorkId> {
        self.sleepers.due(now)
    }

    /// Whether the fleet moved since this was last asked: the avoided agents may be the last that fit now.
    pub fn see_moves(&mut self, moves: u64) -> bool {
        std::mem::replace(&mut self.shown, moves) != moves
    }
}

/// What was decided and is not yet observed.
impl Queue {
    pub fn decide(&mut self, what: Ahead) {
        self.ahead.push_back(what);
    }

    /// The last decision was taken back.
    pub fn undecide(&mut self) {
        self.ahead.pop_back();
    }

    pub fn unobserved(&self) -> usize {
        self.ahead.len()
    }

    /// Whether what is observed is the next of what was decided, which is then done with.
    pub fn is_ahead(&mut self, what: Ahead) -> bool {
        let found = self.ahead.front() == Some(&what);
        if found {
            self.ahead.pop_front();
        }
        found
    }
}
