//! A scheduler without a pulse: applies what is decided, keeps a second state fed by the batches alone, and collects
//! effects until the test takes them.

use std::sync::Arc;

use dawn_proto::v1::{Reason, SubmitOutcome};
use dawn_proto::{AgentId, Epoch, Resources, TaskId, TaskState, Timestamp};

use super::specs::key;
use crate::decide::{Decision, decide, effects_of, observe};
use crate::model::*;

pub struct World {
    pub state: State,
    /// What replaying the journal gives.
    pub twin: State,
    pub live: Live,
    pub now: Now,
    pub settings: Settings,
    pub journal: Vec<Arc<Batch>>,
    effects: Vec<Effect>,
    replies: u64,
}

/// 2026-01-01T00:00:00Z
pub const START: Timestamp = Timestamp(1_767_225_600_000);

impl World {
    /// Elected and empty.
    pub fn new() -> Self {
        let mut world = World {
            state: State::default(),
            twin: State::default(),
            live: Live::default(),
            now: Now { wall: START, mono_ms: 1_000_000 },
            settings: Settings::default(),
            journal: Vec::new(),
            effects: Vec::new(),
            replies: 0,
        };
        world.elect(1);
        assert_eq!(world.take(), []);
        world
    }

    /// A leader that goes on from a backup, after so long.
    pub fn restored(&self, backup: &State, after_ms: u64) -> World {
        let now = Now { wall: self.now.wall.plus_ms(after_ms), mono_ms: 5_000_000 };
        let (state, batch) = Restored::from_backup(backup.clone(), now.wall);
        let mut world = World { now, ..World::new() };
        (world.state, world.twin) = (state.clone(), state);
        world.state.apply(&batch);
        world.twin.apply(&batch);
        world.elect(world.state.epoch.0 + 1);
        assert_eq!(world.take(), []);
        world
    }

    /// A new leader with the journal's state and nothing else.
    pub fn elect(&mut self, epoch: u64) {
        self.event(Event::Elected { epoch: Epoch(epoch), fresh_cluster_id: "c1".into() });
    }

    pub fn event(&mut self, event: Event) {
        let decision = decide(&self.state, &self.live, &event, self.now, &self.settings);
        self.commit(&decision);
        observe(&mut self.live, &event, &decision, self.now);
        self.effects.extend(decision.effects);
        if let Some(batch) = self.journal.last().filter(|_| !decision.mutations.is_empty()) {
            self.effects.extend(batch.mutations.iter().filter_map(|mutation| effects_of(&self.state, mutation)));
        }
    }

    fn commit(&mut self, decision: &Decision) {
        if decision.mutations.is_empty() {
            return;
        }
        let begun = decision.mutations.iter().find_map(|mutation| match mutation {
            Mutation::EpochBegun(EpochBegun { epoch }) => Some(*epoch),
            _ => None,
        });
        let epoch = begun.unwrap_or(self.state.epoch);
        let (index, at, mutations) = (self.state.index + 1, self.now.wall, decision.mutations.clone());
        let batch = Arc::new(Batch { index, epoch, at, part: None, mutations });
        self.state.apply(&batch);
        self.twin.apply(&batch);
        self.journal.push(batch);
    }

    /// What placement does: every pending task goes to the agent.
    pub fn place_all(&mut self, agent: AgentNo) {
        let assign = |task: &TaskId| {
            Mutation::TaskAssigned(TaskAssigned { task: *task, agent, ports: [].into(), devices: [].into() })
        };
        let mutations = self.state.indexes().pending.iter().map(assign).collect();
        self.mutate(mutations);
    }

    /// Mutations of placement's, with the effects that follow.
    pub fn mutate(&mut self, mutations: Vec<Mutation>) {
        let decision = Decision { mutations, effects: vec![], bytes: 0 };
        self.commit(&decision);
        self.effects.extend(decision.mutations.iter().filter_map(|mutation| effects_of(&self.state, mutation)));
    }

    /// Every effect since the last time.
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Effects that were only looked at.
    pub fn put_back(&mut self, effects: Vec<Effect>) {
        self.effects.splice(0..0, effects);
    }

    /// Time passes in steps of a tick.
    pub fn pass_ms(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while self.now.mono_ms < end_ms {
            self.skip_ms(250.min(end_ms - self.now.mono_ms));
            self.event(Event::Tick);
        }
    }

    /// Dawn's clock follows a step of the wall clock.
    pub fn shift_clock(&mut self, by_ms: i64) {
        self.now.wall.0 += by_ms;
        self.live.ticked.wall.0 += by_ms;
        self.mutate(vec![Mutation::ClockShifted(Shift { by_ms, after: Timestamp(0) })]);
    }

