//! Links between agents and the leader: each keeps its order, is slow by chance, and may be cut without a word.

use std::collections::BTreeMap;

use dawn_agent::model::{Event, LinkEvent};
use dawn_proto::v1;
use dawn_scheduler::model as scheduler;
use scheduler::LinkId;

use super::World;
use super::agenda::Happening;

const DELAY_MS: (u64, u64) = (1, 30);
/// How long after a reset the ends notice.
const NOTICE_MS: (u64, u64) = (1, 500);
const RECONNECT_MS: (u64, u64) = (50, 1_000);

pub(super) struct Link {
    pub machine: usize,
    pub agent_life: u64,
    pub leader_life: u64,
    /// Nothing passes any more, whether the ends know it or not.
    dead: bool,
    /// Time of the last delivery planned, each way.
    to_agent_ms: u64,
    to_leader_ms: u64,
}

#[derive(Default)]
pub(super) struct Network {
    pub links: BTreeMap<u64, Link>,
    count: u64,
}

impl World {
    /// An agent dials.
    pub(super) fn connect(&mut self, machine: usize, life: u64) -> Result<(), String> {
        if self.machines[machine].life != life || !self.machines[machine].is_up() {
            return Ok(());
        }
        if self.machines[machine].cut || !self.leader.is_up() {
            self.reconnect(machine);
            return Ok(());
        }
        self.network.count += 1;
        let link = self.network.count;
        let (to_agent_ms, to_leader_ms) = (self.now_ms, self.now_ms);
        let leader_life = self.leader.life;
        let made = Link { machine, agent_life: life, leader_life, dead: false, to_agent_ms, to_leader_ms };
        self.network.links.insert(link, made);
        self.machines[machine].session = Some(link);
        self.agent_step(machine, Event::Link(LinkEvent::Up { session: link }))
    }

    pub(super) fn reconnect(&mut self, machine: usize) {
        let life = self.machines[machine].life;
        let delay = self.within(RECONNECT_MS.0, RECONNECT_MS.1);
        self.after(delay, Happening::Connect { machine, life });
    }

    pub(super) fn send_to_agent(&mut self, link: u64, message: v1::scheduler_message::Message) {
        let delay = self.within(DELAY_MS.0, DELAY_MS.1);
        let Some(found) = self.network.links.get_mut(&link) else { return };
        // A link keeps its order.
        found.to_agent_ms = found.to_agent_ms.max(self.now_ms + delay);
        let message = Box::new(v1::SchedulerMessage { message: Some(message) });
        self.agenda.add(found.to_agent_ms, Happening::ToAgent { link, message });
    }

    pub(super) fn send_to_leader(&mut self, link: u64, message: v1::AgentMessage) {
        let delay = self.within(DELAY_MS.0, DELAY_MS.1);
        let Some(found) = self.network.links.get_mut(&link) else { return };
        found.to_leader_ms = found.to_leader_ms.max(self.now_ms + delay);
        self.agenda.add(found.to_leader_ms, Happening::ToLeader { link, message: Box::new(message) });
    }

    /// A message that is lost takes the rest of its link with it.
    fn passes(&mut self, link: u64) -> bool {
        let Some(found) = self.network.links.get_mut(&link) else { return false };
        if self.machines[found.machine].cut {
            found.dead = true;
        }
        !found.dead
    }

    pub(super) fn deliver_to_agent(&mut self, link: u64, message: v1::SchedulerMessage) -> Result<(), String> {
        if !self.passes(link) {
            return Ok(());
        }
        let found = &self.network.links[&link];
        let machine = found.machine;
        if self.machines[machine].life != found.agent_life || self.machines[machine].session != Some(link) {
            return Ok(());
        }
        match dawn_agent::wire::decode_scheduler(message.clone()) {
            Some(event) => {
                self.note(|| format!("agent {machine} <- {message:?}"));
                self.agent_step(machine, Event::Link(event))
            }
            None => Err(format!("the agent can't read {message:?}")),
        }
    }

    pub(super) fn deliver_to_leader(&mut self, link: u64, message: v1::AgentMessage) -> Result<(), String> {
        if !self.passes(link) || self.network.links[&link].leader_life != self.leader.life || !self.leader.is_up() {
            return Ok(());
        }
        self.note(|| format!("leader <- link {link} {message:?}"));
        self.leader_hears(link, message)
    }

    /// Ends a link: both sides learn of it after a while.
    pub(super) fn reset(&mut self, link: u64) {
        if let Some(found) = self.network.links.get_mut(&link) {
            found.dead = true;
        }
        for at_leader in [true, false] {
            let delay = self.within(NOTICE_MS.0, NOTICE_MS.1);
            self.after(delay, Happening::LinkLost { link, at_leader });
        }
    }

    pub(super) fn link_lost(&mut self, link: u64, at_leader: bool) -> Result<(), String> {
        let Some(found) = self.network.links.get(&link) else { return Ok(()) };
        let (machine, agent_life, leader_life) = (found.machine, found.agent_life, found.leader_life);
        if at_leader {
            if self.leader.life == leader_life && self.leader.is_up() {
                self.leader_event(scheduler::Event::LinkClosed { link: LinkId(link) });
            }
            return Ok(());
        }
        if self.machines[machine].life == agent_life && self.machines[machine].session == Some(link) {
            self.machines[machine].session = None;
            self.reconnect(machine);
            let down = LinkEvent::Down { session: link, why: "reset".into() };
            return self.agent_step(machine, Event::Link(down));
        }
        Ok(())
    }

    /// The agent drops its link.
    pub(super) fn hang_up(&mut self, machine: usize, session: u64) {
        if self.machines[machine].session == Some(session) {
            self.machines[machine].session = None;
            self.reset(session);
            self.reconnect(machine);
        }
    }

    /// Every link of a process that died is reset.
    pub(super) fn reset_all(&mut self, of: impl Fn(&Link) -> bool) {
        let links: Vec<u64> =
            self.network.links.iter().filter(|(_, link)| !link.dead && of(link)).map(|(id, _)| *id).collect();
        for link in links {
            self.reset(link);
        }
    }
}
