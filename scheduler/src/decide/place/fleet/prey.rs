//! What preemption may count on where, densely. Not here: which tasks it takes.

use super::super::amounts::{Amounts, add, subtract};

/// What preemption may count on by slot, densely: every slot is looked at in a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Prey {
    /// Held by batch and revocable tasks that are not on their way out.
    pub takeable: Amounts,
    /// Held by tasks on their way out.
    pub dying: Amounts,
}

impl Prey {
    #[inline]
    pub fn hold(&mut self, band: u8, dying: bool, need: &Amounts) {
        if dying {
            add(&mut self.dying, need);
        } else if band > 0 {
            add(&mut self.takeable, need);
        }
    }

    #[inline]
    pub fn release(&mut self, band: u8, dying: bool, need: &Amounts) {
        if dying {
            subtract(&mut self.dying, need);
        } else if band > 0 {
            subtract(&mut self.takeable, need);
        }
    }
}
