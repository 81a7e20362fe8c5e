//! Agents that are not real: they hold tasks, answer, and lose what the test wants lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dawn_proto::v1::Reason;
use dawn_proto::{TaskId, TaskState};

use super::world::{World, registration};
use crate::model::{AgentNo, Effect, Event, LinkId, Registration, Report};

pub struct Held {
    pub state: TaskState,
    sequence: u64,
    unacked: Vec<Report>,
}

#[derive(Default)]
pub struct FakeAgent {
    number: u64,
    boot: u32,
    /// On its disk.
    welcome: u64,
    /// Registered before in this boot: it comes back with a digest.
    compared: bool,
    pub link: Option<LinkId>,
    pub held: BTreeMap<TaskId, Held>,
    /// Ended, and the end acknowledged, in this boot.
    done: BTreeSet<TaskId>,
    inbox: VecDeque<Effect>,
    /// Not delivered yet; the test may lose, repeat and reorder them.
    pub outbox: Vec<Event>,
}

pub struct Fleet {
    pub agents: Vec<FakeAgent>,
    links: u64,
}

impl Fleet {
    pub fn new(agents: u64) -> Self {
        let agents = (1..=agents).map(|number| FakeAgent { number, ..FakeAgent::default() }).collect();
        Fleet { agents, links: 0 }
    }

    /// A new link; the one before it is gone with what was on its way.
    pub fn connect(&mut self, world: &mut World, at: usize) {
        self.disconnect(world, at);
        self.links += 1;
        let (link, agent) = (LinkId(self.links), &mut self.agents[at]);
        agent.link = Some(link);
        let (named, held) = match agent.compared {
            false => (agent.reports(), None),
            true => (vec![], Some(agent.held.iter().map(|(task, held)| (*task, held.state)).collect())),
        };
        let boot_id = format!("boot-{}", agent.boot);
        let (welcome, fresh_number) = (agent.welcome, self.links << 1);
        let registration = registration(agent.number, named);
        let registration = Registration { boot_id, held, welcome, fresh_number, ..registration };
        world.event(Event::Registered { link, registration: Box::new(registration) });
        self.route(world);
    }

    pub fn disconnect(&mut self, world: &mut World, at: usize) {
        let agent = &mut self.agents[at];
        agent.inbox.clear();
        agent.outbox.clear();
        if let Some(link) = agent.link.take() {
            world.event(Event::LinkClosed { link });
        }
    }

    /// All that ran is gone, and the memory of it.
    pub fn reboot(&mut self, world: &mut World, at: usize) {
        self.disconnect(world, at);
        let agent = &mut self.agents[at];
        agent.boot += 1;
        agent.compared = false;
        agent.held.clear();
        agent.done.clear();
    }

    /// Hands effects to the agents they are for; those for nobody are lost, as they would be.
    pub fn route(&mut self, world: &mut World) {
        for effect in world.take() {
            let link = match &effect {
                Effect::Ack { link, .. }
                | Effect::Welcome { link, .. }
                | Effect::TellTasks { link }
                | Effect::Refuse { link, .. } => Some(*link),
                Effect::Launch { agent, .. } | Effect::Kill { agent, .. } | Effect::Reconcile { agent, .. } => {
                    world.live.agents.get(agent).and_then(|live| live.link)
                }
                Effect::Describe { .. } => panic!("nothing was restored"),
                Effect::HeartbeatAck { .. }
                | Effect::Reply { .. }
                | Effect::StepDown { .. }
                | Effect::AskCoordinator { .. }
                | Effect::HeartbeatHeard { .. }
                | Effect::NoteAhead { .. }
                | Effect::NoteContested { .. }
                | Effect::LookAtOwnKey
                | Effect::Alarm { .. } => None,
            };
            let agent = self.agents.iter_mut().find(|agent| link.is_some() && agent.link == link);
            if let Some(agent) = agent {
                agent.inbox.push_back(effect);
            }
        }
    }

    pub fn heartbeats(&mut self, world: &mut World) {
        let linked = self.agents.iter().filter_map(|agent| Some((agent.link?, agent.welcome)));
        for (link, welcome) in linked.collect::<Vec<_>>() {
            world.event(Event::Heartbeat { link, sequence: 0, welcome, wall: Default::default() });
        }
        self.route(world);
    }

