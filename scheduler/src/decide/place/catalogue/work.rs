//! A work: the tasks of one job version, which are placed alike and together. Not here: which of them wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dawn_proto::SpecId;

use crate::model::{JobId, Spec};

use super::super::numbers::{KeyId, RoleId, ShapeId, SlotId, Table, WorkId};
use super::rules::Rules;

/// Whether avoided agents are all that could hold a task of a work.
#[derive(Clone, Debug)]
pub struct LastResort {
    /// How often the fleet had moved by then.
    pub moves: u64,
    /// Rules about other tasks were asked too: true only of where these are now.
    pub by_rules: bool,
    pub is_last: bool,
}

#[derive(Clone, Debug)]
pub struct Work {
    pub spec: Arc<Spec>,
    pub job: JobId,
    /// The job's number among keys.
    pub name: KeyId,
    pub shape: ShapeId,
    pub role: RoleId,
    pub band: u8,
    /// The spec's, beside the band: a search for victims looks at both of thousands.
    pub priority: u16,
    pub rules: Rules,
    /// Slots that its tasks keep off, ascending.
    pub kept_off: Vec<SlotId>,
    pub last_resort: Option<LastResort>,
    /// Tasks of it that hold room, have a claim or are planned; with those that wait, what keeps it alive.
    pub held: u32,
    pub claimed: u32,
}

impl Work {
    #[inline]
    pub fn keeps_off(&self, slot: SlotId) -> bool {
        !self.kept_off.is_empty() && self.kept_off.binary_search(&slot).is_ok()
    }

    /// No task of it holds room or has a claim.
    pub fn is_unused(&self) -> bool {
        self.held == 0 && self.claimed == 0
    }
}

/// All works, by number. Numbers are used again.
#[derive(Clone, Debug, Default)]
pub struct Works {
    all: Table<WorkId, Work>,
    by_spec: BTreeMap<SpecId, WorkId>,
    /// By role, band and priority.
    by_role: BTreeSet<(RoleId, u8, u16, WorkId)>,
    free: Vec<WorkId>,
}

impl Works {
    pub fn of(&self, spec: SpecId) -> Option<WorkId> {
        self.by_spec.get(&spec).copied()
    }

    #[inline]
    pub fn get(&self, number: WorkId) -> &Work {
        &self.all[number]
    }

    #[inline]
    pub fn get_mut(&mut self, number: WorkId) -> &mut Work {
        &mut self.all[number]
    }

    /// The works of a work's role and band that have a lower priority, the lowest first.
    pub fn below(&self, work: &Work) -> impl Iterator<Item = WorkId> {
        let Work { role, band, priority, .. } = *work;
        self.by_role.range((role, band, 0, WorkId(0))..(role, band, priority, WorkId(0))).map(|(.., number)| *number)
    }

    pub fn insert(&mut self, work: Work) -> WorkId {
        let (spec, of_role) = (work.spec.id, (work.role, work.band, work.priority));
        let number = match self.free.pop() {
            Some(number) => {
                self.all[number] = work;
                number
            }
            None => self.all.push(work),
        };
        self.by_spec.insert(spec, number);
        self.by_role.insert((of_role.0, of_role.1, of_role.2, number));
        number
    }

    pub fn remove(&mut self, number: WorkId) {
        let work = &mut self.all[number];
        self.by_spec.remove(&work.spec.id);
        self.by_role.remove(&(work.role, work.band, work.priority, number));
        work.rules = Rules::default();
        self.free.push(number);
    }

    pub fn numbers(&self) -> impl Iterator<Item = WorkId> {
        self.by_spec.values().copied()
    }

    pub fn bytes(&self) -> usize {
        self.all.len() * size_of::<Work>()
    }
}
