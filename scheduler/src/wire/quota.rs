//! Quotas, both ways.

use dawn_proto::v1;

use super::parse::WireError;
use super::record::Recorded;
use crate::model::{Bounds, Quota, QuotaSet};

impl Recorded for QuotaSet {
    type Wire = v1::QuotaSet;

    fn to_wire(&self) -> v1::QuotaSet {
        v1::QuotaSet { quota: Some(quota_to_wire(&self.role, &self.quota)), author: self.author.clone() }
    }

    fn from_wire(set: v1::QuotaSet) -> Result<Self, WireError> {
        let (role, quota) = quota_from_wire(set.quota.as_ref());
        Ok(QuotaSet { role, quota, author: set.author })
    }
}

/// A dimension that is missing is not bounded.
pub fn bounds_from_wire(wire: &v1::QuotaBounds) -> Bounds {
    Bounds(wire.amounts())
}

fn bounds_to_wire(bounds: &Bounds) -> Option<v1::QuotaBounds> {
    (!bounds.is_none()).then(|| v1::QuotaBounds::from(&bounds.0))
}

/// A role's quota as a message.
pub fn quota_to_wire(role: &str, quota: &Quota) -> v1::Quota {
    let (guarantee, limit) = (bounds_to_wire(&quota.guarantee), bounds_to_wire(&quota.limit));
    v1::Quota { role: role.to_string(), guarantee, limit, weight: quota.weight }
}

/// The role and its quota; weights out of range become the nearest one.
pub fn quota_from_wire(wire: Option<&v1::Quota>) -> (String, Quota) {
    let bounds = |bounds: Option<&v1::QuotaBounds>| bounds.map(bounds_from_wire).unwrap_or_default();
    let quota = Quota {
        guarantee: bounds(wire.and_then(|wire| wire.guarantee.as_ref())),
        limit: bounds(wire.and_then(|wire| wire.limit.as_ref())),
        weight: wire.map_or(1, |wire| wire.weight.clamp(1, Quota::MAX_WEIGHT)),
    };
    (wire.map(|wire| wire.role.clone()).unwrap_or_default(), quota)
}
