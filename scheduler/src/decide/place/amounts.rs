//! Amounts by dimension, as placement counts them: signed, because room may be overdrawn. Not here: who has or asks for them.

use dawn_proto::{ByDimension, Resources};

/// In each dimension's unit.
pub(super) type Amounts = ByDimension<i64>;

/// The most of a dimension an agent is believed to have; what is asked for may be more and then fits nowhere.
const MOST_HAVE: u64 = 1 << 56;
const MOST_NEED: u64 = 1 << 57;

fn amounts(resources: &Resources, most: u64) -> Amounts {
    resources.amounts().map(|amount| amount.min(most) as i64)
}

pub(super) fn have(resources: &Resources) -> Amounts {
    amounts(resources, MOST_HAVE)
}

pub(super) fn need(resources: &Resources) -> Amounts {
    amounts(resources, MOST_NEED)
}

pub(super) fn scalar_have(amount: u64) -> i64 {
    amount.min(MOST_HAVE) as i64
}

pub(super) fn scalar_need(amount: u64) -> i64 {
    amount.min(MOST_NEED) as i64
}

#[inline]
pub(super) fn covers(have: &Amounts, need: &Amounts) -> bool {
    // Without branches: all are looked at in any case.
    have.iter().zip(need.iter()).fold(true, |all, (have, need)| all & (have >= need))
}

/// As `covers`, but what is not asked for may be overdrawn: an agent may come back with less than is held there.
#[inline]
pub(super) fn suffices(have: &Amounts, need: &Amounts) -> bool {
    have.iter().zip(need.iter()).all(|(have, need)| *need == 0 || have >= need)
}

#[inline]
pub(super) fn add(to: &mut Amounts, more: &Amounts) {
    for (to, more) in to.iter_mut().zip(more.iter()) {
        *to += more;
    }
}

#[inline]
pub(super) fn subtract(from: &mut Amounts, less: &Amounts) {
    for (from, less) in from.iter_mut().zip(less.iter()) {
        *from -= less;
    }
}
