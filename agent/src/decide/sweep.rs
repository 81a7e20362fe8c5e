//! Which ended tasks' directories go: by age, then by total space, oldest first; or those that give room.

use dawn_proto::TaskId;

/// Directories of ended tasks kept at most, whatever their age and size.
const MAX_KEPT: usize = 10_000;

/// What may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    pub age_ms: u64,
    pub total_bytes: u64,
}

/// An ended task whose directory is no longer needed by anybody but readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub task: TaskId,
    /// On the boot clock.
    pub ended_ms: i64,
    pub bytes: u64,
    /// It ended for what it took on disk.
    pub was_over: bool,
}

/// The tasks whose directories together free so much, if there are as many: first those that took more than they were
/// allowed, then the oldest.
pub fn for_room(mut ended: Vec<Ended>, bytes: u64) -> Vec<TaskId> {
    ended.sort_by_key(|one| (!one.was_over, one.ended_ms, one.task));
    let mut freed = 0u64;
    let is_needed = |one: &Ended| {
        let is_needed = freed < bytes;
        freed = freed.saturating_add(one.bytes);
        is_needed
    };
    ended.into_iter().take_while(is_needed).map(|one| one.task).collect()
}

/// The tasks to delete, oldest first.
pub fn victims(mut ended: Vec<Ended>, keep: Keep, now_ms: i64) -> Vec<TaskId> {
    ended.sort_by_key(|one| (one.ended_ms, one.task));
    let mut total = ended.iter().fold(0u64, |sum, one| sum.saturating_add(one.bytes));
    let mut kept = ended.len();
    let mut victims = Vec::new();
    for one in ended {
        if now_ms.saturating_sub(one.ended_ms) <= keep.age_ms.min(i64::MAX as u64).cast_signed()
            && total <= keep.total_bytes
            && kept <= MAX_KEPT
        {
            break;
        }
        total = total.saturating_sub(one.bytes);
        kept -= 1;
        victims.push(one.task);
    }
    victims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(task: u64, ended_ms: i64, bytes: u64) -> Ended {
        Ended { task: TaskId(task), ended_ms, bytes, was_over: false }
    }

    #[test]
    fn room_is_taken_from_those_that_took_too_much_and_then_from_the_oldest() {
        let over = |one: Ended| Ended { was_over: true, ..one };
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
