//! A stage for stories: the real pulse and placement under an owned clock, agents that do as they are told, a journal that
//! is read back through the wire when the leader changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use dawn_proto::v1::{self, JobKind, Reason};
use dawn_proto::{AgentId, TaskId, TaskState};
use prost::Message;

use crate::drive::{Pulse, PulseSettings};
use crate::model::{Answer, Batch, Command, Effect, Event, LinkId, Refusal, ReplyTo, Settings, State};
use crate::wire;
use crate::wire::sample;

const STEP_MS: u64 = 250;
const BEGINS_MS: u64 = 50;
const STARTS_MS: u64 = 400;
const STOPS_MS: u64 = 100;

/// What is lost when the leader changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The batch was not durable.
    Batch,
    /// It was; what it wanted done was not done.
    Effects,
}

#[derive(Default)]
struct Machine {
    link: Option<LinkId>,
    cpu_milli: u64,
    /// What it last said of each task, and what it will say when.
    tasks: BTreeMap<TaskId, (TaskState, Option<(u64, TaskState)>)>,
    is_cut: bool,
}

pub struct Stage {
    pub pulse: Pulse,
    journal: Vec<Arc<Batch>>,
    machines: BTreeMap<String, Machine>,
    pub ms: u64,
    pub epoch: u64,
    /// Steps made; at that of `fault` the leader changes.
    pub steps: u64,
    /// Those that decided something.
    pub deciding: Vec<u64>,
    pub fault: Option<(u64, Loss)>,
    links: u64,
    replies: u64,
    answers: BTreeMap<ReplyTo, Result<Answer, Refusal>>,
    /// (job, version, instance) whose tasks fail as they start; no instance: all.
    pub bad: Vec<(String, u32, Option<u32>)>,
    /// Jobs whose tasks finish soon.
    pub short: Vec<String>,
    /// Coordinators by url: what they say. Others hang.
    pub coordinators: BTreeMap<String, Result<bool, String>>,
    /// What happened, for people.
    pub log: Vec<String>,
}

fn settings() -> Settings {
    Settings { resend_interval_ms: 2_000, ..Settings::default() }
}

impl Stage {
    pub fn new() -> Stage {
        let pulse = Pulse::new(State::default(), settings(), PulseSettings::default());
        let mut stage = Stage {
            pulse,
            journal: Vec::new(),
            machines: BTreeMap::new(),
            ms: 0,
            epoch: 1,
            steps: 0,
            deciding: Vec::new(),
            fault: None,
            links: 0,
            replies: 0,
            answers: BTreeMap::new(),
            bad: Vec::new(),
            short: Vec::new(),
            coordinators: BTreeMap::new(),
            log: Vec::new(),
        };
        stage.step(vec![sample::elected(1)]);
        stage
    }

    pub fn state(&self) -> &State {
        self.pulse.state()
    }

    pub fn agent(&mut self, name: &str, cpu_milli: u64) {
        self.machines.insert(name.into(), Machine { cpu_milli, ..Machine::default() });
        self.connect(name);
    }

    fn connect(&mut self, name: &str) {
        self.links += 1;
        let link = LinkId(self.links);
        let machine = self.machines.get_mut(name).unwrap();
        machine.link = Some(link);
        let report = |(task, (state, _)): (&TaskId, &(TaskState, _))| v1::TaskReport {
            task_id: task.0,
            sequence: 1 + *state as u64,
            state: (*state).into(),
            ..Default::default()
        };
        let total = v1::Resources {
            cpu_milli: machine.cpu_milli,
            memory_bytes: 64 << 30,
            disk_bytes: 1 << 40,
            ..Default::default()
        };
        let ports = vec![v1::PortRange { first: 31_000, last: 31_900 }];
        let wire = v1::Register {
            agent_id: name.into(),
            hostname: name.into(),
            offer: Some(v1::Offer {
                epoch: 1,
                total: Some(total),
                attributes: Vec::new(),
                ports,
                ..Default::default()
            }),
            boot_id: "boot".into(),
            tasks: machine.tasks.iter().map(report).collect(),
            ..Default::default()
        };
        let registration = Box::new(wire::registration(wire).unwrap());
        self.step(vec![Event::Registered { link, registration }]);
    }

    /// Cut off from the network, or back.
    pub fn cut(&mut self, name: &str, is_cut: bool) {
        self.machines.get_mut(name).unwrap().is_cut = is_cut;
        if !is_cut {
            self.connect(name);
        }
    }

