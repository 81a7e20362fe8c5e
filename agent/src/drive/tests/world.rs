//! A machine and a scheduler for an agent to live in: the disk, executors and processes survive its crashes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dawn_proto::v1::{PortHolder, Reason};
use dawn_proto::{AgentId, Epoch, JobKey, Resources, SpecId, TaskId, TaskState, Timestamp};

use super::machine::{Dir, found};
use crate::drive::Agent;
use crate::model::{
    Effect, Event, Identity, Index, Keep, Kill, Launch, LinkEvent, MachineEvent, Memory, Message, Now, OfferState,
    PortRange, Recovered, Refusal, Report, Setup, Spec, Welcomed,
};

/// Everything around the agent, and the agent.
pub struct World {
    pub dirs: BTreeMap<TaskId, Dir>,
    pub memory: Memory,
    pub boot: u32,
    pub agent: Agent,
    pub now: Now,
    session: u64,
    /// Effects not carried out yet.
    pub pending: VecDeque<Effect>,
    /// Every effect carried out, in order.
    pub done: u64,
    // The scheduler's side.
    pub wanted: BTreeMap<TaskId, bool>,
    pub told: BTreeMap<TaskId, Vec<Report>>,
    pub acks: bool,
    /// Some: what the disk has done is told later.
    pub late: Option<Vec<MachineEvent>>,
    /// Ports that others listen on.
    pub busy_ports: Vec<u16>,
}

/// What is to be done, without what is only told to those who read the log.
pub fn deeds(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Note(_))).collect()
}

pub fn demand() -> Resources {
    Resources { cpu_milli: 500, memory_bytes: 10, ..Resources::default() }
}

pub fn spec(id: u64) -> Arc<Spec> {
    Arc::new(Spec {
        id: SpecId(id),
        version: 1,
        job: JobKey::new("r", "e", "n").unwrap(),
        demand: demand(),
        user: "r".into(),
        max_pids: 0,
        grace_period_ms: 1_000,
        ladder_ms: 0,
        at_most_one: false,
        further: Default::default(),
        root: None,
        artifacts: Vec::new(),
        payload: Vec::new(),
    })
}

pub fn setup(boot: u32) -> Setup {
    let total = Resources { cpu_milli: 1_000, memory_bytes: 100, ..Resources::default() };
    let ports = vec![PortRange { first: 100, last: 110 }];
    Setup {
        agent_id: AgentId::new("a1").unwrap(),
        hostname: "h".into(),
        isolation: "none".into(),
        boot_id: format!("boot-{boot}"),
        offer: OfferState { total, ports, ..OfferState::default() },
        default_max_pids: 10,
        keep: Keep { age_ms: 3_600_000, total_bytes: 1 << 30 },
        adds_what_is_left: false,
    }
}

impl World {
    pub fn new() -> Self {
        let now = Now { wall: Timestamp(1_000_000), mono_ms: 0 };
        let (agent, first) = Agent::new(setup(1), Memory::default(), Vec::new(), now);
        World {
            dirs: BTreeMap::new(),
            memory: Memory::default(),
            boot: 1,
            agent,
            now,
            session: 0,
            pending: deeds(first).into(),
            done: 0,
            wanted: BTreeMap::new(),
            told: BTreeMap::new(),
            acks: true,
            late: None,
            busy_ports: Vec::new(),
        }
    }

    pub fn step(&mut self, event: Event) {
        let effects = self.agent.step(event, self.now);
        let state = self.agent.state();
        assert_eq!(state.index, Index::of(&state.tasks), "the index follows from the tasks");
        self.pending.extend(deeds(effects));
    }

    pub fn link(&mut self, event: LinkEvent) {
        self.step(Event::Link(event));
    }

    /// The disk has done what it was asked for, and from now on is fast.
    pub fn tell_late(&mut self) {
        for event in self.late.take().into_iter().flatten() {
            self.machine(event);
        }
    }

    /// Now, or with all else that is late.
    fn disk(&mut self, event: MachineEvent) {
        match &mut self.late {
            Some(late) => late.push(event),
            None => self.machine(event),
        }
    }

    fn machine(&mut self, event: MachineEvent) {
        self.step(Event::Machine(event));
    }

    pub fn connect(&mut self) {
        self.session += 1;
        self.link(LinkEvent::Up { session: self.session });
    }

    /// A launch, or its repeat; what is to be killed stays so.
    pub fn launch(&mut self, task: u64) {
        self.wanted.entry(TaskId(task)).or_insert(true);
        self.order(TaskId(task));
    }

