//! Room on the disk: what ended tasks have left goes when it is needed, and a loss has executors look at their tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, amounts};
use tracing::warn;

use super::Agent;
use crate::decide::space;
use crate::decide::sweep::{self, Ended};
use crate::model::{Effect, Free, Message, Now, Phase, Refusal};

/// Executors told to look at each news of the free space, which come ten times a second. How often each looks follows from how
/// long its looks take and from the number of tasks, so that all together take a fiftieth of a cpu.
const LOOKS_PER_TURN: usize = 20;
/// Until what was removed for want of room is surely gone.
const ROOM_PAUSE_MS: u64 = 1_000;
/// A launch waits so long for what ended tasks have left to be measured and removed: less than its leader waits for it.
const MAX_ROOM_WAIT_MS: u64 = 30_000;

/// What is known of the disk.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// The most that was free since executors were told to look.
    highest: Option<Free>,
    /// Tasks whose executors are still to be told.
    suspects: VecDeque<TaskId>,
    room_at_ms: u64,
    /// Launches that wait for room, in order, and until when.
    waiting: VecDeque<(TaskId, u64)>,
    /// Directories being removed, and what they took.
    going: BTreeMap<TaskId, u64>,
    /// Found ended at the start: what they have left was not free then, and is not offered yet.
    pub found: BTreeSet<TaskId>,
}

/// What is taken of the disk that is offered, in bytes.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Promised to living tasks, those that wait included.
    promised: u64,
    /// Of that, to launches that wait for room.
    waiting: u64,
    /// Left by ended tasks, as far as it is measured.
    left: u64,
    /// At most left by those that have just ended.
    unmeasured: u64,
    /// Being removed.
    going: u64,
}

impl Agent {
    pub(super) fn on_free(&mut self, free: Free, now: Now) {
        let highest = self.space.highest.get_or_insert(free);
        if space::is_lost(highest, &free) {
            *highest = free;
            if self.space.suspects.is_empty() {
                let living = self.tasks.values().filter(|task| task.phase() == Phase::Live);
                self.space.suspects = living.map(|task| task.id).collect();
            }
        }
        highest_of(&mut self.space.highest, &free);
        for _ in 0..LOOKS_PER_TURN {
            let Some(task) = self.space.suspects.pop_front() else { break };
            let tasks = u32::try_from(self.living).unwrap_or(u32::MAX);
            self.effects.push(Effect::LookAtDisk { task, tasks });
        }
        if now.mono_ms >= self.space.room_at_ms
            && let Some(bytes) = space::wanted(&free)
        {
            self.space.room_at_ms = now.mono_ms + ROOM_PAUSE_MS;
            self.make_room(bytes, "the disk is nearly full");
        }
    }

    /// A launch begins once what it is promised is free: what ended tasks have left goes first, and until it is gone nobody
    /// is started in its place.
    pub(super) fn begin_with_room(&mut self, id: TaskId, now: Now) {
        self.space.waiting.push_back((id, now.mono_ms.saturating_add(MAX_ROOM_WAIT_MS)));
        self.begin_waiting(now);
    }

    /// Begins those launches for which there is room now.
    pub(super) fn begin_waiting(&mut self, now: Now) {
        if self.space.waiting.is_empty() {
            return;
        }
        let (waiting, total) = (std::mem::take(&mut self.space.waiting), self.offer.total.disk_bytes);
        let demand = |agent: &Agent, id| agent.tasks.get(id).map_or(0, |task| task.plan.demand.disk_bytes);
        let mut taken = self.taken(waiting.iter().map(|(id, _)| demand(self, id)).sum());
        if taken.waiting > 0 {
            let over = taken.promised.saturating_add(taken.left).saturating_sub(total);
            self.make_room(over, "a task is to have its room");
            taken = self.taken(taken.waiting);
        }
        let mut used =
            [taken.left, taken.unmeasured, taken.going].into_iter().fold(taken.promised, u64::saturating_add);
        used = used.saturating_sub(taken.waiting);
        for (id, until_ms) in waiting {
            let Some(task) = self.tasks.get(&id) else { continue };
            let (wanted, is_killed) = (task.plan.demand.disk_bytes, task.kill.is_some());
            if is_killed {
                self.end_killed_unstarted(id, now);
            } else if wanted == 0 || used.saturating_add(wanted) <= total {
                used = used.saturating_add(wanted);
                self.vet(id);
            } else if now.mono_ms >= until_ms {
                let left = taken.left.saturating_add(taken.unmeasured).saturating_add(taken.going);
                let (left, waited) = (amounts::bytes(left), amounts::duration(MAX_ROOM_WAIT_MS));
                let message =
                    format!("no room on this node: ended tasks have left {left}, which are not gone after {waited}");
                self.fail(id, &Refusal::NoRoom { message }, now);
            } else {
                self.space.waiting.push_back((id, until_ms));
            }
        }
    }

    /// What a task had left before the start is no longer free, but goes when room is needed: from now on it is offered as if
    /// it were gone.
    pub(super) fn count_in(&mut self, id: TaskId, bytes: u64) {
        if self.space.found.remove(&id) && bytes > 0 && !self.draining {
            let disk_bytes = &mut self.offer.total.disk_bytes;
            *disk_bytes = disk_bytes.saturating_add(bytes - bytes / 10);
            self.offer.epoch += 1;
            self.send(Message::Offer(self.offer.offer()));
        }
    }

    fn taken(&self, waiting: u64) -> Taken {
        let (mut left, mut unmeasured) = (0u64, 0u64);
        for task in self.tasks.values().filter(|task| !task.is_living()) {
            match task.is_cleaned() {
                true => left = left.saturating_add(task.bytes()),
                false => unmeasured = unmeasured.saturating_add(task.plan.demand.disk_bytes),
            }
        }
        let going = self.space.going.values().copied().fold(0, u64::saturating_add);
        Taken { promised: self.held.disk_bytes, waiting, left, unmeasured, going }
    }

    pub(super) fn on_deleted(&mut self, id: TaskId, now: Now) {
        self.space.going.remove(&id);
        self.begin_waiting(now);
    }

    fn make_room(&mut self, bytes: u64, why: &str) {
        for id in sweep::for_room(self.ended(), bytes) {
            warn!(task = %id, why, "removing its directory");
            self.remove(id);
        }
    }

    /// Ended tasks whose directories may go.
    pub(super) fn ended(&self) -> Vec<Ended<'_>> {
        let ended = self.tasks.values().filter(|task| task.released && task.is_cleaned());
        let kept = ended.filter_map(|task| {
            let was_over = task.last.reason == Reason::DiskLimit;
            let ended_ms = task.ending()?.ended_ms;
            Some(Ended { task: task.id, job: &task.plan.job, ended_ms, bytes: task.bytes(), was_over })
        });
        kept.collect()
    }

    pub(super) fn remove(&mut self, id: TaskId) {
        let bytes = self.tasks.get(&id).map_or(0, |task| task.bytes());
        self.space.going.insert(id, bytes);
        self.forget(id);
        self.effects.push(Effect::Delete { task: id });
    }
}

fn highest_of(highest: &mut Option<Free>, free: &Free) {
    if let Some(highest) = highest {
        highest.bytes = highest.bytes.max(free.bytes);
        highest.files = highest.files.max(free.files);
    }
}
