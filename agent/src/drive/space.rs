//! Room on the disk: what ended tasks have left goes when it is needed, and a loss has executors look at their tasks.

use std::collections::VecDeque;

use dawn_proto::TaskId;
use dawn_proto::v1::Reason;
use tracing::warn;

use super::Agent;
use crate::decide::space;
use crate::decide::sweep::{self, Ended};
use crate::model::{Effect, Free, Now, Phase};

/// Executors told to look at each news of the free space, which come ten times a second: a short look takes a tenth of a
/// millisecond, so that all together take a fiftieth of a cpu.
const LOOKS_PER_TURN: usize = 20;
/// Until what was removed for want of room is surely gone.
const ROOM_PAUSE_MS: u64 = 1_000;

/// What is known of the disk.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// The most that was free since executors were told to look.
    highest: Option<Free>,
    /// Tasks whose executors are still to be told.
    suspects: VecDeque<TaskId>,
    room_at_ms: u64,
}

impl Agent {
    pub(super) fn on_free(&mut self, free: Free, now: Now) {
        let highest = self.space.highest.get_or_insert(free);
        if space::is_lost(highest, &free) {
            *highest = free;
            if self.space.suspects.is_empty() {
                let living = self.tasks.values().filter(|task| task.phase == Phase::Live);
                self.space.suspects = living.map(|task| task.id).collect();
            }
        }
        highest_of(&mut self.space.highest, &free);
        for _ in 0..LOOKS_PER_TURN {
            let Some(task) = self.space.suspects.pop_front() else { break };
            self.effects.push(Effect::LookAtDisk { task });
        }
        if now.mono_ms >= self.space.room_at_ms
            && let Some(bytes) = space::wanted(&free)
        {
            self.space.room_at_ms = now.mono_ms + ROOM_PAUSE_MS;
            self.make_room(bytes, "the disk is nearly full");
        }
    }

    /// What a launch was promised must not be taken by what others have left.
    pub(super) fn make_room_for(&mut self, demand_bytes: u64) {
        let left = self.tasks.values().filter(|task| !task.is_living()).map(|task| task.bytes);
        let promised = self.held.disk_bytes.saturating_add(demand_bytes);
        let over = left.fold(promised, u64::saturating_add).saturating_sub(self.offer.total.disk_bytes);
        if demand_bytes > 0 && over > 0 {
            self.make_room(over, "a task is to have its room");
        }
    }

    fn make_room(&mut self, bytes: u64, why: &str) {
        for id in sweep::for_room(self.ended(), bytes) {
            warn!(task = %id, why, "removing its directory");
            self.remove(id);
        }
    }

    /// Ended tasks whose directories may go.
    pub(super) fn ended(&self) -> Vec<Ended> {
        let ended = self.tasks.values().filter(|task| task.released && task.cleaned && !task.is_living());
        let kept = |task: &crate::model::HeldTask| {
            let was_over = task.last.reason == Reason::DiskLimit;
            Some(Ended { task: task.id, ended_ms: task.ended_ms?, bytes: task.bytes, was_over })
        };
        ended.filter_map(|task| kept(task)).collect()
    }

    pub(super) fn remove(&mut self, id: TaskId) {
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