    pub fn kill(&mut self, task: u64) {
        self.wanted.insert(TaskId(task), false);
        self.order(TaskId(task));
    }

    /// Says what is wanted of a task, unless it ended: a leader orders nothing of what is final.
    fn order(&mut self, task: TaskId) {
        if self.state(task.0).is_some_and(TaskState::is_terminal) {
            return;
        }
        let epoch = self.memory.epoch_seen.max(Epoch(1));
        if self.wanted[&task] {
            let launch = Launch {
                epoch,
                task,
                spec: SpecId(1),
                instance: 0,
                attempt: 1,
                ports: Vec::new(),
                gpus: Vec::new(),
                run_at_ms: 0,
            };
            self.link(LinkEvent::Launch(launch));
        } else {
            self.link(LinkEvent::Kill(Kill { epoch, task, reason: Reason::UserRequest, grace_period_ms: None }));
        }
    }

    pub fn state(&self, task: u64) -> Option<TaskState> {
        Some(self.told.get(&TaskId(task))?.last()?.state)
    }

    /// The agent dies, with whatever it had begun; a new one finds what is on the machine.
    pub fn restart(&mut self) {
        for dir in self.dirs.values_mut() {
            dir.watched = None;
        }
        self.pending.clear();
        let (agent, first) = Agent::new(setup(self.boot), self.memory.clone(), self.found(), self.now);
        self.agent = agent;
        self.pending.extend(deeds(first));
        self.connect();
    }

    /// What a starting agent finds.
    pub fn found(&self) -> Vec<Recovered> {
        self.dirs.iter().map(|(task, dir)| found(*task, dir)).collect()
    }

    pub fn reboot(&mut self) {
        self.boot += 1;
        for dir in self.dirs.values_mut() {
            (dir.executor, dir.process, dir.group) = (false, false, false);
        }
        self.restart();
    }

