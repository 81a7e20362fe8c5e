//! Follows the state: every mutation, and links that come and go.

use dawn_proto::v1::{NodeState, Reason};
use dawn_proto::{TaskId, TaskState, Timestamp};

use crate::model::{
    Agent, AgentAvoided, AgentForgotten, AgentMoved, AgentNo, BlameMutation, Mutation, Nominated, Place,
    RestoreMutation, State, Status, Task, TaskAssigned, TaskMade, TaskMoved, Waiting, WelcomeMutation,
};

use super::Placer;
use super::agents::{AVOIDED, CONNECTED, COPIED, CORDONED, Detail, Slot, UP, have, subtract};
use super::gpu::Devices;
use super::numbers::{SlotId, WorkId};
use super::order::band_of;
use super::ports::Ports;
use super::work::Work;

/// A decision counted when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    Assigned(TaskId),
    Preempting(TaskId),
    Nominated(TaskId),
}

impl Placer {
    /// Counts a mutation that `state` has just been given. Every mutation is shown once, in order, before the next is
    /// applied.
    pub fn observe(&mut self, state: &State, mutation: &Mutation) {
        match mutation {
            Mutation::TaskMade(TaskMade { task, job, reason, .. }) => {
                if *reason == Reason::Preempted {
                    self.disrupted.insert(*task, *job);
                }
                self.see_kept(state, *task);
            }
            Mutation::TaskAssigned(TaskAssigned { task, .. }) => {
                if !self.is_ahead(Ahead::Assigned(*task))
                    && let Some(task) = state.tasks.get(task)
                {
                    self.unqueue(state, task);
                    self.see_task(state, task);
                }
            }
            Mutation::TaskMoved(TaskMoved { task, to, .. }) => {
                if let Some(task) = state.tasks.get(task) {
                    self.task_moved(state, task, *to);
                }
            }
            Mutation::Nominated(Nominated { task, agent, until }) => self.nominated(state, *task, *agent, *until),
            Mutation::AgentSeen(seen) => self.agent_changed(state, seen.agent),
            Mutation::AgentMoved(AgentMoved { agent, to }) => {
                let (on, off) = if *to == NodeState::Up { (UP, 0) } else { (0, UP) };
                self.change_bits(SlotId::of_agent(*agent), on, off);
            }
            Mutation::AgentForgotten(AgentForgotten { agent }) => self.forget_agent(SlotId::of_agent(*agent)),
            Mutation::AgentAvoided(AgentAvoided { agent, until, .. }) => self.avoid(*agent, *until),
            Mutation::Restore(RestoreMutation::TaskAdopted(adopted)) => self.see_kept(state, adopted.task),
            Mutation::Restore(RestoreMutation::Restored(_)) => self.no_copies(),
            Mutation::Upkeep(mutation) => {
                let (on, off) = if mutation.upkeep.is_some() { (CORDONED, 0) } else { (0, CORDONED) };
                self.change_bits(SlotId::of_agent(mutation.agent), on, off);
            }
            Mutation::Blame(BlameMutation::Forgiven { agent, .. }) => self.forgiven(state, SlotId::of_agent(*agent)),
            Mutation::Blame(BlameMutation::KeptOff { job, kept }) => self.kept_off_changed(state, *job, kept.spec),
            Mutation::Blame(BlameMutation::LetIn { job, spec, .. }) => self.kept_off_changed(state, *job, *spec),
            Mutation::Welcome(WelcomeMutation::Copied { agent }) => self.change_bits(SlotId::of_agent(*agent), COPIED, 0),
            Mutation::Welcome(_) => {}
            Mutation::QuotaSet(_) => {
                self.order.set_quotas(&state.quotas);
                self.wake_all();
            }
            Mutation::Update(_)
            | Mutation::Loss(_)
            | Mutation::ClusterMade(_)
            | Mutation::EpochBegun(_)
            | Mutation::JobMade(_)
            | Mutation::JobVersioned(_)
            | Mutation::JobEnded(_)
            | Mutation::JobForgotten(_)
            | Mutation::InstancesStopped(_)
            | Mutation::JobSettled(_)
            | Mutation::TaskForgotten(_)
            | Mutation::EndDated(_)
            | Mutation::Blame(BlameMutation::Blamed { .. } | BlameMutation::Proved { .. })
            | Mutation::Restore(_)
            | Mutation::Ticked(_)
            // All this is made anew after one.
            | Mutation::ClockShifted(_)
            | Mutation::Flow(_) => {}
        }
    }

