//! How many bytes of segments came into etcd after an index. Not here: how many are too many.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Segments are counted together up to so many bytes, so that the count itself stays small.
const PIECE_BYTES: u64 = 64 << 10;

/// What this process has seen of the journal's growth, as it read or wrote it.
#[derive(Debug, Default)]
pub struct Growth(Mutex<VecDeque<Piece>>);

#[derive(Debug)]
struct Piece {
    /// The last batch in it.
    last: u64,
    bytes: u64,
}

impl Growth {
    /// A segment that ends with the batch `last`. One that is seen twice counts once.
    pub fn add(&self, last: u64, bytes: usize) {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = bytes as u64;
        match pieces.back_mut() {
            Some(piece) if last <= piece.last => {}
            Some(piece) if piece.bytes < PIECE_BYTES => (piece.last, piece.bytes) = (last, piece.bytes + bytes),
            _ => pieces.push_back(Piece { last, bytes }),
        }
    }

    /// Bytes of segments that hold batches after `index`; what ends with it or before is not asked for again.
    pub fn after(&self, index: u64) -> u64 {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while pieces.front().is_some_and(|piece| piece.last <= index) {
            pieces.pop_front();
        }
        pieces.iter().map(|piece| piece.bytes).sum()
    }

    /// The journal is read anew, perhaps another one.
    pub fn begin(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_after_an_index_is_counted_once_and_at_most_a_piece_too_much() {
        let growth = Growth::default();
        for _ in 0..2 {
            for last in 1..=1_000 {
                growth.add(last, 1_000);
            }
        }
        assert_eq!(growth.after(0), 1_000_000);
        let half = growth.after(500);
        assert!((500_000..=500_000 + PIECE_BYTES + 1_000).contains(&half), "{half}");
        assert!(growth.0.lock().unwrap().len() <= 16, "{growth:?}");
        assert_eq!(growth.after(1_000), 0);
        growth.add(1_001, 7);
        assert_eq!(growth.after(1_000), 7);
        growth.begin();
        growth.add(3, 5);
        assert_eq!(growth.after(2), 5);
    }
}
