//! Follows the state: every mutation, and links that come and go. Not here: what is decided.

use dawn_proto::v1::{NodeState, Reason};
use dawn_proto::{TaskId, TaskState, Timestamp};

use crate::model::{
    Agent, AgentAvoided, AgentForgotten, AgentMoved, AgentNo, BlameMutation, Mutation, Nominated, Place,
    RestoreMutation, State, Status, Task, TaskAssigned, TaskMade, TaskMoved, Waiting, WelcomeMutation,
};

use super::Placer;
use super::fleet::{COPIED, CORDONED, Held, UP};
use super::numbers::SlotId;
use super::queue::Ahead;

impl Placer {
    /// Counts a mutation that `state` has just been given. Every mutation is shown once, in order, before the next is
    /// applied.
    pub fn observe(&mut self, state: &State, mutation: &Mutation) {
        match mutation {
            Mutation::TaskMade(TaskMade { task, job, reason, .. }) => {
                if *reason == Reason::Preempted {
                    self.claims.disrupt(*task, *job);
                }
                self.see_kept(state, *task);
            }
            Mutation::TaskAssigned(TaskAssigned { task, .. }) => {
                if !self.queue.is_ahead(Ahead::Assigned(*task))
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
                self.fleet.change_bits(SlotId::of_agent(*agent), on, off);
            }
            Mutation::AgentForgotten(AgentForgotten { agent }) => self.forget_agent(SlotId::of_agent(*agent)),
            Mutation::AgentAvoided(AgentAvoided { agent, until, .. }) => self.fleet.avoid(SlotId::of_agent(*agent), *until),
            Mutation::Restore(RestoreMutation::TaskAdopted(adopted)) => self.see_kept(state, adopted.task),
            Mutation::Restore(RestoreMutation::Restored(_)) => self.no_copies(),
            Mutation::Upkeep(mutation) => {
                let (on, off) = if mutation.upkeep.is_some() { (CORDONED, 0) } else { (0, CORDONED) };
                self.fleet.change_bits(SlotId::of_agent(mutation.agent), on, off);
            }
            Mutation::Blame(BlameMutation::Forgiven { agent, .. }) => self.forgiven(state, SlotId::of_agent(*agent)),
            Mutation::Blame(BlameMutation::KeptOff { kept, .. }) => self.kept_off_changed(state, kept.spec),
            Mutation::Blame(BlameMutation::LetIn { spec, .. }) => self.kept_off_changed(state, *spec),
            Mutation::Welcome(WelcomeMutation::Copied { agent }) => self.fleet.change_bits(SlotId::of_agent(*agent), COPIED, 0),
            Mutation::Welcome(_) => {}
            Mutation::QuotaSet(_) => {
                self.queue.set_quotas(&state.quotas);
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

    fn nominated(&mut self, state: &State, task: TaskId, agent: AgentNo, until: Timestamp) {
        if !self.queue.is_ahead(Ahead::Nominated(task))
            && let Some(task) = state.tasks.get(&task)
            && self.fleet.is_known(SlotId::of_agent(agent))
        {
            let work = self.work_of(state, task);
            self.claim(task.id, work, SlotId::of_agent(agent), until);
            // There may be room already.
            self.claims.see_freed(SlotId::of_agent(agent));
        }
    }

    fn task_moved(&mut self, state: &State, task: &Task, to: TaskState) {
        match to {
            TaskState::Pending => self.see_task(state, task),
            TaskState::Preempting => {
                self.claims.disrupt(task.id, task.job);
                if !self.queue.is_ahead(Ahead::Preempting(task.id)) {
                    self.see_dying(task);
                }
            }
            TaskState::Killing | TaskState::Restarting | TaskState::Draining => self.see_dying(task),
            TaskState::Running => self.claims.disrupt_no_more(task.id),
            _ if to.is_terminal() => {
                self.claims.disrupt_no_more(task.id);
                match task.status.place() {
                    Some(place) if self.fleet.has(SlotId::of_agent(place.agent)) => {
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
        let Some(number) = self.catalogue.work_of(task.spec) else { return };
        self.queue.remove(number, task.id);
        self.requeue(number);
        if self.is_over(number) {
            self.drop_work(number);
        }
    }

    /// Counts a task as it is in the state.
    pub(super) fn see_task(&mut self, state: &State, task: &Task) {
        match &task.status {
            Status::Waiting(Waiting::Pending { nominated }) => {
                let number = self.work_of(state, task);
                self.queue.insert(number, task.id);
                self.catalogue.see_asked(number);
                self.wake_one(number);
                self.requeue(number);
                if let Some((agent, until)) = nominated
                    && self.fleet.is_known(SlotId::of_agent(*agent))
                {
                    self.claim(task.id, number, SlotId::of_agent(*agent), *until);
                    self.fleet.touch(SlotId::of_agent(*agent));
                }
            }
            status => {
                let Some(place) = status.place().filter(|_| task.state().is_placed()) else { return };
                let number = self.work_of(state, task);
                let slot = SlotId::of_agent(place.agent);
                self.fleet.reach(slot);
                let assigned = task.history.iter().rev().find(|move_| move_.to == TaskState::Assigned);
                let since_s = assigned.map_or(0, |move_| (move_.at.0 / 1000).clamp(0, u32::MAX.into()) as u32);
                self.hold(slot, Held::new(task.id, number, since_s, task.state().is_stopping()), Some(place));
            }
        }
        let replaces = task.history.first().is_some_and(|first| first.reason == Reason::Preempted);
        if task.state() == TaskState::Preempting || replaces && !task.state().is_terminal() && !has_run(task) {
            self.claims.disrupt(task.id, task.job);
        }
    }

    /// A slot's agent for the first time.
    pub(super) fn see_agent(&mut self, agent: &Agent) {
        let offer = self.catalogue.put(agent);
        self.fleet.put(agent, offer);
        self.queue.set_total(self.fleet.total());
    }

    /// Another offer, attributes or ports: the slot is counted anew from the state's tasks.
    fn agent_changed(&mut self, state: &State, no: AgentNo) {
        let slot = SlotId::of_agent(no);
        let Some(agent) = state.agents.get(&no) else { return };
        self.fleet.reach(slot);
        let claims: Vec<_> = self
            .fleet
            .detail(slot)
            .claims
            .iter()
            .filter_map(|(task, _)| Some((*task, self.claims.get(*task)?)))
            .collect();
        claims.iter().for_each(|(task, _)| self.drop_claim(*task, true));
        let held = self.fleet.held(slot).to_vec();
        let nowhere = Place { agent: no, ports: Box::default(), devices: Box::default() };
        let place_of = |task| {
            let task: Option<&Task> = state.tasks.get(&task);
            task.and_then(|task| task.status.place()).unwrap_or(&nowhere)
        };
        // Works must outlive the moment in which none of their tasks is counted.
        held.iter().for_each(|held| self.catalogue.claim(held.work()));
        for held in &held {
            self.release(slot, held.task, place_of(held.task));
        }
        self.forget_agent(slot);
        self.see_agent(agent);
        for held in held {
            let (task, work) = (held.task, held.work());
            self.hold(slot, held, Some(place_of(task)));
            self.catalogue.unclaim(work);
        }
        claims.into_iter().for_each(|(task, claim)| self.claim(task, claim.work, slot, claim.until));
    }

    fn forget_agent(&mut self, slot: SlotId) {
        if !self.fleet.is_known(slot) {
            return;
        }
        let claims = self.fleet.detail(slot).claims.clone();
        claims.into_iter().for_each(|(task, _)| self.drop_claim(task, true));
        self.fleet.forget(slot);
        self.catalogue.clear(slot);
        self.queue.set_total(self.fleet.total());
    }
}

fn has_run(task: &Task) -> bool {
    task.history.iter().any(|move_| move_.to == TaskState::Running)
}