    fn see_kept(&mut self, state: &State, task: TaskId) {
        if let Some(task) = state.tasks.get(&task) {
            self.see_task(state, task);
        }
    }

    /// Nothing is placed on the agent until then; None: it is avoided no longer.
    pub(super) fn avoid(&mut self, agent: AgentNo, until: Option<Timestamp>) {
        self.avoided.retain(|(_, avoided)| *avoided != SlotId::of_agent(agent));
        self.avoided.extend(until.map(|until| (until, SlotId::of_agent(agent))));
        let (on, off) = if until.is_some() { (AVOIDED, 0) } else { (0, AVOIDED) };
        self.change_bits(SlotId::of_agent(agent), on, off);
    }

    fn nominated(&mut self, state: &State, task: TaskId, agent: AgentNo, until: Timestamp) {
        if !self.is_ahead(Ahead::Nominated(task))
            && let Some(task) = state.tasks.get(&task)
            && self.is_known(agent)
        {
            let work = self.work_of(state, task);
            self.claim(task.id, work, SlotId::of_agent(agent), until);
            // There may be room already.
            self.claimed_slots.insert(SlotId::of_agent(agent));
        }
    }

    /// An agent's link came or went. Only agents that are up, connected and not avoided get launches.
    pub fn connected(&mut self, _state: &State, agent: AgentNo, yes: bool) {
        let (on, off) = if yes { (CONNECTED, 0) } else { (0, CONNECTED) };
        self.change_bits(SlotId::of_agent(agent), on, off);
    }

    fn is_known(&self, agent: AgentNo) -> bool {
        self.details.get(SlotId::of_agent(agent)).is_some_and(|detail| detail.id.is_some())
    }

    fn is_ahead(&mut self, what: Ahead) -> bool {
        let found = self.ahead.front() == Some(&what);
        if found {
            self.ahead.pop_front();
        }
        found
    }

    fn task_moved(&mut self, state: &State, task: &Task, to: TaskState) {
        match to {
            TaskState::Pending => self.see_task(state, task),
            TaskState::Preempting => {
                self.disrupted.insert(task.id, task.job);
                if !self.is_ahead(Ahead::Preempting(task.id)) {
                    self.see_dying(task);
                }
            }
            TaskState::Killing | TaskState::Restarting | TaskState::Draining => self.see_dying(task),
            TaskState::Running => self.disrupted.remove(task.id),
            _ if to.is_terminal() => {
                self.disrupted.remove(task.id);
                match task.status.place() {
                    Some(place) if self.slots.has(SlotId::of_agent(place.agent)) => {
                        self.release(SlotId::of_agent(place.agent), task.id, place);
                    }
                    _ => self.unqueue(state, task),
                }
            }
            _ => {}
        }
    }

    fn see_dying(&mut self, task: &Task) {
        if let Some(agent) = task.held_on() {
            self.set_dying(SlotId::of_agent(agent), task.id);
        }
    }

    /// A pending task is pending no more.
    fn unqueue(&mut self, _state: &State, task: &Task) {
        self.drop_claim(task.id, false);
        let Some(number) = self.works.of(task.spec) else { return };
        self.works.get_mut(number).remove_pending(task.id);
        self.requeue(number);
        if self.works.get(number).is_over() {
            self.drop_work(number);
        }
    }

