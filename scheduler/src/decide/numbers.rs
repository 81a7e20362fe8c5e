//! Which numbers the instances of a service have when there are to be fewer of them, or more. An instance keeps its number for
//! life: those that go leave gaps, and new ones fill the gaps first. Not here: the stops and starts that follow.

use std::cmp::Reverse;

use dawn_proto::v1::JobKind;
use dawn_proto::{TaskState, Timestamp};

use crate::model::{Instances, Job, JobSpec, State, Task};

/// How much would be lost with an instance; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Nothing of it lives: a user stopped it.
    Stopped,
    /// It waits for a place, or to be tried again.
    Waits,
    /// It is being stopped and will be made anew.
    Leaves,
    OutOfReach,
    /// It runs and is not healthy yet.
    Starts,
    /// It runs after a failure, and has not done so for long.
    Failing,
    Runs,
}

/// The gaps between the numbers that a job's instances have once it goes to a spec. Where only `chosen` instances go to it,
/// a person names them by their numbers: then the highest ones go, whatever runs.
pub(super) fn gaps(state: &State, job: &Job, to: &JobSpec, chosen: &[(u32, u32)], now: Timestamp) -> Instances {
    if to.kind != JobKind::Service || job.ended.is_some() {
        return Instances::default();
    }
    let mut numbers = numbers_of(state, job);
    let wanted = to.instances as usize;
    if numbers.len() > wanted {
        let worth = |at: &u32| if chosen.is_empty() { worth(state, job, *at, now) } else { Worth::Runs };
        numbers.sort_by_cached_key(|at| (Reverse(worth(at)), *at));
        numbers.truncate(wanted);
        numbers.sort_unstable();
    }
    let (mut gaps, mut next) = (Instances::default(), 0);
    let mut missing = wanted - numbers.len();
    for number in numbers {
        let between = next..number;
        // The lowest are filled.
        let filled = between.len().min(missing);
        missing -= filled;
        gaps.extend(between.skip(filled));
        next = number + 1;
    }
    gaps
}

/// The numbers that a job's instances have, ascending; those too that a user stopped.
pub(super) fn numbers_of(state: &State, job: &Job) -> Vec<u32> {
    let current = state.current_spec(job);
    let has = |at: &u32| match job.changes.pins.get(at) {
        Some(pinned) => pinned.is_some(),
        None => current.is_some_and(|current| state.may_have(current, *at)),
    };
    (0..state.wanted_bound(job)).filter(has).collect()
}

fn worth(state: &State, job: &Job, instance: u32, now: Timestamp) -> Worth {
    if job.stopped.contains(&instance) {
        return Worth::Stopped;
    }
    let lives = state.tasks_of(job.id).slot(Timestamp(0), instance).filter_map(|id| state.tasks.get(&id));
    lives.filter_map(|life| worth_of(state, life, now)).max().unwrap_or(Worth::Stopped)
}

/// None: it has ended.
fn worth_of(state: &State, task: &Task, now: Timestamp) -> Option<Worth> {
    Some(match task.state() {
        TaskState::Throttled | TaskState::Pending => Worth::Waits,
        TaskState::Preempting | TaskState::Restarting | TaskState::Draining | TaskState::Killing => Worth::Leaves,
        TaskState::Partitioned => Worth::OutOfReach,
        TaskState::Assigned | TaskState::Starting => Worth::Starts,
        TaskState::Running if task.is_failing(now, state.spec_of(task).job.restart.stable_after_ms) => Worth::Failing,
        TaskState::Running => Worth::Runs,
        _ => return None,
    })
}
