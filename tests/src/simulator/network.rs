//! Ways between places, which are cut in one direction or both, and the links of agents over them: each keeps its order,
//! is slow by chance, and may be dead in one direction without a word. What a link brought may come again on the next.

use std::collections::BTreeMap;

use dawn_agent::model::{Effect, Event, LinkEvent};
use dawn_proto::v1;
use dawn_proto::v1::scheduler_message::Message;
use rand::Rng;

use super::agenda::Happening;
use super::nodes::NodeEvent;
use super::{Planted, World};

const DELAY_MS: (u64, u64) = (1, 30);
/// How long after a reset the ends notice.
const NOTICE_MS: (u64, u64) = (1, 500);
const RECONNECT_MS: (u64, u64) = (50, 1_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Etcd,
    Node(usize),
    Machine(usize),
}

pub(super) struct Link {
    pub machine: usize,
    pub agent_life: u64,
    pub node: usize,
    pub node_life: u64,
    /// Nothing passes that way any more, whether the ends know it or not.
    dead_up: bool,
    dead_down: bool,
    /// Time of the last delivery planned, each way.
    to_agent_ms: u64,
    to_node_ms: u64,
}

#[derive(Default)]
pub(super) struct Network {
    pub links: BTreeMap<u64, Link>,
    count: u64,
    /// How many faults cut each way.
    cuts: BTreeMap<(Place, Place), u32>,
}

impl Network {
    /// A number for a link.
    pub fn next_link(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub fn cut(&mut self, from: Place, to: Place) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    pub fn heal(&mut self, from: Place, to: Place) {
        if let Some(count) = self.cuts.get_mut(&(from, to)) {
            *count = count.saturating_sub(1);
        }
    }

    pub fn heal_all(&mut self) {
        self.cuts.clear();
    }
}

impl World {
    /// Nothing gets from one to the other.
    pub(super) fn is_blocked(&self, from: Place, to: Place) -> bool {
        self.network.cuts.get(&(from, to)).is_some_and(|count| *count > 0)
    }

    /// No call gets through and back.
    pub(super) fn is_cut(&self, one: Place, other: Place) -> bool {
        self.is_blocked(one, other) || self.is_blocked(other, one)
    }

    /// An agent dials: where it was told to, or the next in its list.
    pub(super) fn connect(&mut self, machine: usize, life: u64) -> Result<(), String> {
        if self.machines[machine].life != life || !self.machines[machine].is_up() {
            return Ok(());
        }
        let node = self.machines[machine].dials(self.nodes.len());
        if self.is_cut(Place::Machine(machine), Place::Node(node)) || !self.nodes[node].is_up() {
            self.reconnect(machine);
            return Ok(());
        }
        self.network.count += 1;
        let link = self.network.count;
        let delay = self.within(DELAY_MS.0, DELAY_MS.1);
        let to_node_ms = self.now_ms + delay;
        let node_life = self.nodes[node].life;
        let made = Link {
            machine,
            agent_life: life,
            node,
            node_life,
            dead_up: false,
            dead_down: false,
            to_agent_ms: self.now_ms,
            to_node_ms,
        };
        self.network.links.insert(link, made);
        self.machines[machine].session = Some(link);
        self.plan(node, delay, NodeEvent::Accept { link });
        self.repeat_an_order(machine, link);
        self.agent_step(machine, Event::Link(LinkEvent::Up { session: link }))
    }

    /// Now and then the last order of an earlier link comes again: what a deposed leader said, once another one is obeyed.
    fn repeat_an_order(&mut self, machine: usize, link: u64) {
        let Some(order) = self.machines[machine].last_order.clone() else { return };
        if self.is_busy() && self.chance.random_bool(0.1) {
            let delay = self.within(200, 4_000);
            self.after(delay, Happening::ToAgent { link, message: Box::new(order) });
        }
    }

    pub(super) fn reconnect(&mut self, machine: usize) {
        let life = self.machines[machine].life;
        let delay = self.within(RECONNECT_MS.0, RECONNECT_MS.1);
        self.after(delay, Happening::Connect { machine, life });
    }

    /// A message that is lost takes the rest of its direction with it.
    fn passes_up(&mut self, link: u64) -> bool {
        let Some(found) = self.network.links.get(&link) else { return false };
        let blocked = self.is_blocked(Place::Machine(found.machine), Place::Node(found.node));
        let Some(found) = self.network.links.get_mut(&link) else { return false };
        found.dead_up |= blocked;
        !found.dead_up
    }

    fn passes_down(&mut self, link: u64) -> bool {
        let Some(found) = self.network.links.get(&link) else { return false };
        let blocked = self.is_blocked(Place::Node(found.node), Place::Machine(found.machine));
        let Some(found) = self.network.links.get_mut(&link) else { return false };
        found.dead_down |= blocked;
        !found.dead_down
    }

    /// Now and then once more: what agents and schedulers say again by themselves must do no harm either.
    fn copies(&mut self) -> usize {
        if self.is_busy() && self.chance.random_bool(0.01) { 2 } else { 1 }
    }

    pub(super) fn send_to_agent(&mut self, link: u64, mut message: v1::SchedulerMessage) {
        let delay = self.within(DELAY_MS.0, DELAY_MS.1);
        if let Some(Message::Registered(registered)) = &mut message.message
            && self.planted(Planted::ReplacedTooEarly)
        {
            registered.lease_ms *= 30;
        }
        let copies = self.copies();
        let Some(found) = self.network.links.get_mut(&link) else {
            return self.after(delay, Happening::ToCopy { link, message: Box::new(message) });
        };
        // A link keeps its order.
        found.to_agent_ms = found.to_agent_ms.max(self.now_ms + delay);
        for _ in 0..copies {
            self.agenda.add(found.to_agent_ms, Happening::ToAgent { link, message: Box::new(message.clone()) });
        }
    }

