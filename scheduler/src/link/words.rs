//! What failed tasks wrote last to standard error, as their agents reported it: kept in the leader's memory alone, so much of
//! it at most. Whatever is not here any more is asked of the agent.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dawn_proto::TaskId;

use crate::model::AgentNo;

/// Of one task.
pub const MOST_OF_TASK_BYTES: usize = 2 << 10;
/// In all; the oldest go first.
const MOST_BYTES: usize = 16 << 20;
/// What keeping an entry takes beside its words, about.
const ENTRY_BYTES: usize = 128;

/// The last words of tasks.
#[derive(Debug, Default)]
pub struct LastWords {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    tasks: HashMap<TaskId, (AgentNo, Box<[u8]>)>,
    /// Each task once, in the order in which they came.
    order: VecDeque<TaskId>,
    bytes: usize,
}

impl LastWords {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing under the lock can panic half way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the agent says that its task wrote last: the end of it, where it is longer than may be.
    pub(super) fn keep(&self, agent: AgentNo, task: TaskId, words: &[u8]) {
        let words: Box<[u8]> = words[words.len().saturating_sub(MOST_OF_TASK_BYTES)..].into();
        let mut kept = self.kept();
        kept.bytes += words.len();
        match kept.tasks.insert(task, (agent, words)) {
            // The report came again.
            Some((_, before)) => kept.bytes -= before.len(),
            None => {
                kept.bytes += ENTRY_BYTES;
                kept.order.push_back(task);
            }
        }
        while kept.bytes > MOST_BYTES {
            let Some(oldest) = kept.order.pop_front() else { return };
            let gone = kept.tasks.remove(&oldest).map_or(0, |(_, words)| words.len());
            kept.bytes -= gone + ENTRY_BYTES;
        }
    }

    /// What the task wrote last, if its agent has said it and it is still kept.
    pub fn of(&self, agent: AgentNo, task: TaskId) -> Option<Vec<u8>> {
        self.kept().tasks.get(&task).filter(|(from, _)| *from == agent).map(|(_, words)| words.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_a_repeated_report_takes_none() {
        let words = LastWords::default();
        let most = MOST_BYTES / (MOST_OF_TASK_BYTES + ENTRY_BYTES);
        for task in 0..most as u64 {
            for _ in 0..2 {
                words.keep(AgentNo(1), TaskId(task), &[b'x'; MOST_OF_TASK_BYTES]);
            }
        }
        assert!(words.of(AgentNo(1), TaskId(0)).is_some());
        words.keep(AgentNo(1), TaskId(most as u64), &[b'x'; MOST_OF_TASK_BYTES]);
        assert_eq!(words.of(AgentNo(1), TaskId(0)), None);
        assert!(words.of(AgentNo(1), TaskId(1)).is_some() && words.of(AgentNo(1), TaskId(most as u64)).is_some());
        let kept = words.kept();
        assert_eq!((kept.tasks.len(), kept.order.len()), (most, most));
        assert!(kept.bytes <= MOST_BYTES);
    }

    #[test]
    fn tasks_that_wrote_next_to_nothing_are_bounded_too() {
        let words = LastWords::default();
        for task in 0..300_000 {
            words.keep(AgentNo(1), TaskId(task), b"x");
        }
        assert!(words.kept().tasks.len() <= MOST_BYTES / ENTRY_BYTES);
    }

    #[test]
    fn the_end_of_what_is_too_long_is_kept_and_only_the_tasks_own_agent_is_believed() {
        let words = LastWords::default();
        words.keep(AgentNo(1), TaskId(7), &[&[b'a'; MOST_OF_TASK_BYTES][..], b"the end"].concat());
        let kept = words.of(AgentNo(1), TaskId(7)).unwrap();
        assert_eq!((kept.len(), kept.ends_with(b"the end")), (MOST_OF_TASK_BYTES, true));
        assert_eq!(words.of(AgentNo(2), TaskId(7)), None);
    }
}