    /// Counts a task as it is in the state.
    pub(super) fn see_task(&mut self, state: &State, task: &Task) {
        match &task.status {
            Status::Waiting(Waiting::Pending { nominated }) => {
                let number = self.work_of(state, task);
                self.works.get_mut(number).insert_pending(task.id);
                self.typical.see(&self.need_of(number));
                self.wake_one(number);
                self.requeue(number);
                if let Some((agent, until)) = nominated
                    && self.is_known(*agent)
                {
                    self.claim(task.id, number, SlotId::of_agent(*agent), *until);
                    self.dirty.push(SlotId::of_agent(*agent));
                }
            }
            status => {
                let Some(place) = status.place().filter(|_| task.state().is_placed()) else { return };
                let number = self.work_of(state, task);
                let slot = SlotId::of_agent(place.agent);
                self.reserve_slot(slot);
                let assigned = task.history.iter().rev().find(|move_| move_.to == TaskState::Assigned);
                let since_s = assigned.map_or(0, |move_| (move_.at.0 / 1000).clamp(0, u32::MAX.into()) as u32);
                self.hold(slot, task.id, number, since_s, task.state().is_stopping(), Some(place));
            }
        }
        let replaces = task.history.first().is_some_and(|first| first.reason == Reason::Preempted);
        if task.state() == TaskState::Preempting || replaces && !task.state().is_terminal() && !has_run(task) {
            self.disrupted.insert(task.id, task.job);
        }
    }

    /// The work of a task's job version, made if it is the first.
    pub(super) fn work_of(&mut self, state: &State, task: &Task) -> WorkId {
        if let Some(number) = self.works.of(task.spec) {
            return number;
        }
        let spec = state.spec_of(task).clone();
        let Placer { works, shapes, counts, order, attributes, .. } = self;
        let name = counts.name(&spec.job.key);
        let shape = shapes.intern(&spec.job, attributes);
        works.insert(Work {
            job: task.job,
            name,
            shape,
            role: order.role(spec.job.key.role()),
            band: band_of(spec.job.tier),
            priority: spec.job.priority,
            rules: counts.rules(&spec.job, attributes),
            kept_off: Placer::kept_off(state, task.job, spec.id),
            last_resort: None,
            pending: Default::default(),
            held: 0,
            claimed: 0,
            ticket: None,
            asleep: false,
            over_quota: false,
            retry_ms: 0,
            watched: Vec::new(),
            spec,
        })
    }

    pub(super) fn drop_work(&mut self, number: WorkId) {
        self.wake_one(number);
        let work = self.works.get(number);
        self.shapes.drop_use(work.shape);
        self.counts.drop_rules(&work.rules, work.name);
        self.works.remove(number);
    }

    pub(super) fn reserve(&mut self, state: &State) {
        if let Some(last) = state.next_agent.0.checked_sub(1) {
            self.reserve_slot(SlotId(last));
        }
    }

    fn reserve_slot(&mut self, slot: SlotId) {
        self.slots.reach(slot, Slot::empty);
        self.details.reach(slot, Detail::default);
        self.held.reach(slot, Vec::new);
        self.prey.reach(slot, Default::default);
    }

    /// A slot's agent for the first time.
    pub(super) fn see_agent(&mut self, agent: &Agent) {
        let slot = SlotId::of_agent(agent.no);
        self.reserve_slot(slot);
        let class = self.attributes.put(slot, &agent.id, &agent.attributes);
        let custom = self.scalars(&agent.total.custom_milli);
        let (row, detail) = (&mut self.slots[slot], &mut self.details[slot]);
        detail.id = Some(agent.id.clone());
        detail.total = have(&agent.total);
        detail.max_tasks = agent.max_tasks;
        detail.ports = Ports::new(agent.ports.clone());
        detail.devices = Devices::new(agent.total.gpu_milli);
        (detail.custom_total, detail.custom) = (custom.clone(), custom);
        row.free = detail.total;
        row.measure(&detail.total);
        row.ports_free = detail.ports.total() as i32;
        row.tasks_free = i32::try_from(agent.max_tasks).unwrap_or(i32::MAX);
        row.class = class;
        row.bits = row.bits & CONNECTED
            | if agent.state == NodeState::Up { UP } else { 0 }
            | if agent.avoided.is_some() { AVOIDED } else { 0 }
            | if agent.upkeep.is_some() { CORDONED } else { 0 }
            | if agent.welcome.copied.is_some() { COPIED } else { 0 };
        self.avoided.extend(agent.avoided.as_ref().map(|avoided| (avoided.until, slot)));
        self.agents += 1;
        self.fleet += 1;
        let mut total = self.order.total;
        super::agents::add(&mut total, &self.details[slot].total);
        self.order.set_total(total);
        for (scale, total) in self.scale.iter_mut().zip(self.details[slot].total.iter()) {
            *scale = (*scale).max(*total);
        }
        self.index.settle(&self.slots, slot);
        self.dirty.push(slot);
    }