    /// Carries everything out until nothing moves but time.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if let Some(effect) = self.pending.pop_front() {
                self.act(effect);
            } else if !self.progress() {
                return;
            }
        }
        panic!("does not settle: {:?}", self.pending);
    }

    /// Moves the clock on in ticks.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 200 {
            self.now.mono_ms += 200;
            self.now.wall = self.now.wall.plus_ms(200);
            self.step(Event::Tick);
            self.settle();
        }
    }

    /// One step of some executor, passed on to the agent; false: none has one.
    pub fn progress(&mut self) -> bool {
        let tasks: Vec<TaskId> = self.dirs.keys().copied().collect();
        tasks.into_iter().any(|task| self.progress_of(task) | self.deliver(task))
    }

    pub fn progress_of(&mut self, task: TaskId) -> bool {
        self.dirs.get_mut(&task).is_some_and(Dir::progress)
    }

    /// Passes news of a log on, and the executor's death after its last event.
    fn deliver(&mut self, task: TaskId) -> bool {
        let Some(dir) = self.dirs.get_mut(&task) else { return false };
        let Some(heard) = dir.watched else { return false };
        if let Some(event) = dir.events.iter().find(|event| event.sequence() > heard).cloned() {
            dir.watched = Some(event.sequence());
            self.machine(MachineEvent::Heard { task, event });
            return true;
        }
        if !dir.executor {
            dir.watched = None;
            self.machine(MachineEvent::Gone { task });
            return true;
        }
        false
    }

    pub fn act(&mut self, effect: Effect) {
        self.done += 1;
        match effect {
            Effect::Remember(memory) => self.memory = memory,
            Effect::Send { session, message } if session == self.session => self.hear(message),
            Effect::Send { .. } | Effect::Renew { .. } | Effect::Observe(_) | Effect::LookAtDisk { .. } => {}
            Effect::OpenTunnel { .. } | Effect::Reach { .. } | Effect::StopFetch { .. } => {}
            Effect::Fetch { task, .. } => self.machine(MachineEvent::Fetched { task, result: Ok(()) }),
            Effect::Hangup { .. } => self.connect(),
            Effect::Vet { task, ports, .. } => {
                let busy = ports.into_iter().find(|port| self.busy_ports.contains(&port.number));
                let refusal = busy.map(|port| Refusal::PortBusy {
                    message: format!("port {}", port.number),
                    port,
                    holder: PortHolder::Listener,
                });
                let result = refusal.map_or(Ok(Identity::default()), Err);
                self.machine(MachineEvent::Vetted { task, result });
            }
            Effect::Checkpoint(record) => {
                let task = record.launch.task;
                let dir = self.dirs.entry(task).or_default();
                assert!(!dir.plan && !dir.group && !dir.executor, "checkpointed first, and once");
                dir.plan = true;
                self.machine(MachineEvent::Checkpointed { task, result: Ok(()) });
            }
            Effect::Prepare { task, .. } => {
                let dir = self.dirs.get_mut(&task).filter(|dir| dir.plan).expect("checkpointed before it is prepared");
                dir.group = true;
                self.machine(MachineEvent::Prepared { task, result: Ok(()) });
            }
            other => self.act_on_executor(other),
        }
    }

    fn act_on_executor(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { task } => {
                let dir = self.dirs.get_mut(&task).filter(|dir| dir.group).expect("prepared before it is started");
                if !dir.executor && dir.events.is_empty() {
                    dir.executor = true;
                    dir.starts += 1;
                }
                dir.watched = Some(0);
                self.machine(MachineEvent::Spawned { task, result: Ok(()) });
            }
            Effect::Attach { task, heard } => self.dir(task).watched = Some(heard),
            Effect::TellKill { task, reason, .. } => {
                let dir = self.dir(task);
                if dir.executor && !dir.is_over() {
                    dir.kill = Some(reason);
                }
            }
            Effect::ForceKill { task, .. } => self.dir(task).process = false,
            Effect::KillExecutor { task } => self.dir(task).executor = false,
            Effect::Record(report) => {
                let task = report.task;
                self.dir(task).verdict = Some(report);
                self.machine(MachineEvent::Recorded { task });
            }
            Effect::CleanUp { task, .. } => {
                let dir = self.dir(task);
                (dir.process, dir.group) = (false, false);
                self.disk(MachineEvent::Cleaned { task, bytes: 1 });
            }
            Effect::Release { task } => self.dir(task).released = true,
            Effect::Delete { task } => {
                let dir = self.dirs.remove(&task).unwrap();
                assert!(!dir.executor && !dir.process && !dir.group, "deleted under a living task");
                self.disk(MachineEvent::Deleted { task });
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn dir(&mut self, task: TaskId) -> &mut Dir {
        self.dirs.get_mut(&task).expect("the task has a directory")
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Register(register) => {
                for report in register.tasks.clone() {
                    self.note(report);
                }
                let (epoch, cluster_id) = (self.memory.epoch_seen.max(Epoch(1)), "c".to_string());
                self.link(welcome(epoch, &cluster_id, 0));
                if register.held.is_some() {
                    self.link(LinkEvent::TellTasks { epoch });
                }
                let tasks: Vec<TaskId> = self.wanted.keys().copied().collect();
                for task in tasks {
                    self.order(task);
                }
            }
            Message::Inspection(_) | Message::Description { .. } => panic!("hands send descriptions"),
            Message::NeedSpec { .. } => self.link(LinkEvent::Spec(spec(1))),
            Message::Report(report) => {
                self.note(report.clone());
                if self.acks {
                    self.link(LinkEvent::Ack { task: report.task, sequence: report.sequence });
                }
            }
            Message::Heartbeat { sequence, .. } => {
                self.link(LinkEvent::HeartbeatAck { sequence, epoch: self.memory.epoch_seen, without_lease: false })
            }
            Message::HeldTasks(tasks) => tasks.into_iter().for_each(|report| self.note(report)),
            Message::Offer(_) => {}
        }
    }

    /// A terminal state is final, and a task's reports come in order or are repeats.
    fn note(&mut self, report: Report) {
        let told = self.told.entry(report.task).or_default();
        if let Some(last) = told.last() {
            if last.state.is_terminal() {
                let repeat = report.state == last.state || report.reason == Reason::NotOnAgent;
                assert!(repeat || report.sequence < last.sequence, "{report:?} after {last:?}");
                return;
            }
            if report.sequence <= last.sequence {
                return;
            }
        }
        told.push(report);
    }
}

/// A leader's welcome.
pub fn welcome(epoch: Epoch, cluster_id: &str, number: u64) -> LinkEvent {
    let (cluster_id, heartbeat_interval_ms, lease_ms) = (cluster_id.to_string(), 1_000, 60_000);
    LinkEvent::Registered(Welcomed { epoch, cluster_id, heartbeat_interval_ms, lease_ms, number, without_lease: false })
}
