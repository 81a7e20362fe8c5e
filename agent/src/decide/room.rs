//! Room on the disk: what ended tasks have left goes when it is needed, and a loss has executors look at their tasks.

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, amounts};

use super::step::Step;
use super::sweep::{self, Ended};
use super::{Next, launch, space};
use crate::model::{Effect, Free, Mutation, Note, Phase, Refusal, State};

/// Executors told to look at each news of the free space, which come ten times a second. How often each looks follows from how
/// long its looks take and from the number of tasks, so that all together take a fiftieth of a cpu.
const LOOKS_PER_TURN: usize = 20;
/// Until what was removed for want of room is surely gone.
const ROOM_PAUSE_MS: u64 = 1_000;
/// A launch waits so long for what ended tasks have left to be measured and removed: less than its leader waits for it.
const MAX_ROOM_WAIT_MS: u64 = 30_000;

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

impl Taken {
    fn of(state: &State) -> Taken {
        let waiting = state.space.waiting.iter().filter_map(|(id, _)| state.tasks.get(id));
        let waiting = waiting.map(|task| task.plan.demand.disk_bytes).fold(0, u64::saturating_add);
        let (mut left, mut unmeasured) = (0u64, 0u64);
        for task in state.tasks.values().filter(|task| !task.is_living()) {
            match task.is_cleaned() {
                true => left = left.saturating_add(task.bytes()),
                false => unmeasured = unmeasured.saturating_add(task.plan.demand.disk_bytes),
            }
        }
        let going = state.space.going.values().copied().fold(0, u64::saturating_add);
        Taken { promised: state.index.held.disk_bytes, waiting, left, unmeasured, going }
    }

    /// What has ended keeps, measured or not, going or not.
    fn by_ended(&self) -> u64 {
        self.left.saturating_add(self.unmeasured).saturating_add(self.going)
    }
}

pub(super) fn free_told(step: &mut Step, free: &Free) {
    let (state, now_ms) = (step.state, step.now.mono_ms);
    let mut highest = state.space.highest.unwrap_or(*free);
    let mut suspects = Vec::new();
    if space::is_lost(&highest, free) {
        highest = *free;
        if state.space.suspects.is_empty() {
            let living = state.tasks.values().filter(|task| task.phase() == Phase::Live);
            suspects = living.map(|task| task.id).collect();
        }
    }
    let (bytes, files) = (highest.bytes.max(free.bytes), highest.files.max(free.files));
    let highest = Free { bytes, files, ..highest };
    if state.space.highest != Some(highest) {
        step.change(Mutation::HighestFree(highest));
    }
    suspects.extend(&state.space.suspects);
    if !suspects.is_empty() {
        let later = suspects.split_off(suspects.len().min(LOOKS_PER_TURN));
        let tasks = u32::try_from(state.index.living).unwrap_or(u32::MAX);
        suspects.into_iter().for_each(|task| step.act(Effect::LookAtDisk { task, tasks }));
        step.change(Mutation::Suspects(later));
    }
    if now_ms >= state.space.room_at_ms
        && let Some(bytes) = space::wanted(free)
    {
        step.change(Mutation::RoomMade { next_at_ms: now_ms.saturating_add(ROOM_PAUSE_MS) });
        make(step, bytes, "the node's disk was nearly full");
    }
}

/// A launch begins once what it is promised is free: what ended tasks have left goes first, and until it is gone nobody
/// is started in its place.
pub(super) fn begin_with_room(step: &mut Step, id: TaskId) {
    let until_ms = step.now.mono_ms.saturating_add(MAX_ROOM_WAIT_MS);
    step.change(Mutation::RoomAwaited { task: id, until_ms });
    step.then(Next::BeginWaiting);
}

/// What ended tasks have left makes room for launches that wait; then those begin for which there is room.
pub(super) fn begin_waiting(step: &mut Step) {
    if step.state.space.waiting.is_empty() {
        return;
    }
    let taken = Taken::of(step.state);
    let over = taken.promised.saturating_add(taken.left).saturating_sub(step.state.offer.total.disk_bytes);
    match taken.waiting > 0 && over > 0 {
        true => {
            make(step, over, "another task was to have its room");
            step.then(Next::GiveRoom);
        }
        false => give_of(step, taken),
    }
}

/// Begins those launches for which there is room now.
pub(super) fn give(step: &mut Step) {
    give_of(step, Taken::of(step.state));
}

fn give_of(step: &mut Step, taken: Taken) {
    let (state, total) = (step.state, step.state.offer.total.disk_bytes);
    let mut used = taken.promised.saturating_add(taken.by_ended()).saturating_sub(taken.waiting);
    for (id, until_ms) in &state.space.waiting {
        let Some(task) = state.tasks.get(id) else {
            step.change(Mutation::RoomDecided { task: *id });
            continue;
        };
        let wanted = task.plan.demand.disk_bytes;
        if task.kill.is_some() {
            launch::end_killed_unstarted(step, *id);
        } else if wanted == 0 || used.saturating_add(wanted) <= total {
            used = used.saturating_add(wanted);
            launch::vet_user(step, *id);
        } else if step.now.mono_ms >= *until_ms {
            let (left, waited) = (amounts::bytes(taken.by_ended()), amounts::duration(MAX_ROOM_WAIT_MS));
            let message =
                format!("no room on this node: ended tasks have left {left}, which are not gone after {waited}");
            launch::fail_launch(step, *id, &Refusal::NoRoom { message });
        } else {
            continue;
        }
        step.change(Mutation::RoomDecided { task: *id });
    }
}

/// Counts the bytes that a task left on the disk before the agent started. They are not free, but they are removed when
/// room is needed, so the agent offers them as free.
pub(super) fn count_in(step: &mut Step, id: TaskId, bytes: u64) {
    let state = step.state;
    if state.space.found.contains(&id) && bytes > 0 && !state.draining {
        let mut offer = state.offer.clone();
        offer.total.disk_bytes = offer.total.disk_bytes.saturating_add(bytes - bytes / 10);
        offer.epoch += 1;
        step.offer(offer);
    }
}

pub(super) fn directory_gone(step: &mut Step, id: TaskId) {
    step.change(Mutation::DirectoryGone { task: id });
    step.then(Next::BeginWaiting);
}

fn make(step: &mut Step, bytes: u64, why: &'static str) {
    for id in sweep::for_room(ended(step.state), bytes) {
        remove(step, id, Some(why));
    }
}

/// Ended tasks whose directories may go.
pub(super) fn ended(state: &State) -> Vec<Ended<'_>> {
    let ended = state.tasks.values().filter(|task| task.released && task.is_cleaned());
    let kept = ended.filter_map(|task| {
        let was_over = task.last.reason == Reason::DiskLimit;
        let ended_ms = task.ending()?.ended_ms;
        Some(Ended { task: task.id, job: &task.plan.job, ended_ms, bytes: task.bytes(), was_over })
    });
    kept.collect()
}

pub(super) fn remove(step: &mut Step, id: TaskId, why: Option<&'static str>) {
    let bytes = step.state.tasks.get(&id).map_or(0, |task| task.bytes());
    step.note(Note::DirectoryRemoved { task: id, why });
    step.change(Mutation::TaskRemoved { task: id, bytes, why });
    step.act(Effect::Delete { task: id });
}
