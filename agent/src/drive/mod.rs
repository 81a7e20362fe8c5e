//! Pulse: the agent's whole state, owned by one task. `step` takes one event in and returns what is to be done, in order.
//! Not here: clocks, files, sockets; a simulator drives this as the daemon does.

mod drain;
mod launch;
mod leader;
mod lease;
mod life;
pub mod pulse;
mod recover;
mod space;
mod tick;
pub mod vitals;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dawn_proto::{AgentId, Resources, SpecId, TaskId};

use crate::decide::sweep::Keep;
use crate::model::{
    Effect, Event, HeldTask, Launch, LinkEvent, MAX_FORGOTTEN_TASKS, Memory, Message, Now, Observed, OfferState,
    Reachable, ReachableTask, Report, Spec,
};
use leader::Link;
use lease::Lease;

/// What an agent is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    pub agent_id: AgentId,
    pub hostname: String,
    /// "cgroup v1", "cgroup v2", "hybrid" or "none".
    pub isolation: String,
    pub boot_id: String,
    /// Its epoch is chosen by `Agent::new`.
    pub offer: OfferState,
    /// Where a task's spec names no limit.
    pub default_max_pids: u32,
    pub keep: Keep,
    /// The disk that is offered is what was free at the start: what ended tasks had left then is added once it is measured.
    pub adds_what_is_left: bool,
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    setup: Setup,
    memory: Memory,
    offer: OfferState,
    link: Link,
    /// A leader has compared every task of this process by name.
    compared: bool,
    lease: Lease,
    /// Boxed: a map's nodes are half empty.
    tasks: BTreeMap<TaskId, Box<HeldTask>>,
    /// Demands of all living tasks.
    held: Resources,
    ports: BTreeMap<u16, TaskId>,
    /// By gpu: thousandths held.
    gpus: BTreeMap<u16, u64>,
    living: usize,
    specs: BTreeMap<SpecId, Arc<Spec>>,
    spec_order: VecDeque<SpecId>,
    /// Launches whose spec is not here yet.
    waiting: BTreeMap<TaskId, Launch>,
    /// Tasks with reports that are not acknowledged.
    unacked: BTreeSet<TaskId>,
    /// Living tasks with a kill under way.
    killing: BTreeSet<TaskId>,
    forgotten: BTreeSet<TaskId>,
    forgotten_order: VecDeque<TaskId>,
    /// Verdicts on tasks that a reboot ended, not durable yet; the new boot id is remembered after them.
    reboot_verdicts: BTreeSet<TaskId>,
    sweep_at_ms: u64,
    space: space::Space,
    /// It offers nothing and ends its tasks.
    draining: bool,
    observe_at_ms: u64,
    /// As it was told last.
    observed: Observed,
    effects: Vec<Effect>,
}

impl Agent {
    /// Takes one event in. The effects are to be carried out in order.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Effect> {
        self.hold_to_lease(now);
        match event {
            Event::Link(event) => self.on_link(event, now),
            Event::Machine(event) => self.on_machine(event, now),
            Event::Tick => self.on_tick(now),
            Event::Drain => self.on_drain(now),
        }
        std::mem::take(&mut self.effects)
    }

    /// The tasks it holds, living and ended.
    pub fn tasks(&self) -> &BTreeMap<TaskId, Box<HeldTask>> {
        &self.tasks
    }

    /// What it keeps over restarts.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Demands of all living tasks together.
    pub fn held(&self) -> &Resources {
        &self.held
    }

    fn on_link(&mut self, event: LinkEvent, now: Now) {
        self.link.heard(now.mono_ms);
        match event {
            LinkEvent::Up { session } => self.on_up(session, now),
            LinkEvent::Down { session, why } => self.on_down(session, &why),
            LinkEvent::Registered(welcomed) => self.on_registered(welcomed, now),
            LinkEvent::Refused { reason, leader_address, slowly } => self.on_refused(&reason, leader_address, slowly),
            LinkEvent::Spec(spec) => self.on_spec(spec, now),
            LinkEvent::BadSpec { spec, why } => self.on_bad_spec(spec, &why, now),
            LinkEvent::Launch(launch) => self.on_launch(launch, now),
            LinkEvent::Kill(kill) => self.on_kill(kill, now),
            LinkEvent::Ack { task, sequence } => self.on_ack(task, sequence),
            LinkEvent::Reconcile { epoch, tasks } => self.on_reconcile(epoch, tasks, now),
            LinkEvent::TellTasks { epoch } => self.on_tell_tasks(epoch),
            LinkEvent::Inspect { request } => self.on_inspect(request),
            LinkEvent::Describe { epoch, tasks, finished } => self.on_describe(epoch, &tasks, &finished),
            LinkEvent::OpenTunnel { tunnel, log } => {
                let known = self.tasks.get(&log.task).is_some_and(|task| task.is_on_disk());
                self.effects.push(Effect::OpenTunnel { tunnel, log, known });
            }
            LinkEvent::Reach { tunnel, task } => {
                let about = task.map_or(Reachable::Agent, |task| self.reachable(task));
                self.effects.push(Effect::Reach { tunnel, about });
            }
            LinkEvent::HeartbeatAck { sequence, epoch, without_lease } => {
                if self.fence(epoch, "a heartbeat's answer") && !without_lease {
                    self.lease_goes_on(sequence, now);
                }
            }
        }
    }

    fn reachable(&self, id: TaskId) -> Reachable {
        let Some(task) = self.tasks.get(&id).filter(|task| task.is_on_disk()) else { return Reachable::Unknown(id) };
        Reachable::Task(ReachableTask {
            task: id,
            living: task.is_living(),
            processes: task.processes.identities(),
            ports: task.plan.ports.clone(),
            identity: task.plan.identity.clone(),
        })
    }

    /// Sends when registered; otherwise it is said again at the next registration.
    fn send(&mut self, message: Message) {
        if let Some(session) = self.link.registered_session() {
            self.effects.push(Effect::Send { session, message });
        }
    }

    fn report(&mut self, report: Report) {
        self.send(Message::Report(report));
    }

    /// Forgets a task for good; a late repeat of its launch is still known for one.
    fn forget(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.unacked.remove(&task);
        if self.forgotten.insert(task) {
            self.forgotten_order.push_back(task);
        }
        while self.forgotten_order.len() > MAX_FORGOTTEN_TASKS {
            if let Some(oldest) = self.forgotten_order.pop_front() {
                self.forgotten.remove(&oldest);
            }
        }
    }
}
