//! Which instances are next: the strategies.

use dawn_proto::v1::UpdateStrategy;

use super::control::{moved, push};
use super::judge::{self, is_beside, push_on};
use super::table::Cause;
use crate::decide::step::Step;
use crate::model::{Instances, Job, Update, UpdateChange};

/// How many may be advanced now.
enum Room {
    /// So many more.
    For(usize),
    /// None until a person speaks.
    Promotion,
    Pause,
}

/// Advances what may be. `busy`: instances advanced and not through.
pub(super) fn advance(step: &mut Step, job: &Job, update: &Update, busy: usize) {
    let left = update.instances.len() - update.advanced.len();
    if left == 0 {
        return;
    }
    let (room, group) = room(update, busy);
    if group != update.group {
        push(step, job, UpdateChange::Group(group));
    }
    let count = match room {
        Room::For(count) => count.min(left),
        Room::Promotion => {
            let why = format!("healthy; waits for `dawn update promote {}`", job.key);
            return moved(step, job, update, Cause::Healthy, &why);
        }
        Room::Pause => {
            let why = format!("group {} is through; waits for `dawn update resume {}`", update.group, job.key);
            return moved(step, job, update, Cause::Pause, &why);
        }
    };
    // Four mutations each at most: the step's bound holds.
    let count = count.min(step.settings.slice.saturating_sub(step.mutations.len()) / 4 + 1);
    let next =
        if update.is_back() { next_back(step, job, update, count) } else { waiting(update).take(count).collect() };
    if next.is_empty() {
        return;
    }
    push(step, job, UpdateChange::Advanced(next.clone()));
    let switch = is_back_or_rolls(update);
    next.iter().for_each(|instance| push_on(step, job, update, instance, switch));
}

fn waiting(update: &Update) -> impl Iterator<Item = u32> {
    update.instances.iter().filter(|instance| !update.advanced.contains(*instance))
}

/// Back, those go first that live twice, all of them: their life before is there. Then those of which nothing runs.
fn next_back(step: &Step, job: &Job, update: &Update, count: usize) -> Instances {
    let twice: Instances = waiting(update).filter(|at| judge::lives_twice(step, job, *at)).collect();
    if !twice.is_empty() {
        return twice;
    }
    let (down, up): (Vec<u32>, Vec<u32>) = waiting(update).partition(|at| judge::is_down(step, job, *at));
    down.into_iter().chain(up).take(count).collect()
}

/// Whether the old may go instance by instance; a blue/green update waits for all.
pub(super) fn is_back_or_rolls(update: &Update) -> bool {
    update.is_back() || update.policy.strategy != UpdateStrategy::BlueGreen
}

/// The room now, and the number of groups open with it.
fn room(update: &Update, busy: usize) -> (Room, u32) {
    let policy = &update.policy;
    let group = update.group;
    let most = |size: u32| match is_beside(policy) {
        true => size.min(policy.surge.max(1)),
        false => size,
    } as usize;
    let queue = |size: u32| Room::For(most(size).saturating_sub(busy));
    let largest = policy.group_sizes.iter().copied().max().unwrap_or(1);
    let first = policy.group_sizes.first().copied().unwrap_or(1);
    match policy.strategy {
        UpdateStrategy::BlueGreen => (Room::For(usize::MAX), group),
        UpdateStrategy::Canary if update.is_back() => (queue(largest.max(policy.canaries)), group),
        _ if update.is_back() => (queue(largest), group),
        UpdateStrategy::Canary => match group {
            0 => (Room::For(most(policy.canaries)), 1),
            1 if update.advanced.len() < policy.canaries as usize => {
                let left = policy.canaries as usize - update.advanced.len();
                (Room::For(left.min(most(u32::MAX).saturating_sub(busy))), 1)
            }
            1 if busy > 0 => (Room::For(0), 1),
            1 if policy.manual_promotion && !update.promoted => (Room::Promotion, 1),
            _ => (queue(first), 2),
        },
        UpdateStrategy::Batches => {
            let end = |groups: u32| -> usize { (0..groups).map(|at| size(update, at) as usize).sum() };
            let advanced = update.advanced.len();
            match (busy, advanced >= end(group)) {
                (0, true) if policy.pause_between && group > 0 => (Room::Pause, group + 1),
                (0, true) => (Room::For(most(size(update, group))), group + 1),
                (_, true) => (Room::For(0), group),
                _ => (Room::For((end(group) - advanced).min(most(u32::MAX).saturating_sub(busy))), group),
            }
        }
        UpdateStrategy::RollingQueue | UpdateStrategy::Unspecified => (queue(first), group),
    }
}

/// Of the group of that number, from 0.
fn size(update: &Update, group: u32) -> u32 {
    let sizes = &update.policy.group_sizes;
    sizes.get(group as usize).or(sizes.last()).copied().unwrap_or(1)
}
