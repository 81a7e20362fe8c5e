//! Which ended tasks' directories go: those that are too old, and beyond the bounds those of who keeps most. So nobody's
//! large or many directories take the place of another's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use dawn_proto::TaskId;

use crate::model::Keep;

/// Directories of ended tasks kept at most, whatever their age and size.
const MAX_KEPT: usize = 10_000;

/// An ended task whose directory is no longer needed by anybody but readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    pub task: TaskId,
    /// "role/env/name"; empty where nobody knows.
    pub job: &'a str,
    /// On the boot clock.
    pub ended_ms: i64,
    pub bytes: u64,
    /// It ended for what it took on disk.
    pub was_over: bool,
}

/// The tasks whose directories together free so much, if there are as many: first those that took more than they were
/// allowed, then those of the role that keeps most, of its job that keeps most the oldest.
pub fn for_room(ended: Vec<Ended<'_>>, bytes: u64) -> Vec<TaskId> {
    let (mut first, rest): (Vec<_>, Vec<_>) = ended.into_iter().partition(|one| one.was_over);
    first.sort_by_key(|one| (Reverse(one.bytes), one.ended_ms, one.task));
    let mut freed = 0u64;
    let is_needed = |one: &Ended<'_>| {
        let is_needed = freed < bytes;
        freed = freed.saturating_add(one.bytes);
        is_needed
    };
    first.into_iter().chain(InTurn::by(rest, |one| one.bytes)).take_while(is_needed).map(|one| one.task).collect()
}

/// The tasks to delete.
pub fn victims(ended: Vec<Ended<'_>>, keep: Keep, now_ms: i64) -> Vec<TaskId> {
    let age_ms = keep.age_ms.min(i64::MAX as u64).cast_signed();
    let (mut gone, mut kept): (Vec<_>, Vec<_>) =
        ended.into_iter().partition(|one| now_ms.saturating_sub(one.ended_ms) > age_ms);
    gone.sort_by_key(|one| (one.ended_ms, one.task));
    if kept.len() > MAX_KEPT {
        let surplus = kept.len() - MAX_KEPT;
        let mut in_turn = InTurn::by(kept, |_| 1);
        gone.extend(in_turn.by_ref().take(surplus));
        kept = in_turn.collect();
    }
    let mut total = kept.iter().fold(0u64, |sum, one| sum.saturating_add(one.bytes));
    if total > keep.total_bytes {
        let is_too_much = |one: &Ended<'_>| {
            let is_too_much = total > keep.total_bytes;
            total = total.saturating_sub(one.bytes);
            is_too_much
        };
        gone.extend(InTurn::by(kept, |one| one.bytes).take_while(is_too_much));
    }
    gone.into_iter().map(|one| one.task).collect()
}

/// Ended tasks as they give way: always one of the role that keeps most, of its job that keeps most the oldest.
struct InTurn<'a> {
    weight: fn(&Ended<'a>) -> u64,
    /// What each keeps, and its place in `jobs_of`; of equals the first by name.
    roles: BinaryHeap<(u64, Reverse<usize>)>,
    /// What each job of a role keeps, and its place in `tasks_of`.
    jobs_of: Vec<BinaryHeap<(u64, Reverse<usize>)>>,
    /// The oldest first.
    tasks_of: Vec<VecDeque<Ended<'a>>>,
}

impl<'a> InTurn<'a> {
    fn by(mut ended: Vec<Ended<'a>>, weight: fn(&Ended<'a>) -> u64) -> Self {
        ended.sort_by_key(|one| (one.ended_ms, one.task));
        let mut all: BTreeMap<&str, BTreeMap<&str, VecDeque<Ended<'a>>>> = BTreeMap::new();
        for one in ended {
            let role = one.job.split('/').next().unwrap_or_default();
            all.entry(role).or_default().entry(one.job).or_default().push_back(one);
        }
        let mut in_turn = InTurn { weight, roles: BinaryHeap::new(), jobs_of: Vec::new(), tasks_of: Vec::new() };
        for (_, jobs) in all {
            let mut heap = BinaryHeap::new();
            for (_, tasks) in jobs {
                heap.push((tasks.iter().map(weight).fold(0, u64::saturating_add), Reverse(in_turn.tasks_of.len())));
                in_turn.tasks_of.push(tasks);
            }
            let sum = heap.iter().map(|(sum, _)| *sum).fold(0, u64::saturating_add);
            in_turn.roles.push((sum, Reverse(in_turn.jobs_of.len())));
            in_turn.jobs_of.push(heap);
        }
        in_turn
    }
}

