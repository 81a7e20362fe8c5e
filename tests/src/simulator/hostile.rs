//! Those who say what is not so: strangers and impostors that claim epochs under which nobody has led, and copies of
//! machines, with the same work directory and another boot. And the operator who stops the copies and chooses.

use dawn_agent::drive::Agent;
use dawn_agent::model::{Effect, Event, LinkEvent, MachineEvent, Message};
use dawn_proto::{AgentId, v1};
use dawn_scheduler::model::{Command, ForgiveCommand, LossCommand};
use rand::Rng;
use rand::seq::IteratorRandom;

use super::World;
use super::agenda::Happening;
use super::faults::Fault;
use super::nodes::NodeEvent;

/// The number of the operator's commands, which nobody waits for.
pub(super) const OPERATOR: u64 = u64::MAX;
/// So often an operator looks whether somebody is to be chosen.
const OPERATOR_EVERY_MS: u64 = 5_000;

/// A copy of a machine that was let in, or tries to be. It runs nothing.
pub(super) struct Copied {
    link: u64,
    node: usize,
    agent: Agent,
}

impl Copied {
    pub fn link(&self) -> u64 {
        self.link
    }
}

impl World {
    /// Somebody registers with an epoch that no leader of this cluster has had.
    pub(super) fn lie(&mut self) {
        let node = self.chance.random_range(0..self.nodes.len());
        // Of those that come back at the end: what is said of one that is gone counts for a while.
        let machine = self.chance.random_range(0..self.machines.len() - 1);
        let name = match self.chance.random_bool(0.5) {
            true => self.machines[machine].name(),
            false => "stranger".to_string(),
        };
        let next = self.truth.epoch.0 + 1;
        let epoch_seen = [next, next + 1_000, 1 << 53, 1 << 61, 1 << 63, u64::MAX].into_iter().choose(&mut self.chance);
        let tasks = self.lied_task().into_iter().collect();
        let register = v1::Register {
            tasks,
            agent_id: name,
            hostname: format!("node{machine}"),
            cluster_id: self.truth.cluster_id.clone(),
            boot_id: "a lie".into(),
            offer: Some(v1::Offer::default()),
            epoch_seen: epoch_seen.unwrap_or(u64::MAX),
            ..Default::default()
        };
        let link = self.network.next_link();
        self.note(|| format!("a liar registers with scheduler {node} on link {link}: {register:?}"));
        self.plan(node, 0, NodeEvent::Accept { link });
        let message = v1::AgentMessage { message: Some(v1::agent_message::Message::Register(register)) };
        self.plan(node, 1, NodeEvent::Hear { link, message: Box::new(message) });
        self.plan(node, 5_000, NodeEvent::LinkLost { link });
    }

    /// A task that the liar says it runs: one of those there are, or were never made, or nothing can have counted.
    fn lied_task(&mut self) -> Option<v1::TaskReport> {
        let next = self.truth.next_task.0;
        let ids = [next / 2, next + 3, 1 << 40, 1 << 52, 1 << 60, u64::MAX];
        let task_id = ids.into_iter().choose(&mut self.chance).filter(|_| self.chance.random_bool(0.3))?;
        let state = v1::TaskState::Running.into();
        Some(v1::TaskReport { task_id, sequence: 1, state, ..Default::default() })
    }

    /// A machine that was copied as it stands is started beside the one it is a copy of.
    pub(super) fn copy_machine(&mut self, machine: usize) -> Result<(), String> {
        let Some(node) = self.leading() else { return Ok(()) };
        let link = self.network.next_link();
        let now = self.agent_now(machine);
        let original = &self.machines[machine];
        let mut setup = original.setup();
        setup.boot_id = format!("copy-{link}");
        let (agent, effects) = Agent::new(setup, original.memory.clone(), original.found(false), now);
        self.note(|| format!("machine {machine} is copied; its copy dials scheduler {node} on link {link}"));
        self.copies.push(Copied { link, node, agent });
        self.plan(node, 0, NodeEvent::Accept { link });
        self.copy_acts(link, effects)?;
        self.copy_steps(link, Event::Link(LinkEvent::Up { session: link }))?;
        let for_ms = self.within(500, 40_000);
        self.after(for_ms, Happening::Fault { fault: Fault::CopyStopped { link } });
        self.after(1_000, Happening::Fault { fault: Fault::CopyTick { link } });
        Ok(())
    }

