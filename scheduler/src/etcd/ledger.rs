//! The leader's end of the journal as decisions: what is asked of etcd next, and what an answer means. No I/O: the writer
//! asks it, and so may anything that stands in for etcd.
//!
//! The guard is "the leader key I was elected with is still there, and the head is where I left it". When an answer is
//! lost the same question is asked again: if the first one did apply, its head fails the guard of the second and is found
//! to be ours, so a retry can neither append twice nor fork.

use std::sync::Arc;

use super::keys::Keys;
use super::load::Head;
use super::pack::pack_batches;
use crate::model::Batch;

/// Most mutations in one segment before its last batch.
pub const SEGMENT_MUTATIONS: usize = 4_096;

/// What must hold for a transaction to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key is there since this revision.
    MadeAt {
        key: Vec<u8>,
        revision: u64,
    },
    Absent {
        key: Vec<u8>,
    },
    Holds {
        key: Vec<u8>,
        value: Vec<u8>,
    },
}

/// One transaction: all puts if every guard holds, otherwise nothing but a look at the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub guards: Vec<Guard>,
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    pub head_key: Vec<u8>,
    /// Of the last batch in it.
    last: u64,
}

impl Ask {
    /// Of what it puts.
    pub fn bytes(&self) -> usize {
        self.puts.iter().map(|(_, value)| value.len()).sum()
    }
}

/// What a question that was answered came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Written,
    NotLeader,
}

/// Where the journal ends, as this leader knows it.
#[derive(Clone, Debug)]
pub struct Ledger {
    keys: Keys,
    leader_key: Vec<u8>,
    epoch: u64,
    head: Head,
}

impl Ledger {
    /// `head` is as found after the election was won.
    pub fn new(keys: Keys, leader_key: Vec<u8>, epoch: u64, head: Head) -> Ledger {
        Ledger { keys, leader_key, epoch, head }
    }

    /// Consecutive batches as one segment. None: there are none.
    ///
    /// # Panics
    /// When they do not follow the head.
    pub fn ask(&self, batches: &[Arc<Batch>]) -> Option<Ask> {
        let (first, last) = (batches.first()?.index, batches.last()?.index);
        assert_eq!(first, self.head.index + 1, "a segment that does not follow the head");
        let segment = self.keys.segment(first).into_bytes();
        let head_key = self.keys.head().into_bytes();
        let guards = vec![
            Guard::MadeAt { key: self.leader_key.clone(), revision: self.epoch },
            self.head_guard(&head_key),
            Guard::Absent { key: segment.clone() },
        ];
        let puts = vec![(segment, pack_batches(batches)), (head_key.clone(), self.head_value(last))];
        Some(Ask { guards, puts, head_key, last })
    }

    /// `found`: what the head holds, where the guards did not.
    pub fn answered(&mut self, ask: &Ask, applied: bool, found: Option<&[u8]>) -> Outcome {
        let ours = self.head_value(ask.last);
        // The head names its writer's epoch, so one that equals ours was written by this very question's first try.
        if !applied && found != Some(&ours[..]) {
            return Outcome::NotLeader;
        }
        self.head = Head { index: ask.last, value: Some(ours) };
        Outcome::Written
    }

    fn head_value(&self, index: u64) -> Vec<u8> {
        format!("{index} {}", self.epoch).into_bytes()
    }

    /// The head is exactly as we found it when elected, or as we left it.
    fn head_guard(&self, key: &[u8]) -> Guard {
        let key = key.to_vec();
        match &self.head.value {
            None => Guard::Absent { key },
            Some(value) => Guard::Holds { key, value: value.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use dawn_proto::{Epoch, Timestamp};

    use super::*;

    fn batch(index: u64) -> Arc<Batch> {
        Arc::new(Batch { index, epoch: Epoch(7), at: Timestamp(1), part: None, mutations: Vec::new() })
    }

    fn ledger() -> Ledger {
        Ledger::new(Keys::new("dawn"), b"/dawn/leader/1".to_vec(), 7, Head::default())
    }

    #[test]
    fn each_question_is_guarded_by_the_leader_key_and_the_head() {
        let mut ledger = ledger();
        let head = b"/dawn/head".to_vec();
        let first = ledger.ask(&[batch(1), batch(2)]).unwrap();
        let segment = b"/dawn/journal/00000000000000000001".to_vec();
        let leader = Guard::MadeAt { key: b"/dawn/leader/1".to_vec(), revision: 7 };
        let absent = [Guard::Absent { key: head.clone() }, Guard::Absent { key: segment.clone() }];
        assert_eq!(first.guards, [&[leader][..], &absent].concat());
        assert_eq!(first.puts[0].0, segment);
        assert_eq!(first.puts[1], (head.clone(), b"2 7".to_vec()));
        assert_eq!(ledger.answered(&first, true, None), Outcome::Written);
        let second = ledger.ask(&[batch(3)]).unwrap();
        assert_eq!(second.guards[1], Guard::Holds { key: head, value: b"2 7".to_vec() });
        assert_eq!(ledger.ask(&[]), None);
    }

    #[test]
    fn a_refusal_is_a_success_only_when_the_head_is_our_own() {
        for (found, outcome) in [
            (Some(&b"1 7"[..]), Outcome::Written),
            (Some(&b"1 8"[..]), Outcome::NotLeader),
            (Some(&b"2 7"[..]), Outcome::NotLeader),
            (None, Outcome::NotLeader),
        ] {
            let mut ledger = ledger();
            let ask = ledger.ask(&[batch(1)]).unwrap();
            assert_eq!(ledger.answered(&ask, false, found), outcome, "{found:?}");
        }
    }
}