    pub fn command(&mut self, command: Command) -> Result<Answer, Refusal> {
        self.replies += 1;
        let reply = ReplyTo(self.replies);
        for _ in 0..3 {
            self.step(vec![Event::Command { reply, command: command.clone() }]);
            if let Some(answer) = self.answers.remove(&reply) {
                return answer;
            }
            // The leader changed before it answered: the client asks again.
        }
        panic!("{command:?} is never answered");
    }

    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.ms + ms;
        while self.ms < end {
            self.ms += STEP_MS.min(end - self.ms);
            let mut events = self.said();
            events.push(Event::Tick);
            self.step(events);
        }
    }

    /// What agents say by now.
    fn said(&mut self) -> Vec<Event> {
        let (ms, mut events, mut started) = (self.ms, Vec::new(), Vec::new());
        for (name, machine) in &mut self.machines {
            let Some(link) = machine.link.filter(|_| !machine.is_cut) else { continue };
            events.push(Event::Heartbeat { link, sequence: ms, welcome: 0, wall: Default::default() });
            for (task, (state, next)) in &mut machine.tasks {
                while let Some((at, to)) = *next
                    && at <= ms
                {
                    (*state, *next) = (to, None);
                    if to == TaskState::Starting {
                        *next = Some((at + STARTS_MS, TaskState::Running));
                    }
                    if to == TaskState::Running {
                        started.push((name.clone(), *task));
                    }
                    events.push(sample::reported(link.0, *task, 1 + to as u64, to));
                }
            }
        }
        for (name, task) in started {
            let end = if self.is_bad(task) { TaskState::Failed } else { TaskState::Finished };
            if end == TaskState::Failed || self.is_short(task) {
                let machine = self.machines.get_mut(&name).unwrap();
                machine.tasks.insert(task, (TaskState::Running, Some((self.ms + STARTS_MS, end))));
            }
        }
        events
    }

    fn is_bad(&self, task: TaskId) -> bool {
        let Some(task) = self.state().tasks.get(&task) else { return false };
        let spec = self.state().spec_of(task);
        self.bad.iter().any(|(name, version, instance)| {
            name == spec.job.key.name() && *version == spec.version && instance.is_none_or(|one| one == task.instance)
        })
    }

    fn is_short(&self, task: TaskId) -> bool {
        let task = self.state().tasks.get(&task);
        task.is_some_and(|task| self.short.iter().any(|name| name == self.state().spec_of(task).job.key.name()))
    }

    fn step(&mut self, events: Vec<Event>) {
        self.steps += 1;
        let batch = self.pulse.step(events, sample::now(self.ms));
        self.deciding.extend(batch.as_ref().map(|_| self.steps));
        let fault = self.fault.filter(|(at, _)| *at == self.steps).map(|(_, loss)| loss);
        if fault != Some(Loss::Batch)
            && let Some(batch) = &batch
        {
            self.note(batch);
            self.journal.push(batch.clone());
        }
        if fault.is_some() {
            return self.change_leader();
        }
        let effects = match &batch {
            Some(batch) => self.pulse.durable(batch.index),
            None => self.pulse.released(),
        };
        for effect in effects {
            self.act(effect);
        }
    }

    /// Another leader with nothing but the journal, as it lies on disk.
    fn change_leader(&mut self) {
        let mut state = State::default();
        for batch in &self.journal {
            let bytes = wire::batch_to_wire(batch).encode_to_vec();
            state.apply(&wire::batch_from_wire(v1::Batch::decode(&*bytes).unwrap()).unwrap());
        }
        let mut builder = wire::StateBuilder::default();
        wire::snapshot_chunks(&state).iter().for_each(|chunk| builder.add(chunk).unwrap());
        let restored = builder.finish().unwrap();
        assert_eq!(format!("{restored:?}"), format!("{state:?}"), "the snapshot is another state");
        self.pulse = Pulse::new(restored, settings(), PulseSettings::default());
        self.epoch += 1;
        self.fault = None;
        self.answers.clear();
        self.step(vec![sample::elected(self.epoch)]);
        let names: Vec<String> =
            self.machines.iter().filter(|(_, one)| !one.is_cut).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.connect(name));
    }

    fn act(&mut self, effect: Effect) {
        let ms = self.ms;
        match effect {
            Effect::Launch { agent, task } => {
                let Some(machine) = self.machine_of(agent) else { return };
                machine.tasks.entry(task).or_insert((TaskState::Assigned, Some((ms + BEGINS_MS, TaskState::Starting))));
            }
            Effect::Kill { agent, task, .. } => {
                let Some(machine) = self.machine_of(agent) else { return };
                match machine.tasks.get_mut(&task) {
                    Some((_, Some((_, TaskState::Killed)))) => {}
                    Some((state, _)) if state.is_terminal() => {}
                    Some((_, next)) => *next = Some((ms + STOPS_MS, TaskState::Killed)),
                    None => _ = machine.tasks.insert(task, (TaskState::Assigned, Some((ms, TaskState::Killed)))),
                }
            }
            // A task's end is kept until it is known to be durable.
            Effect::Ack { task, .. } => self.machines.values_mut().for_each(|machine| {
                machine.tasks.retain(|id, (state, _)| *id != task || !state.is_terminal());
            }),
            Effect::Reply { to, answer } => _ = self.answers.insert(to, answer),
            Effect::AskCoordinator { task, url, .. } => {
                if let Some(answer) = self.coordinators.get(&url).cloned() {
                    self.step(vec![Event::Coordinated { task, answer }]);
                }
            }
            _ => {}
        }
    }

    fn machine_of(&mut self, agent: crate::model::AgentNo) -> Option<&mut Machine> {
        let name = self.state().agents.get(&agent)?.id.to_string();
        self.machines.get_mut(&name).filter(|machine| !machine.is_cut)
    }

    /// Writes down what people would see.
    fn note(&mut self, batch: &Batch) {
        for mutation in &batch.mutations {
            if let Some(line) = super::told::told(self.pulse.state(), mutation) {
                let at = self.ms as f64 / 1000.0;
                self.log.push(format!("{at:>7.2} {line}"));
            }
        }
    }
}

/// A service of the stories: `v` makes specs differ.
pub fn service(name: &str, instances: u32, v: u32, update: v1::UpdatePolicy) -> v1::JobSpec {
    let mut spec = sample::wire_spec(name, JobKind::Service, instances);
    spec.priority = v;
    spec.tier = v1::Tier::Production.into();
    spec.update = Some(update);
    spec.restart = Some(v1::RestartPolicy { initial_backoff_ms: 1_000, max_backoff_ms: 1_000, ..Default::default() });
    spec
}

pub fn agent_id(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

/// What is said of a reason: nothing when there is none.
pub fn because(reason: Reason) -> String {
    if reason == Reason::None { String::new() } else { format!(" {}", reason.plain_name()) }
}
