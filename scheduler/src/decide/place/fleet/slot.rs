//! What is free on one agent: one cache line that decisions scan, and the rest beside it. Not here: who changes it.

use std::collections::BTreeMap;

use dawn_proto::{AgentId, Dimension, TaskId};

use super::super::amounts::Amounts;
use super::super::numbers::{ClassId, ScalarId, ShapeId, WorkId};
use super::gpu::Devices;
use super::ports::Ports;

/// The agent's state bits; launches go where all three say yes and none says no.
pub const UP: u8 = 1;
pub const CONNECTED: u8 = 2;
pub const AVOIDED: u8 = 4;
pub const CORDONED: u8 = 8;
/// Two machines claim to be it: what must not live twice keeps off, all else goes there.
pub const COPIED: u8 = 16;

/// What a dimension left wholly free counts in a score.
pub const FREE: f32 = 1024.0;

/// What a decision reads of an agent. One cache line.
#[derive(Clone, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Slot {
    /// Total less held less claimed; below zero while a claim waits for its victims.
    pub free: Amounts,
    /// Attribute class.
    pub class: ClassId,
    /// Port numbers neither used nor claimed.
    pub ports_free: i32,
    /// Tasks it takes beyond those that hold room or have it kept.
    pub tasks_free: i32,
    pub bits: u8,
    /// What a thousandth of a cpu and a byte of memory count in a score: by how much the agent has.
    pub part: [f32; 2],
}

impl Slot {
    pub fn empty() -> Slot {
        Slot { free: Amounts::all(0), class: ClassId(0), ports_free: 0, tasks_free: 0, bits: 0, part: [0.0; 2] }
    }

    /// What it has in all, for scores.
    pub fn measure(&mut self, total: &Amounts) {
        self.part = [Dimension::Cpu, Dimension::Memory].map(|at| FREE / total[at].max(1) as f32);
    }

    pub fn is_open(&self) -> bool {
        self.bits & (UP | CONNECTED | AVOIDED | CORDONED) == UP | CONNECTED
    }

    /// Whether launches go there, and one more task may.
    #[inline]
    pub fn takes_more(&self) -> bool {
        self.is_open() & (self.tasks_free > 0)
    }
}

/// A task that holds room on an agent. 16 bytes: there are millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub task: TaskId,
    work: u32,
    /// Seconds of wall clock when it was assigned.
    pub since_s: u32,
}

impl Held {
    const DYING: u32 = 1 << 31;

    #[inline]
    pub fn new(task: TaskId, work: WorkId, since_s: u32, dying: bool) -> Held {
        Held { task, work: work.0 | if dying { Self::DYING } else { 0 }, since_s }
    }

    #[inline]
    pub fn work(&self) -> WorkId {
        WorkId(self.work & !Self::DYING)
    }

    /// On its way out: its room will be free.
    #[inline]
    pub fn dying(&self) -> bool {
        self.work & Self::DYING != 0
    }

    pub fn set_dying(&mut self) {
        self.work |= Self::DYING;
    }
}

/// The rest of an agent, looked at when one is chosen.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// None: there is no such agent (any more).
    pub id: Option<AgentId>,
    pub total: Amounts,
    /// Most tasks at once.
    pub max_tasks: u32,
    /// All custom scalars by the name's number.
    pub custom_total: BTreeMap<ScalarId, i64>,
    /// Free custom scalars by the name's number, claims taken off.
    pub custom: BTreeMap<ScalarId, i64>,
    pub ports: Ports,
    pub devices: Devices,
    /// Pending tasks for which room is kept here, with their shapes.
    pub claims: Vec<(TaskId, ShapeId)>,
}

impl Detail {
    pub fn scalar_total(&self, name: ScalarId) -> i64 {
        self.custom_total.get(&name).copied().unwrap_or(0)
    }

    pub fn bytes(&self) -> usize {
        size_of::<Detail>()
            + self.custom.len() * 24
            + self.ports.ranges.capacity() * 4
            + self.ports.used() * 2
            + self.devices.free().len() * 2
            + self.claims.capacity() * size_of::<(TaskId, ShapeId)>()
    }
}