    pub(super) fn send_to_node(&mut self, link: u64, mut message: v1::AgentMessage) {
        let delay = self.within(DELAY_MS.0, DELAY_MS.1);
        let copies = match &mut message.message {
            Some(v1::agent_message::Message::Register(register)) => {
                if self.scenario.planted == Some(Planted::StaleObeyed) {
                    register.epoch_seen = 0;
                }
                1
            }
            _ => self.copies(),
        };
        let Some(found) = self.network.links.get_mut(&link) else { return };
        found.to_node_ms = found.to_node_ms.max(self.now_ms + delay);
        for _ in 0..copies {
            self.agenda.add(found.to_node_ms, Happening::ToNode { link, message: Box::new(message.clone()) });
        }
    }

    pub(super) fn deliver_to_node(&mut self, link: u64, message: v1::AgentMessage) -> Result<(), String> {
        if !self.passes_up(link) {
            return Ok(());
        }
        let found = &self.network.links[&link];
        let (node, life) = (found.node, found.node_life);
        self.note(|| format!("scheduler {node} <- link {link} {message:?}"));
        self.after(0, Happening::Node { node, life, event: NodeEvent::Hear { link, message: Box::new(message) } });
        Ok(())
    }

    pub(super) fn deliver_to_agent(&mut self, link: u64, mut message: v1::SchedulerMessage) -> Result<(), String> {
        if !self.passes_down(link) {
            return Ok(());
        }
        let found = &self.network.links[&link];
        let machine = found.machine;
        let (node, agent_life) = (&self.machines[machine], found.agent_life);
        if node.life != agent_life || node.session != Some(link) {
            return Ok(());
        }
        let (epoch, obeyed) = (epoch_of(&mut message).map(|epoch| *epoch), node.obeyed);
        let is_stale = epoch.is_some_and(|epoch| epoch < obeyed);
        if is_stale && self.planted(Planted::StaleObeyed) {
            epoch_of(&mut message).into_iter().for_each(|epoch| *epoch = obeyed);
        }
        self.note(|| format!("agent {machine} <- {message:?}"));
        if matches!(message.message, Some(Message::Launch(_) | Message::Kill(_) | Message::Reconcile(_))) {
            self.machines[machine].last_order = Some(message.clone());
        }
        let event = dawn_agent::wire::decode_scheduler(message).ok_or("the agent can't read a scheduler's message")?;
        let effects = self.agent_decides(machine, Event::Link(event));
        if is_stale && !effects.iter().any(|effect| matches!(effect, Effect::Hangup { .. })) {
            return Err(format!("S1: agent {machine} obeys epoch {epoch:?} after {obeyed}"));
        }
        self.act(machine, effects)?;
        if self.machines[machine].life == agent_life {
            self.machines[machine].obeyed = obeyed.max(epoch.unwrap_or(0));
        }
        Ok(())
    }

    /// Ends a link: both sides learn of it after a while.
    pub(super) fn reset(&mut self, link: u64) {
        if let Some(found) = self.network.links.get_mut(&link) {
            (found.dead_up, found.dead_down) = (true, true);
        }
        for at_node in [true, false] {
            let delay = self.within(NOTICE_MS.0, NOTICE_MS.1);
            self.after(delay, Happening::LinkLost { link, at_node });
        }
    }

    pub(super) fn link_lost(&mut self, link: u64, at_node: bool) -> Result<(), String> {
        let Some(found) = self.network.links.get(&link) else { return Ok(()) };
        let (machine, agent_life) = (found.machine, found.agent_life);
        if at_node {
            let (node, life) = (found.node, found.node_life);
            self.after(0, Happening::Node { node, life, event: NodeEvent::LinkLost { link } });
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

    /// The agent drops its link; `next` is whom it was told to try.
    pub(super) fn hang_up(&mut self, machine: usize, session: u64, next: Option<String>) {
        if self.machines[machine].session == Some(session) {
            self.machines[machine].session = None;
            self.machines[machine].next = next.and_then(|name| name.strip_prefix('s')?.parse().ok());
            self.reset(session);
            self.reconnect(machine);
        }
    }

    /// Every link of a process that died is reset.
    pub(super) fn reset_all(&mut self, of: impl Fn(&Link) -> bool) {
        let is_alive = |link: &Link| !(link.dead_up && link.dead_down);
        let links: Vec<u64> =
            self.network.links.iter().filter(|(_, link)| is_alive(link) && of(link)).map(|(id, _)| *id).collect();
        for link in links {
            self.reset(link);
        }
    }
}

/// The epoch under which a message was sent, where it carries one.
fn epoch_of(message: &mut v1::SchedulerMessage) -> Option<&mut u64> {
    match message.message.as_mut()? {
        Message::Registered(registered) => Some(&mut registered.epoch),
        Message::Launch(launch) => Some(&mut launch.epoch),
        Message::Kill(kill) => Some(&mut kill.epoch),
        Message::Reconcile(reconcile) => Some(&mut reconcile.epoch),
        Message::HeartbeatAck(ack) => Some(&mut ack.epoch),
        Message::TellTasks(tell) => Some(&mut tell.epoch),
        _ => None,
    }
}