impl<'a> Iterator for InTurn<'a> {
    type Item = Ended<'a>;

    fn next(&mut self) -> Option<Ended<'a>> {
        let (of_role, role) = self.roles.pop()?;
        let jobs = self.jobs_of.get_mut(role.0)?;
        let (of_job, job) = jobs.pop()?;
        let tasks = self.tasks_of.get_mut(job.0)?;
        let one = tasks.pop_front()?;
        let weight = (self.weight)(&one);
        if !tasks.is_empty() {
            jobs.push((of_job.saturating_sub(weight), job));
        }
        if !jobs.is_empty() {
            self.roles.push((of_role.saturating_sub(weight), role));
        }
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(task: u64, ended_ms: i64, bytes: u64) -> Ended<'static> {
        Ended { task: TaskId(task), job: "me/test/job", ended_ms, bytes, was_over: false }
    }

    fn of(job: &'static str, one: Ended<'static>) -> Ended<'static> {
        Ended { job, ..one }
    }

    #[test]
    fn the_role_that_keeps_most_loses_directories_first_and_no_other_does() {
        let mut all: Vec<_> = (0..9).map(|n| of("small/prod/a", ended(n, 0, 1))).collect();
        all.push(of("large/prod/b", ended(9, 30, 1_000)));
        assert_eq!(victims(all.clone(), KEEP, 40), [TaskId(9)], "it is the newest, and alone too much");
        assert_eq!(for_room(all, 1), [TaskId(9)]);
        // Many small ones are as much as a large one, and of a role's jobs the one that keeps most comes first.
        let mut all: Vec<_> = (0..8).map(|n| of("many/prod/a", ended(n, 9, 8))).collect();
        all.push(of("many/prod/old", ended(8, 0, 1)));
        all.push(of("one/prod/a", ended(9, 0, 20)));
        assert_eq!(victims(all, KEEP, 40), (0..5).map(TaskId).collect::<Vec<_>>());
    }

    #[test]
    fn above_the_largest_number_of_directories_the_role_with_most_loses_some() {
        let keep = Keep { total_bytes: u64::MAX, ..KEEP };
        let mut all: Vec<_> = (0..MAX_KEPT as u64).map(|n| of("many/prod/a", ended(n, 9, 0))).collect();
        all.push(of("one/prod/a", ended(MAX_KEPT as u64, 0, 20)));
        assert_eq!(victims(all, keep, 40), [TaskId(0)]);
    }

    #[test]
    fn room_is_taken_from_those_that_took_too_much_and_then_from_the_oldest() {
        let over = |one: Ended<'static>| Ended { was_over: true, ..one };
        let all = vec![ended(1, 10, 30), ended(2, 20, 30), over(ended(3, 30, 20))];
        assert_eq!(for_room(all.clone(), 20), [TaskId(3)]);
        assert_eq!(for_room(all.clone(), 21), [TaskId(3), TaskId(1)]);
        assert_eq!(for_room(all.clone(), 1_000), [TaskId(3), TaskId(1), TaskId(2)]);
        assert_eq!(for_room(all, 0), []);
    }

    const KEEP: Keep = Keep { age_ms: 100, total_bytes: 50 };

    #[test]
    fn the_old_go_and_the_young_stay() {
        let all = vec![ended(2, 150, 1), ended(1, 99, 1), ended(3, 100, 1)];
        assert_eq!(victims(all, KEEP, 200), [TaskId(1)]);
    }

    #[test]
    fn space_takes_the_oldest_until_the_rest_fits() {
        let all = vec![ended(1, 10, 30), ended(2, 20, 30), ended(3, 30, 20)];
        assert_eq!(victims(all, KEEP, 40), [TaskId(1)]);
        let all = vec![ended(1, 10, 1), ended(2, 20, 60)];
        assert_eq!(victims(all, KEEP, 40), [TaskId(1), TaskId(2)]);
    }

    #[test]
    fn nothing_goes_when_nothing_must() {
        assert_eq!(victims(vec![ended(1, 10, 50)], KEEP, 110), []);
        assert_eq!(victims(Vec::new(), KEEP, 110), []);
    }

    #[test]
    fn a_clock_set_back_deletes_nothing() {
        assert_eq!(victims(vec![ended(1, 1_000, 1)], KEEP, 0), []);
    }
}
