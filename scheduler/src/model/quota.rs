//! What a role may have. This is the one description of what quotas mean:
//!
//! - `guarantee` bounds the production tasks of the role, `limit` all its tasks of any tier together. A dimension
//!   that is not named is not bounded; custom scalars and ports never are.
//! - A role without a quota of its own goes by that of the role [`Quota::EVERYBODY`], by itself: roles never share one.
//!   Without that one too nothing is bounded.
//! - At submission: what the role's active jobs ask for, with this one as it is or as it will be, whichever is more, must
//!   fit; otherwise the submission is refused. One that asks for no more than the job has is never refused.
//! - At placement: what the role's tasks hold, with this one, must fit; otherwise the task stays pending until some end.
//!   That comes about by cron runs that overlap, or by a quota set below what is in use.
//! - A quota set below what is in use is accepted: nothing is stopped for it, nothing more is placed.
//! - `weight`: beside others a role of weight 2 is due twice the dominant share of a full cluster.

use std::fmt;

use dawn_proto::{ByDimension, Dimension};

/// In each dimension's unit. None: not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds(pub ByDimension<Option<u64>>);

impl Bounds {
    /// Those that are named; no other dimension is bounded.
    pub fn only<const N: usize>(named: [(Dimension, u64); N]) -> Bounds {
        Bounds(ByDimension::only(named.map(|(dimension, bound)| (dimension, Some(bound)))))
    }

    /// The dimensions that are bounded, and by how much.
    pub fn pairs(&self) -> impl Iterator<Item = (Dimension, u64)> {
        self.0.pairs().filter_map(|(dimension, bound)| Some((dimension, (*bound)?)))
    }

    pub fn is_none(&self) -> bool {
        *self == Bounds::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub guarantee: Bounds,
    pub limit: Bounds,
    pub weight: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Quota { guarantee: Bounds::default(), limit: Bounds::default(), weight: 1 }
    }
}

impl Quota {
    /// Stands for every role without a quota of its own. No job's role is named so.
    pub const EVERYBODY: &str = "*";
    pub const MAX_WEIGHT: u32 = 1000;
    /// Most roles with quotas.
    pub const MOST: usize = 10_000;

    pub fn bounds(&self, bound: Bound) -> &Bounds {
        match bound {
            Bound::Guarantee => &self.guarantee,
            Bound::Limit => &self.limit,
        }
    }
}

/// Which of a quota's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Guarantee,
    Limit,
}

impl Bound {
    pub const ALL: [Bound; 2] = [Bound::Guarantee, Bound::Limit];

    /// Whose tasks it bounds, as the end of a sentence's part.
    pub fn of_what(self) -> &'static str {
        match self {
            Bound::Guarantee => " for production",
            Bound::Limit => "",
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Guarantee => "guarantee",
            Bound::Limit => "limit",
        })
    }
}
