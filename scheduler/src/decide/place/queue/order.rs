//! Whose turn it is: bands by tier, inside a band the role with the smallest dominant share (weighted), inside a role the
//! highest priority, then the oldest. Dominant resource fairness after Ghodsi et al., NSDI 2011, kept incrementally.
//! Not here: which works wait.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::Tier;
use dawn_proto::{Dimension, TaskId};

use super::super::amounts::{Amounts, add, subtract};
use super::super::numbers::{Number, RoleId, Table, WorkId};
use crate::model::{Bound, Bounds, Quota};

/// Shares are counted in this many parts of the cluster.
const WHOLE: u128 = 1_000_000_000;
const NO_BOUND: Amounts = Amounts::all(i64::MAX);
pub const BANDS: usize = 3;

/// `i64::MAX`: not bounded.
fn amounts(bounds: &Bounds) -> Amounts {
    bounds.0.map(|bound| bound.and_then(|bound| i64::try_from(bound).ok()).unwrap_or(i64::MAX))
}

/// Production first; an unknown tier is the humblest.
pub fn band_of(tier: Tier) -> u8 {
    match tier {
        Tier::Production => 0,
        Tier::Batch => 1,
        Tier::Revocable | Tier::Unspecified => 2,
    }
}

/// Where a work stands in its role's queue.
pub type Ticket = (Reverse<u16>, TaskId, WorkId);

#[derive(Clone, Debug, Default)]
struct Queue {
    works: BTreeSet<Ticket>,
    used: Amounts,
    /// As it is listed among the ready ones; None: not listed.
    listed: Option<u64>,
    /// Its share moved since it was listed.
    stale: bool,
}

#[derive(Clone, Debug)]
struct Role {
    name: String,
    weight: u64,
    /// The most it may hold in the production band, and in all together.
    guarantee: Amounts,
    limit: Amounts,
    used: Amounts,
    queues: [Queue; BANDS],
}

#[derive(Clone, Debug, Default)]
pub struct Order {
    quotas: BTreeMap<String, Quota>,
    roles: Table<RoleId, Role>,
    by_name: BTreeMap<String, RoleId>,
    ready: [BTreeSet<(u64, RoleId)>; BANDS],
    /// All that the cluster's agents have.
    total: Amounts,
    /// Queues whose share moved while nobody looked, each once.
    stale: Vec<(u8, RoleId)>,
}

/// Who is next, and how far it may go before it is another's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub band: u8,
    pub role: RoleId,
    pub ticket: Ticket,
    /// The next role's share; None: nobody else waits in the band.
    pub next_share: Option<u64>,
}