    /// Another offer, attributes or ports: the slot is counted anew from the state's tasks.
    fn agent_changed(&mut self, state: &State, no: AgentNo) {
        let slot = SlotId::of_agent(no);
        let Some(agent) = state.agents.get(&no) else { return };
        self.reserve_slot(slot);
        let claims: Vec<_> = self.details[slot].claims.iter().map(|task| (*task, self.claims[task])).collect();
        claims.iter().for_each(|(task, _)| self.drop_claim(*task, true));
        let held = self.held[slot].clone();
        let nowhere = Place { agent: no, ports: Box::default(), devices: Box::default() };
        let place_of = |task| {
            let task: Option<&Task> = state.tasks.get(&task);
            task.and_then(|task| task.status.place()).unwrap_or(&nowhere)
        };
        // Works must outlive the moment in which none of their tasks is counted.
        held.iter().for_each(|held| self.works.get_mut(held.work()).claimed += 1);
        for held in &held {
            self.release(slot, held.task, place_of(held.task));
        }
        self.forget_agent(slot);
        self.see_agent(agent);
        for held in held {
            self.hold(slot, held.task, held.work(), held.since_s, held.dying(), Some(place_of(held.task)));
            self.works.get_mut(held.work()).claimed -= 1;
        }
        claims.into_iter().for_each(|(task, claim)| self.claim(task, claim.work, slot, claim.until));
    }

    fn forget_agent(&mut self, slot: SlotId) {
        let Some(detail) = self.details.get_mut(slot) else { return };
        if detail.id.take().is_none() {
            return;
        }
        let total = std::mem::take(&mut detail.total);
        let claims = std::mem::take(&mut detail.claims);
        claims.into_iter().for_each(|task| self.drop_claim(task, true));
        self.index.leave(slot);
        self.attributes.clear(slot);
        let bits = self.slots[slot].bits & CONNECTED;
        (self.slots[slot], self.details[slot]) = (Slot { bits, ..Slot::empty() }, Detail::default());
        self.held[slot] = Vec::new();
        self.avoided.retain(|(_, avoided)| *avoided != slot);
        self.agents -= 1;
        self.fleet += 1;
        let mut left = self.order.total;
        subtract(&mut left, &total);
        self.order.set_total(left);
    }

    pub(super) fn change_bits(&mut self, slot: SlotId, on: u8, off: u8) {
        self.reserve_slot(slot);
        let row = &mut self.slots[slot];
        // What must not live twice kept off one that is copied.
        let before = row.is_open() && row.bits & off & COPIED == 0;
        self.fleet += u64::from(row.bits != row.bits & !off | on);
        row.bits = row.bits & !off | on;
        if row.is_open() && !before {
            self.dirty.push(slot);
        }
        self.index.settle(&self.slots, slot);
    }

    /// Makes attribute classes anew, and what is kept by class.
    pub(super) fn classify(&mut self) {
        for (slot, class) in self.attributes.classify(self.slots.len()).pairs() {
            self.slots[slot].class = *class;
        }
        self.index.rebuild(&self.slots);
    }
}

fn has_run(task: &Task) -> bool {
    task.history.iter().any(|move_| move_.to == TaskState::Running)
}
