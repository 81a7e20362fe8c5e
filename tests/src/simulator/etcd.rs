//! An etcd as its clients see it: keys with revisions, leases, transactions. What is asked of it and what its answers
//! mean is the scheduler's own code.

use std::collections::BTreeMap;

use dawn_scheduler::etcd::{Ask, Guard, Keys};

pub(super) struct Kv {
    pub value: Vec<u8>,
    /// Revision of its making.
    pub made: u64,
    lease: Option<u64>,
}

#[derive(Default)]
struct Lease {
    until_ms: u64,
    life_ms: u64,
}

/// Who stands for election.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub node: usize,
    pub life: u64,
    pub lease: u64,
    pub key: Vec<u8>,
    pub revision: u64,
}

pub(super) struct Etcd {
    pub names: Keys,
    revision: u64,
    keys: BTreeMap<Vec<u8>, Kv>,
    leases: BTreeMap<u64, Lease>,
    next_lease: u64,
    /// By revision: the first leads.
    candidates: BTreeMap<u64, Candidate>,
    told: u64,
    pub up: bool,
    pub full: bool,
}

impl Etcd {
    pub fn new() -> Etcd {
        Etcd {
            names: Keys::new("dawn"),
            revision: 1,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            next_lease: 0,
            candidates: BTreeMap::new(),
            told: 0,
            up: true,
            full: false,
        }
    }

    pub fn get(&self, key: &[u8]) -> Option<&Kv> {
        self.keys.get(key)
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>, lease: Option<u64>) {
        let made = self.keys.get(&key).map_or(self.revision, |kv| kv.made);
        self.keys.insert(key, Kv { value, made, lease });
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::MadeAt { key, revision } => self.get(key).is_some_and(|kv| kv.made == *revision),
            Guard::Absent { key } => self.get(key).is_none(),
            Guard::Holds { key, value } => self.get(key).is_some_and(|kv| kv.value == *value),
        }
    }

    /// Whether all guards held and the puts were made; where not, what the head holds.
    pub fn transact(&mut self, ask: &Ask) -> (bool, Option<Vec<u8>>) {
        if !ask.guards.iter().all(|guard| self.holds(guard)) {
            return (false, self.get(&ask.head_key).map(|kv| kv.value.clone()));
        }
        self.revision += 1;
        for (key, value) in ask.puts.clone() {
            self.put(key, value, None);
        }
        (true, None)
    }

    pub fn grant(&mut self, life_ms: u64, now_ms: u64) -> u64 {
        self.next_lease += 1;
        self.leases.insert(self.next_lease, Lease { until_ms: now_ms + life_ms, life_ms });
        self.next_lease
    }

    /// Its time to live in seconds; 0: it is gone.
    pub fn renew(&mut self, lease: u64, now_ms: u64) -> i64 {
        match self.leases.get_mut(&lease) {
            Some(found) => {
                found.until_ms = now_ms + found.life_ms;
                i64::try_from(found.life_ms / 1_000).unwrap_or(i64::MAX)
            }
            None => 0,
        }
    }

    pub fn campaign(&mut self, node: usize, life: u64, lease: u64) {
        if !self.leases.contains_key(&lease) {
            return;
        }
        self.revision += 1;
        let key = format!("{}/{lease:x}", self.names.election()).into_bytes();
        self.put(key.clone(), format!("s{node}").into_bytes(), Some(lease));
        let revision = self.revision;
        self.candidates.insert(revision, Candidate { node, life, lease, key, revision });
    }

    /// Leases whose time is over go, with their keys.
    pub fn expire(&mut self, now_ms: u64) {
        if !self.up {
            return;
        }
        let over: Vec<u64> =
            self.leases.iter().filter(|(_, lease)| lease.until_ms <= now_ms).map(|(id, _)| *id).collect();
        for lease in over {
            self.revoke(lease);
        }
    }

    pub fn revoke(&mut self, lease: u64) {
        self.leases.remove(&lease);
        self.keys.retain(|_, kv| kv.lease != Some(lease));
        self.candidates.retain(|_, candidate| candidate.lease != lease);
    }

    /// It comes back: its new leader gives every lease its whole life again.
    pub fn comes_back(&mut self, now_ms: u64) {
        self.up = true;
        self.leases.values_mut().for_each(|lease| lease.until_ms = now_ms + lease.life_ms);
    }

    pub fn leader(&self) -> Option<&Candidate> {
        self.candidates.values().next()
    }

    /// Whoever leads and was not told yet.
    pub fn news(&mut self) -> Option<Candidate> {
        let leader = self.leader().filter(|leader| leader.revision != self.told)?.clone();
        self.told = leader.revision;
        Some(leader)
    }

    /// Segments in order, from the one that holds the batch on.
    pub fn segments_from(&self, index: u64) -> impl Iterator<Item = (&Vec<u8>, &Kv)> {
        let (prefix, exact) = (self.names.segments().into_bytes(), self.names.segment(index).into_bytes());
        let before = self.keys.range(prefix.clone()..=exact.clone()).next_back();
        let start = before.map_or(exact, |(key, _)| key.clone());
        self.keys.range(start..).take_while(move |(key, _)| key.starts_with(&prefix))
    }

    /// Planted: the last segment was never there.
    pub fn lose_last(&mut self) {
        let prefix = self.names.segments().into_bytes();
        let last = self.keys.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix)).last();
        let Some(key) = last.map(|(key, _)| key.clone()) else { return };
        let index = self.names.segment_index(&key).unwrap_or(1) - 1;
        self.keys.remove(&key);
        self.put(self.names.head().into_bytes(), format!("{index} 0").into_bytes(), None);
    }
}