impl Order {
    pub fn role(&mut self, name: &str) -> RoleId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = RoleId::of(self.roles.len());
        let (used, queues) = Default::default();
        let (weight, guarantee, limit) = (1, NO_BOUND, NO_BOUND);
        self.roles.push(Role { name: name.to_string(), weight, guarantee, limit, used, queues });
        self.take_quota(id);
        self.by_name.insert(name.to_string(), id);
        id
    }

    /// Weights and bounds changed.
    pub fn set_quotas(&mut self, quotas: &BTreeMap<String, Quota>) {
        self.quotas.clone_from(quotas);
        self.roles.numbers().for_each(|role| self.take_quota(role));
        self.relist_all();
    }

    fn take_quota(&mut self, role: RoleId) {
        let role = &mut self.roles[role];
        let quota = self.quotas.get(&role.name).or_else(|| self.quotas.get(Quota::EVERYBODY));
        let quota = quota.copied().unwrap_or_default();
        role.weight = quota.weight.max(1).into();
        (role.guarantee, role.limit) = (amounts(&quota.guarantee), amounts(&quota.limit));
    }

    /// A role's dominant share of the cluster in one band, over its weight.
    pub fn share(&self, band: u8, role: RoleId) -> u64 {
        let role = &self.roles[role];
        self.share_of(&role.queues[usize::from(band)].used, role.weight)
    }

    fn share_of(&self, used: &Amounts, weight: u64) -> u64 {
        let share = |(used, total): (&i64, &i64)| {
            if *total <= 0 { 0 } else { (*used).max(0) as u128 * WHOLE / (*total as u128 * u128::from(weight)) }
        };
        used.iter().zip(self.total.iter()).map(share).max().unwrap_or(0).min(u128::from(u64::MAX)) as u64
    }

    /// How many tasks of `need` bring the role beyond `share`; at least one.
    pub fn tasks_until(&self, band: u8, role: RoleId, share: u64, need: &Amounts) -> usize {
        let role = &self.roles[role];
        let used = &role.queues[usize::from(band)].used;
        let until = |at: Dimension| -> Option<u128> {
            let (need, total) = (u128::try_from(need[at]).ok()?, u128::try_from(self.total[at]).ok()?);
            let due = u128::from(share) * u128::from(role.weight) * total / WHOLE;
            if need == 0 || total == 0 { None } else { Some(due.saturating_sub(used[at].max(0) as u128) / need) }
        };
        let least = Dimension::ALL.into_iter().filter_map(until).min().unwrap_or(u128::MAX - 1);
        usize::try_from(least + 1).unwrap_or(usize::MAX)
    }

    pub fn hold(&mut self, band: u8, role: RoleId, need: &Amounts) {
        let held = &mut self.roles[role];
        add(&mut held.used, need);
        add(&mut held.queues[usize::from(band)].used, need);
        self.touch(band, role);
    }

    pub fn release(&mut self, band: u8, role: RoleId, need: &Amounts) {
        let held = &mut self.roles[role];
        subtract(&mut held.used, need);
        subtract(&mut held.queues[usize::from(band)].used, need);
        self.touch(band, role);
    }

    fn touch(&mut self, band: u8, role: RoleId) {
        let queue = &mut self.roles[role].queues[usize::from(band)];
        if queue.listed.is_some() && !queue.stale {
            queue.stale = true;
            self.stale.push((band, role));
        }
    }

    /// How many more tasks of `need` the role's quota allows in the band, and which bound and dimension end it.
    pub fn quota_left(&self, band: u8, role: RoleId, need: &Amounts) -> (usize, Bound, Dimension) {
        let role = &self.roles[role];
        let left = |at: Dimension, most: &Amounts, used: &Amounts| {
            let free = most[at].saturating_sub(used[at]).max(0);
            if need[at] <= 0 || most[at] == i64::MAX { usize::MAX } else { (free / need[at]) as usize }
        };
        let mut least = (usize::MAX, Bound::Limit, Dimension::Cpu);
        for at in Dimension::ALL {
            let production = if band == 0 { left(at, &role.guarantee, &role.queues[0].used) } else { usize::MAX };
            for (left, bound) in [(production, Bound::Guarantee), (left(at, &role.limit, &role.used), Bound::Limit)] {
                if left < least.0 {
                    least = (left, bound, at);
                }
            }
        }
        least
    }

    pub fn is_bounded(&self, role: RoleId) -> bool {
        let role = &self.roles[role];
        role.guarantee != NO_BOUND || role.limit != NO_BOUND
    }

    /// A bound of the role in a dimension, and what it uses of it.
    pub fn quota(&self, role: RoleId, bound: Bound, dimension: Dimension) -> (i64, i64) {
        let role = &self.roles[role];
        match bound {
            Bound::Guarantee => (role.guarantee[dimension], role.queues[0].used[dimension]),
            Bound::Limit => (role.limit[dimension], role.used[dimension]),
        }
    }

    pub fn enqueue(&mut self, band: u8, role: RoleId, ticket: Ticket) {
        self.roles[role].queues[usize::from(band)].works.insert(ticket);
        self.relist(band, role);
    }

    pub fn dequeue(&mut self, band: u8, role: RoleId, ticket: &Ticket) {
        self.roles[role].queues[usize::from(band)].works.remove(ticket);
        self.relist(band, role);
    }

    fn relist(&mut self, band: u8, role: RoleId) {
        let share = self.share(band, role);
        let queue = &mut self.roles[role].queues[usize::from(band)];
        let wanted = (!queue.works.is_empty()).then_some(share);
        if queue.listed == wanted {
            return;
        }
        let ready = &mut self.ready[usize::from(band)];
        if let Some(listed) = std::mem::replace(&mut queue.listed, wanted) {
            ready.remove(&(listed, role));
        }
        if let Some(share) = wanted {
            ready.insert((share, role));
        }
    }

    fn relist_all(&mut self) {
        for role in self.roles.numbers() {
            (0..BANDS as u8).for_each(|band| self.relist(band, role));
        }
    }

    /// The cluster's size changed.
    pub fn set_total(&mut self, total: Amounts) {
        if self.total != total {
            self.total = total;
            self.relist_all();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ready.iter().all(BTreeSet::is_empty)
    }

    pub fn next(&mut self) -> Option<Turn> {
        while let Some((band, role)) = self.stale.pop() {
            self.roles[role].queues[usize::from(band)].stale = false;
            self.relist(band, role);
        }
        let band = (0..BANDS).find(|band| !self.ready[*band].is_empty())?;
        let mut ready = self.ready[band].iter();
        let (_, role) = ready.next()?;
        let next_share = ready.next().map(|(share, _)| *share);
        let ticket = *self.roles[*role].queues[band].works.first()?;
        Some(Turn { band: band as u8, role: *role, ticket, next_share })
    }

    /// What each role uses by band, for comparing.
    #[cfg(test)]
    pub fn shown(&self) -> BTreeMap<(String, usize), Amounts> {
        let queues = |role: &Role| {
            let name = role.name.clone();
            role.queues
                .iter()
                .map(|queue| queue.used)
                .enumerate()
                .map(move |(band, used)| ((name.clone(), band), used))
                .collect::<Vec<_>>()
        };
        self.roles.iter().flat_map(queues).filter(|(_, used)| *used != Amounts::default()).collect()
    }
}
