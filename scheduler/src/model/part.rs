//! A step that is larger than a batch may be: written as numbered parts that take effect with the last one. Parts whose
//! last one never came are void as soon as anything else follows them.

use std::borrow::Cow;

use super::measure::BATCH_BYTES;
use super::{Batch, Mutation, State};

/// Which part of a step a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    pub of: u32,
}

impl Part {
    pub fn is_last(self) -> bool {
        self.number == self.of
    }
}

/// Cuts a step's mutations so that each piece fits into a batch of so many bytes. One mutation is never cut.
pub fn cut(mutations: Vec<Mutation>, most_bytes: usize) -> Vec<Vec<Mutation>> {
    let (mut pieces, mut bytes) = (vec![Vec::new()], BATCH_BYTES);
    for mutation in mutations {
        let more = mutation.bytes();
        let is_begun = pieces.last().is_some_and(|piece| !piece.is_empty());
        if is_begun && bytes + more > most_bytes {
            pieces.push(Vec::new());
            bytes = BATCH_BYTES;
        }
        bytes += more;
        if let Some(piece) = pieces.last_mut() {
            piece.push(mutation);
        }
    }
    pieces
}

impl State {
    /// The step that ends with the batch, as one batch; None: it is a part, and others follow.
    pub fn whole<'a>(&self, batch: &'a Batch) -> Option<Cow<'a, Batch>> {
        match batch.part {
            None => Some(Cow::Borrowed(batch)),
            Some(part) if !part.is_last() => None,
            Some(_) => {
                let parts = self.truth.parts.iter().chain([batch]);
                let mutations = parts.flat_map(|part| part.mutations.iter().cloned()).collect();
                Some(Cow::Owned(Batch { part: None, mutations, ..*batch }))
            }
        }
    }

    /// Whether the batch makes a step whole: what the parts before it hold, in order, is to be applied first. None: more
    /// parts follow, nothing takes effect yet. The batch is taken either way.
    ///
    /// # Panics
    /// When the batch does not follow the last one, or a part is missing before it.
    pub fn gather(&mut self, batch: &Batch) -> Option<Vec<Batch>> {
        assert_eq!(batch.index, self.truth.index + 1, "batch does not follow the state");
        let Some(part) = batch.part else {
            self.truth.parts.clear();
            return Some(Vec::new());
        };
        if part.number == 1 {
            self.truth.parts.clear();
        }
        let before =
            self.truth.parts.last().and_then(|before| Some((before.epoch, before.part?.number, before.part?.of)));
        let expected = (part.number > 1).then_some((batch.epoch, part.number - 1, part.of));
        assert_eq!(
            before, expected,
            "part {} of {} in batch {} has another before it",
            part.number, part.of, batch.index
        );
        if part.is_last() {
            return Some(std::mem::take(&mut self.truth.parts));
        }
        self.truth.parts.push(batch.clone());
        self.truth.index = batch.index;
        None
    }
}
