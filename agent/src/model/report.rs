//! A task's state as it is told to the leader.

use dawn_proto::v1::Reason;
use dawn_proto::validate::MAX_LINK_MESSAGE_BYTES;
use dawn_proto::{TaskId, TaskState, Timestamp};

use super::MAX_HELD_TASKS;

/// Longest message of a report, bytes.
const MAX_MESSAGE_BYTES: usize = 512;
/// Of a report, beside its message.
const REPORT_BYTES: usize = 64;

/// Longest last words, bytes.
const MAX_LAST_WORDS_BYTES: usize = 2 << 10;
/// Tasks whose last words are held in memory while their reports wait for a leader. The last words of further tasks stay in
/// the event logs.
pub const MOST_WITH_WORDS: usize = 512;

// A registration that names every task there may be is received, with the last words that are held.
const _: () = assert!(
    MAX_HELD_TASKS * (MAX_MESSAGE_BYTES + REPORT_BYTES) + MOST_WITH_WORDS * MAX_LAST_WORDS_BYTES + (1 << 20)
        <= MAX_LINK_MESSAGE_BYTES
);

/// How the process that decided a task's end ended, and what it wrote last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// At most one of the two is set.
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Of standard error; on their way to the leader only, and otherwise in the task's event log.
    pub last_words: Vec<u8>,
}

impl Ended {
    /// None where there is nothing to tell.
    pub fn told(exit_code: Option<i32>, signal: Option<i32>, mut last_words: Vec<u8>) -> Option<Box<Ended>> {
        last_words.drain(..last_words.len().saturating_sub(MAX_LAST_WORDS_BYTES));
        let ended = Ended { exit_code, signal, last_words };
        (ended != Ended::default()).then(|| Box::new(ended))
    }
}

/// A task stands at `state`. Repeats are harmless; a higher `sequence` is the newer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub task: TaskId,
    pub sequence: u64,
    pub state: TaskState,
    pub at: Timestamp,
    pub reason: Reason,
    /// At most 512 bytes.
    pub message: String,
    /// Of the process that decided the end, where one did.
    pub ended: Option<Box<Ended>>,
}

impl Report {
    /// A report of the agent's own, cutting a long message at a character boundary.
    pub fn new(task: TaskId, sequence: u64, state: TaskState, at: Timestamp, reason: Reason, message: &str) -> Self {
        let mut end = message.len().min(MAX_MESSAGE_BYTES);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        Report { task, sequence, state, at, reason, message: message[..end].to_string(), ended: None }
    }

    pub fn forget_words(&mut self) {
        if let Some(ended) = &mut self.ended {
            ended.last_words = Vec::new();
        }
    }

    /// The answer about a task this agent has never had or has forgotten. Its sequence outranks whatever came before.
    pub fn not_on_agent(task: TaskId, at: Timestamp) -> Self {
        Report::new(task, u64::MAX, TaskState::Lost, at, Reason::NotOnAgent, "the agent has no such task")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_last_words_the_end_is_kept_and_an_executor_of_the_version_before_tells_none() {
        let ended = Ended::told(None, Some(9), [&[b'a'; 4_000][..], b"the end"].concat()).unwrap();
        assert_eq!((ended.last_words.len(), ended.last_words.ends_with(b"the end")), (2_048, true));
        assert_eq!(Ended::told(None, None, Vec::new()), None);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let report = Report::new(TaskId(1), 1, TaskState::Lost, Timestamp(0), Reason::None, &"é".repeat(300));
        assert_eq!(report.message.len(), 512);
        let report = Report::new(TaskId(1), 1, TaskState::Lost, Timestamp(0), Reason::None, &"€".repeat(300));
        assert_eq!(report.message.len(), 510);
    }
}