    pub(super) fn copy_ticks(&mut self, link: u64) -> Result<(), String> {
        if self.copies.iter().any(|copy| copy.link == link) {
            self.after(1_000, Happening::Fault { fault: Fault::CopyTick { link } });
        }
        self.copy_steps(link, Event::Tick)
    }

    /// A message for a link that no machine has.
    pub(super) fn copy_hears(&mut self, link: u64, message: v1::SchedulerMessage) -> Result<(), String> {
        match dawn_agent::wire::decode_scheduler(message) {
            Some(event) => self.copy_steps(link, Event::Link(event)),
            None => Ok(()),
        }
    }

    fn copy_steps(&mut self, link: u64, event: Event) -> Result<(), String> {
        // Its clock is nobody's: it never waits for anything.
        let now = self.agent_now(0);
        let Some(copy) = self.copies.iter_mut().find(|copy| copy.link == link) else { return Ok(()) };
        let effects = copy.agent.step(event, now);
        self.copy_acts(link, effects)
    }

    /// It says what it has to say; all else is not done.
    fn copy_acts(&mut self, link: u64, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            let Some(node) = self.copies.iter().find(|copy| copy.link == link).map(|copy| copy.node) else { break };
            match effect {
                Effect::Send { message, .. } => {
                    if let Message::Register(register) = &message {
                        self.note(|| format!("the copy on link {link} registers: {register:?}"));
                    }
                    let message = Box::new(dawn_agent::wire::encode_message(message, "simulated"));
                    self.plan(node, 2, NodeEvent::Hear { link, message });
                }
                Effect::Record(report) => {
                    self.copy_steps(link, Event::Machine(MachineEvent::Recorded { task: report.task }))?;
                }
                Effect::CleanUp { task, .. } => {
                    self.copy_steps(link, Event::Machine(MachineEvent::Cleaned { task, bytes: 0 }))?;
                }
                Effect::Hangup { .. } => self.stop_copy(link),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn stop_copy(&mut self, link: u64) {
        if let Some(at) = self.copies.iter().position(|copy| copy.link == link) {
            let copy = self.copies.swap_remove(at);
            self.note(|| format!("the copy on link {link} is stopped"));
            self.plan(copy.node, 1, NodeEvent::LinkLost { link });
        }
    }

    /// An operator chooses the machines that are left, once the copies are stopped, and believes no stranger. Goes on in the
    /// calm.
    pub(super) fn operate(&mut self) -> Result<(), String> {
        self.after(OPERATOR_EVERY_MS, Happening::Operator);
        if let Some(node) = self.leading().filter(|_| self.truth.restores.behind) {
            let agents = AgentId::new("stranger").into_iter().collect();
            let command = Command::Loss(LossCommand::Forget { agents });
            self.plan(node, 0, NodeEvent::Command { number: OPERATOR, command: Box::new(command) });
        }
        let copied = self.truth.agents.values().filter(|agent| agent.welcome.copied.is_some());
        let agents: Vec<_> = copied.map(|agent| agent.id.clone()).collect();
        let Some(node) = self.leading().filter(|_| self.copies.is_empty() && !agents.is_empty()) else { return Ok(()) };
        self.note(|| format!("the operator forgives {agents:?}"));
        let command = ForgiveCommand { agents, author: "operator".into(), message: String::new() };
        self.plan(node, 0, NodeEvent::Command { number: OPERATOR, command: Box::new(Command::Forgive(command)) });
        Ok(())
    }
}