    /// Delivers one report: the oldest, or any when `pick` says so; repeated ones stay to be delivered again.
    pub fn deliver(&mut self, world: &mut World, at: usize, pick: usize, lost: bool, repeated: bool) {
        let outbox = &mut self.agents[at].outbox;
        if outbox.is_empty() {
            return;
        }
        let pick = pick % outbox.len();
        let event = if repeated { outbox[pick].clone() } else { outbox.remove(pick) };
        if !lost {
            world.event(event);
            self.route(world);
        }
    }

    pub fn number(world: &World, at: usize) -> Option<AgentNo> {
        world.state.agent(&registration(at as u64 + 1, vec![]).id).map(|agent| agent.no)
    }
}

fn agent_report(task: TaskId, sequence: u64, state: TaskState, reason: Reason) -> Report {
    Report { task, sequence, state, at: super::world::START, reason, message: String::new(), exit: None }
}

impl FakeAgent {
    fn say(&mut self, report: Report) {
        if let Some(link) = self.link {
            self.outbox.push(Event::Reported { link, report });
        }
    }

    fn becomes(&mut self, task: TaskId, state: TaskState, reason: Reason) {
        let Some(held) = self.held.get_mut(&task) else { return };
        if held.state.is_terminal() || held.state == state {
            return;
        }
        held.sequence += 1;
        held.state = state;
        let report = agent_report(task, held.sequence, state, reason);
        held.unacked.push(report.clone());
        self.say(report);
    }

    fn reports(&self) -> Vec<Report> {
        let held = self.held.iter();
        held.map(|(task, held)| agent_report(*task, held.sequence, held.state, Reason::None)).collect()
    }

    /// Everything unacknowledged once more.
    pub fn resend(&mut self) {
        let reports: Vec<Report> = self.held.values().flat_map(|held| held.unacked.clone()).collect();
        reports.into_iter().for_each(|report| self.say(report));
    }

    /// Takes one message; `end` is how a killed task ends.
    pub fn take_one(&mut self, end: TaskState) -> bool {
        let Some(effect) = self.inbox.pop_front() else { return false };
        match effect {
            Effect::Launch { task, .. } => {
                assert!(!self.done.contains(&task), "{task} is launched again after its end was acknowledged");
                let new = Held { state: TaskState::Assigned, sequence: 0, unacked: vec![] };
                self.held.entry(task).or_insert(new);
                self.becomes(task, TaskState::Starting, Reason::None);
            }
            Effect::Kill { task, .. } => self.becomes(task, end, Reason::None),
            Effect::Ack { task, sequence, .. } => {
                let Some(held) = self.held.get_mut(&task) else { return true };
                held.unacked.retain(|report| report.sequence > sequence);
                if held.state.is_terminal() && held.unacked.is_empty() {
                    self.held.remove(&task);
                    self.done.insert(task);
                }
            }
            Effect::Reconcile { tasks, .. } => {
                for task in tasks {
                    let held = self.held.get(&task).map(|held| (held.sequence, held.state, Reason::None));
                    let (sequence, state, reason) = held.unwrap_or((0, TaskState::Lost, Reason::NotOnAgent));
                    self.say(agent_report(task, sequence, state, reason));
                }
            }
            Effect::Welcome { number, .. } => (self.compared, self.welcome) = (true, number),
            Effect::TellTasks { link } => {
                let tasks = self.reports();
                self.outbox.push(Event::TasksTold { link, tasks });
            }
            // It dials again in a moment.
            Effect::Refuse { slowly: false, .. } => self.link = None,
            Effect::Refuse { reason, .. } => panic!("agent {} is refused: {reason}", self.number),
            _ => {}
        }
        true
    }

    /// The `pick`th of its living tasks moves on.
    pub fn progress(&mut self, pick: usize, to: TaskState) {
        let living: Vec<TaskId> =
            self.held.iter().filter(|(_, held)| !held.state.is_terminal()).map(|(task, _)| *task).collect();
        if let Some(task) = living.get(pick % living.len().max(1)) {
            self.becomes(*task, to, Reason::None);
        }
    }
}