    /// Time passes unseen.
    pub fn skip_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall = self.now.wall.plus_ms(ms);
    }

    /// Time passes in which the agents are heard.
    pub fn pass_heard_ms(&mut self, ms: u64, links: &[LinkId]) {
        let end_ms = self.now.mono_ms + ms;
        while self.now.mono_ms < end_ms {
            for link in links {
                self.event(Event::Heartbeat { link: *link, sequence: 0, welcome: 0, wall: Default::default() });
            }
            self.pass_ms(1_000.min(end_ms - self.now.mono_ms));
        }
        self.effects.retain(|effect| !matches!(effect, Effect::HeartbeatAck { .. }));
    }

    pub fn command(&mut self, command: Command) -> Result<Answer, Refusal> {
        self.replies += 1;
        let reply = ReplyTo(self.replies);
        self.event(Event::Command { reply, command });
        let at = self.effects.iter().position(|effect| matches!(effect, Effect::Reply { to, .. } if *to == reply));
        match self.effects.remove(at.expect("every command is answered")) {
            Effect::Reply { answer, .. } => answer,
            _ => unreachable!(),
        }
    }

    pub fn submit(&mut self, spec: &JobSpec) -> Result<SubmitOutcome, Refusal> {
        let (author, message) = ("ann".into(), String::new());
        match self.command(Command::Submit { spec: Box::new(spec.clone()), author, message })? {
            Answer::Submitted(answers::Submitted { outcome, .. }) => Ok(outcome),
            answer => panic!("{answer:?}"),
        }
    }

    pub fn kill(&mut self, name: &str, instances: &[(u32, u32)]) -> Result<u32, Refusal> {
        let (author, message) = ("ann".into(), "enough".into());
        match self.command(Command::Kill { key: key(name), instances: instances.to_vec(), author, message })? {
            Answer::Killed(answers::Killed { tasks }) => Ok(tasks),
            answer => panic!("{answer:?}"),
        }
    }

    /// An agent registers on a link of its number; its effects are left to take.
    pub fn register(&mut self, agent: u64, tasks: Vec<Report>) -> LinkId {
        let registration = registration(agent, tasks);
        self.event(Event::Registered { link: LinkId(agent), registration: Box::new(registration) });
        LinkId(agent)
    }

    /// An agent that is there, with its welcome taken.
    pub fn agent(&mut self, agent: u64) -> (LinkId, AgentNo) {
        let link = self.register(agent, vec![]);
        let welcome = self.take();
        let [Effect::Welcome { agent, .. }] = welcome[..] else { panic!("{welcome:?}") };
        (link, agent)
    }

    /// Submits, places and starts; nothing is left to take.
    pub fn running(&mut self, spec: &JobSpec) -> (LinkId, AgentNo, Vec<TaskId>) {
        let (link, agent) = self.agent(1);
        self.submit(spec).unwrap();
        let tasks: Vec<TaskId> = self.state.indexes().pending.iter().copied().collect();
        self.place_all(agent);
        for task in &tasks {
            self.report(link, *task, TaskState::Running, Reason::None);
        }
        self.take();
        (link, agent, tasks)
    }

    pub fn report(&mut self, link: LinkId, task: TaskId, state: TaskState, reason: Reason) {
        self.event(Event::Reported { link, report: report(task, state, reason) });
    }

    pub fn job(&self, name: &str) -> &Job {
        self.state.job(&key(name)).unwrap()
    }

    pub fn tasks_of(&self, name: &str) -> &JobTasks {
        self.state.tasks_of(self.job(name).id)
    }

    pub fn state_of(&self, task: TaskId) -> TaskState {
        self.state.tasks[&task].state()
    }

    /// (instance, attempt, state) of every kept task of a job, oldest first.
    pub fn tasks(&self, name: &str) -> Vec<(u32, u32, TaskState)> {
        let tasks = self.tasks_of(name).ids.iter().map(|id| &self.state.tasks[id]);
        tasks.map(|task| (task.instance, task.attempt, task.state())).collect()
    }
}

pub fn report(task: TaskId, state: TaskState, reason: Reason) -> Report {
    Report {
        task,
        sequence: u64::from(state as u32 as u8),
        state,
        at: Timestamp(0),
        reason,
        message: String::new(),
        exit: None,
    }
}

/// The acknowledgement that [`report`] gets.
pub fn ack(link: LinkId, task: TaskId, state: TaskState) -> Effect {
    Effect::Ack { link, task, sequence: report(task, state, Reason::None).sequence }
}

/// The welcome of [`registration`].
pub fn welcome(link: LinkId, agent: AgentNo) -> Effect {
    let (epoch, number, leased, is_doubted, wait_ms) = (Epoch(1), 1, true, false, None);
    Effect::Welcome { link, agent, epoch, number, leased, is_doubted, wait_ms }
}

pub fn registration(agent: u64, tasks: Vec<Report>) -> Registration {
    let total = Resources { cpu_milli: 64_000, memory_bytes: 64 << 30, ..Default::default() };
    Registration {
        id: AgentId::new(&format!("node-{agent}")).unwrap(),
        hostname: format!("host-{agent}"),
        version: "1".into(),
        cluster_id: String::new(),
        isolation: "cgroup v2".into(),
        boot_id: "boot-1".into(),
        offer: Offer {
            epoch: 1,
            total,
            attributes: Attributes::new(),
            ports: vec![(31_000, 32_000)],
            max_tasks: 5_000,
            taken_ports: [].into(),
        },
        epoch_seen: Epoch(0),
        welcome: 0,
        fresh_number: 0,
        tasks,
        held: None,
    }
}

pub fn kill_effect(agent: AgentNo, task: TaskId, reason: Reason) -> Effect {
    Effect::Kill { agent, task, reason, grace_period_ms: None }
}
