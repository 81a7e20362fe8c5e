//! An agent's whole state: what it was told at its start, what it remembers, what it holds, and what follows from that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dawn_proto::v1::Reason;
use dawn_proto::{AgentId, SpecId, TaskId, TaskState, Timestamp};

use super::{
    HeldTask, Index, Keep, Launch, Lease, Link, Memory, Now, Observed, OfferState, Reachable, ReachableTask, Report,
    Space, Spec,
};

/// Within this time a launch cut short is resumed, if the leader never told its lease.
const DEFAULT_LEASE_MS: u64 = 10_000;

/// What an agent is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    pub agent_id: AgentId,
    pub hostname: String,
    /// "cgroup v1", "cgroup v2", "hybrid" or "none".
    pub isolation: String,
    pub boot_id: String,
    /// Its epoch is chosen by [`State::new`].
    pub offer: OfferState,
    /// Where a task's spec names no limit.
    pub default_max_pids: u32,
    pub keep: Keep,
    /// The disk that is offered is what was free at the start: what ended tasks had left then is added once it is measured.
    pub adds_what_is_left: bool,
}

/// What an agent is. Only [`State::apply`] changes it.
#[derive(Clone, Debug)]
pub struct State {
    pub setup: Setup,
    pub memory: Memory,
    pub offer: OfferState,
    pub link: Link,
    /// A leader has compared every task of this process by name.
    pub compared: bool,
    pub lease: Lease,
    /// Boxed: a map's nodes are half empty.
    pub tasks: BTreeMap<TaskId, Box<HeldTask>>,
    /// Follows from `tasks`.
    pub index: Index,
    pub specs: BTreeMap<SpecId, Arc<Spec>>,
    /// The oldest first.
    pub spec_order: VecDeque<SpecId>,
    /// Launches whose spec is not here yet.
    pub waiting: BTreeMap<TaskId, Launch>,
    pub forgotten: BTreeSet<TaskId>,
    /// The oldest first.
    pub forgotten_order: VecDeque<TaskId>,
    /// Verdicts on tasks that a reboot ended, not durable yet; the new boot id is remembered after them.
    pub reboot_verdicts: BTreeSet<TaskId>,
    pub space: Space,
    /// It offers nothing and ends its tasks.
    pub draining: bool,
    pub sweep_at_ms: u64,
    pub observe_at_ms: u64,
    /// As it was told last.
    pub observed: Observed,
}

impl State {
    /// What a starting agent knows before it has looked at its tasks.
    pub fn new(setup: Setup, memory: Memory, now: Now) -> State {
        let wall_ms = u64::try_from(now.wall.0).unwrap_or(0);
        let offer_epoch = wall_ms.max(memory.offer_epoch.saturating_add(1));
        let memory = Memory { agent_id: setup.agent_id.to_string(), offer_epoch, ..memory };
        let offer = OfferState { epoch: offer_epoch, ..setup.offer.clone() };
        let mut state = State {
            setup,
            memory,
            offer,
            link: Link::Down,
            compared: false,
            lease: Lease::new(0, now.mono_ms),
            tasks: BTreeMap::new(),
            index: Index::default(),
            specs: BTreeMap::new(),
            spec_order: VecDeque::new(),
            waiting: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            forgotten_order: VecDeque::new(),
            reboot_verdicts: BTreeSet::new(),
            space: Space::default(),
            draining: false,
            sweep_at_ms: now.mono_ms,
            observe_at_ms: now.mono_ms,
            observed: Observed::default(),
        };
        state.lease = Lease::new(state.last_lease_ms(), now.mono_ms);
        state
    }

    /// How long the last leader waited for a silent agent, as far as anybody knows.
    pub fn last_lease_ms(&self) -> u64 {
        if self.memory.lease_ms == 0 { DEFAULT_LEASE_MS } else { self.memory.lease_ms }
    }

    /// Where every task stands that is living, or whose end was not acknowledged.
    pub fn held_reports(&self) -> impl Iterator<Item = &Report> {
        self.tasks.values().filter(|task| task.is_living() || !task.released).map(|task| &task.last)
    }

    /// The same as a list that a leader is told. A failed end has its last words there too while its report is not
    /// acknowledged: the agent may be gone for good before it is welcomed.
    pub fn held_list(&self) -> Vec<Report> {
        let with_words = |report: &Report| {
            let waiting = self.tasks.get(&report.task).and_then(|task| task.unacked.back());
            waiting.filter(|waiting| waiting.sequence == report.sequence).unwrap_or(report).clone()
        };
        self.held_reports().map(with_words).collect()
    }

    /// Where a task stands, known or not.
    pub fn standing(&self, id: TaskId, at: Timestamp) -> Report {
        match self.tasks.get(&id) {
            Some(task) => task.last.clone(),
            None if self.waiting.contains_key(&id) => {
                Report::new(id, 0, TaskState::Assigned, at, Reason::None, "waits for its spec")
            }
            None => Report::not_on_agent(id, at),
        }
    }

    pub fn reachable(&self, id: TaskId) -> Reachable {
        let Some(task) = self.tasks.get(&id).filter(|task| task.is_on_disk()) else { return Reachable::Unknown(id) };
        Reachable::Task(ReachableTask {
            task: id,
            living: task.is_living(),
            processes: task.processes.identities(),
            ports: task.plan.ports.clone(),
            identity: task.plan.identity.clone(),
        })
    }

    /// Whether nothing of its tasks is left, and everybody knows.
    pub fn is_drained(&self) -> bool {
        let left = |task: &HeldTask| task.is_living() || !task.is_cleaned() || !task.released;
        self.draining && self.waiting.is_empty() && !self.tasks.values().any(|task| left(task))
    }
}
