//! One machine: its real agent, what that wrote to disk, and the executors that outlive it.

use std::collections::{BTreeMap, BTreeSet};

use dawn_agent::drive::Agent;
use dawn_agent::model::{
    Effect, Event, ExecutorProbe, Identity, Keep, LaunchRecord, MachineEvent, Memory, Now, OfferState, PortRange,
    Recovered, Refusal, Report, Setup, TaskPlan,
};
use dawn_proto::v1::{self, Reason};
use dawn_proto::{AgentId, Resources, TaskId, Timestamp};

use super::agenda::Happening;
use super::clock::NodeClock;
use super::task::Executor;
use super::{Planted, World};

const TICK_MS: u64 = 200;
/// How long the machine takes for a step of a launch.
const WORK_MS: (u64, u64) = (0, 15);

/// A task's directory.
pub(super) struct TaskFiles {
    pub record: LaunchRecord,
    checkpointed_at: Timestamp,
    pub verdict: Option<Report>,
    released: bool,
}

pub(super) struct Machine {
    number: usize,
    pub life: u64,
    pub agent: Option<Agent>,
    pub memory: Memory,
    pub files: BTreeMap<TaskId, TaskFiles>,
    pub executors: BTreeMap<TaskId, Executor>,
    /// Tasks whose event log the agent follows, with the last event it took in.
    watched: BTreeMap<TaskId, u64>,
    /// Told that the executor is gone.
    told_gone: BTreeSet<TaskId>,
    pub session: Option<u64>,
    /// Whom to dial: as told, and by turns.
    pub next: Option<usize>,
    dialled: usize,
    /// The highest epoch obeyed, as the world saw it.
    pub obeyed: u64,
    pub clock: NodeClock,
    /// Burnt down: it never comes back.
    pub gone: bool,
    /// The agent's process is stopped; what comes for it waits, in order.
    pub paused: Option<Vec<Happening>>,
    boot: u64,
    /// Nothing can be made for a task, for this reason.
    pub unready: Option<Refusal>,
    /// Grows when it loses its disk.
    disk: u64,
    pub last_order: Option<v1::SchedulerMessage>,
}

impl Machine {
    pub fn new(number: usize) -> Machine {
        Machine {
            number,
            life: 0,
            agent: None,
            memory: Memory::default(),
            files: BTreeMap::new(),
            executors: BTreeMap::new(),
            watched: BTreeMap::new(),
            told_gone: BTreeSet::new(),
            session: None,
            next: None,
            dialled: number,
            obeyed: 0,
            clock: NodeClock::default(),
            gone: false,
            paused: None,
            boot: 0,
            unready: None,
            disk: 0,
            last_order: None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.agent.is_some()
    }

    pub fn agent_id(&self) -> AgentId {
        AgentId::new(&self.name()).expect("a valid name")
    }

    /// The scheduler to dial now, of so many.
    pub fn dials(&mut self, nodes: usize) -> usize {
        self.dialled += 1;
        self.next.take().unwrap_or(self.dialled) % nodes
    }

    pub fn record(&self, task: TaskId) -> Option<&LaunchRecord> {
        self.files.get(&task).map(|files| &files.record)
    }

    /// The id of its agent: made at its first start, and kept on its disk.
    pub fn name(&self) -> String {
        format!("agent-{}-{}", self.number, self.disk)
    }

    pub(super) fn setup(&self) -> Setup {
        let total = Resources { cpu_milli: 4_000, memory_bytes: 8 << 30, disk_bytes: 64 << 30, ..Resources::default() };
        let attributes = vec![("rack".to_string(), vec![format!("r{}", self.number % 2)])];
        let ports = vec![PortRange { first: 31_000, last: 31_020 }];
        let offer = OfferState { total, attributes, ports, ..OfferState::default() };
        Setup {
            agent_id: self.agent_id(),
            hostname: format!("node{}", self.number),
            isolation: "simulated".into(),
            boot_id: format!("boot-{}", self.boot),
            offer,
            default_max_pids: 100,
            keep: Keep { age_ms: 600_000, total_bytes: 1 << 40 },
            adds_what_is_left: false,
        }
    }

    /// What a starting agent finds on its disk.
    pub(super) fn found(&self, careless: bool) -> Vec<Recovered> {
        let mut found: Vec<Recovered> = self.files.iter().map(|(task, files)| self.found_one(*task, files)).collect();
        for one in found.iter_mut().filter(|_| careless) {
            (one.executor, one.heard, one.last) = (ExecutorProbe::NeverStarted, 0, None);
        }
        found
    }

    fn found_one(&self, task: TaskId, files: &TaskFiles) -> Recovered {
        let executor = self.executors.get(&task);
        let probe = match executor {
            None => ExecutorProbe::NeverStarted,
            Some(one) if one.is_alive() && one.log.is_empty() => ExecutorProbe::Booting,
            Some(one) if one.is_alive() => ExecutorProbe::Alive,
            Some(one) if one.log.is_empty() => ExecutorProbe::NeverStarted,
            Some(_) => ExecutorProbe::Dead,
        };
        let demand = files.record.spec.demand.clone();
        let history = executor.map(|one| one.history(task)).unwrap_or_default();
        Recovered {
            task,
            record: Some(TaskPlan {
                job: files.record.spec.job.to_string(),
                demand,
                ports: files.record.launch.ports.clone(),
                limits: files.record.limits(100),
                identity: files.record.identity.clone(),
                grace_period_ms: files.record.spec.grace_period_ms,
                ladder_ms: files.record.spec.ladder_ms,
                at_most_one: files.record.spec.at_most_one,
                artifacts: Vec::new(),
            }),
            checkpointed_at: files.checkpointed_at,
            executor: probe,
            heard: executor.map_or(0, |one| one.log.len() as u64),
            last: history.last,
            kill_begun: history.kill_begun,
            processes: history.processes,
            verdict: files.verdict.clone(),
            released: files.released,
        }
    }
}

impl World {
    pub(super) fn agent_now(&self, machine: usize) -> Now {
        let clock = &self.machines[machine].clock;
        Now { wall: clock.wall(self.now_ms), mono_ms: clock.mono_ms(self.now_ms) }
    }

    pub(super) fn start_agent(&mut self, machine: usize) -> Result<(), String> {
        if self.machines[machine].is_up() || self.machines[machine].gone {
            return Ok(());
        }
        let now = self.agent_now(machine);
        let careless = self.planted(Planted::ExecutorTwice);
        let node = &mut self.machines[machine];
        node.life += 1;
        node.watched.clear();
        node.told_gone.clear();
        let (agent, effects) = Agent::new(node.setup(), node.memory.clone(), node.found(careless), now);
        node.agent = Some(agent);
        let life = node.life;
        self.note(|| format!("agent {machine} starts"));
        let effects = self.deeds(machine, effects);
        self.after(TICK_MS, Happening::AgentTick { machine, life });
        self.after(1, Happening::Connect { machine, life });
        if self.planted(Planted::StopOnAbsence) {
            let tasks: Vec<TaskId> = self.machines[machine].executors.keys().copied().collect();
            for task in tasks {
                self.tell_kill(machine, task, Reason::Orphan, None)?;
            }
        }
        self.act(machine, effects)
    }

    /// The agent's process dies; disk and executors stay.
    pub(super) fn crash_agent(&mut self, machine: usize) {
        let node = &mut self.machines[machine];
        if node.agent.take().is_none() {
            return;
        }
        (node.session, node.paused, node.life) = (None, None, node.life + 1);
        self.summary.crashes += 1;
        self.note(|| format!("agent {machine} crashes"));
        self.reset_all(|link| link.machine == machine);
    }

    /// The machine itself goes down: nothing that ran lives on.
    pub(super) fn reboot(&mut self, machine: usize) {
        self.crash_agent(machine);
        self.note(|| format!("machine {machine} reboots"));
        self.machines[machine].boot += 1;
        for executor in self.machines[machine].executors.values_mut() {
            executor.power_off();
        }
        self.dirty = true;
    }

    /// It comes back with an empty disk: nothing of its cluster, its tasks or its orders is known there.
    pub(super) fn empty(&mut self, machine: usize) {
        self.reboot(machine);
        self.note(|| format!("machine {machine} loses its disk"));
        let node = &mut self.machines[machine];
        (node.memory, node.obeyed) = (Memory::default(), 0);
        node.disk += 1;
        // It is another agent now: no link brings it what was said to the one before.
        node.last_order = None;
        node.files.clear();
        node.executors.clear();
    }

    pub(super) fn tick_agent(&mut self, machine: usize, life: u64) -> Result<(), String> {
        if self.machines[machine].life != life {
            return Ok(());
        }
        self.after(TICK_MS, Happening::AgentTick { machine, life });
        self.agent_step(machine, Event::Tick)?;
        // Often enough: once a second, each machine in its turn.
        if self.machines[machine].life == life && (self.now_ms / TICK_MS) as usize % 5 == machine % 5 {
            return self.agent_is_as_replayed(machine);
        }
        Ok(())
    }

    pub(super) fn machine_event(&mut self, machine: usize, life: u64, event: MachineEvent) -> Result<(), String> {
        if self.machines[machine].life != life {
            return Ok(());
        }
        self.agent_step(machine, Event::Machine(event))
    }

    pub(super) fn agent_step(&mut self, machine: usize, event: Event) -> Result<(), String> {
        let effects = self.agent_decides(machine, event);
        self.act(machine, effects)
    }

    pub(super) fn agent_decides(&mut self, machine: usize, event: Event) -> Vec<Effect> {
        let now = self.agent_now(machine);
        let effects = self.machines[machine].agent.as_mut().map(|agent| agent.step(event, now)).unwrap_or_default();
        self.deeds(machine, effects)
    }

    /// What is to be done. What is only told to those who read the agent's log is in the story's.
    fn deeds(&mut self, machine: usize, effects: Vec<Effect>) -> Vec<Effect> {
        for effect in effects.iter().filter(|effect| matches!(effect, Effect::Note(_))) {
            self.note(|| format!("agent {machine}: {effect:?}"));
        }
        effects.into_iter().filter(|effect| !matches!(effect, Effect::Note(_))).collect()
    }

    pub(super) fn answer(&mut self, machine: usize, event: MachineEvent) {
        let delay = self.within(WORK_MS.0, WORK_MS.1);
        let life = self.machines[machine].life;
        self.after(delay, Happening::Machine { machine, life, event: Box::new(event) });
    }

    pub(super) fn act(&mut self, machine: usize, effects: Vec<Effect>) -> Result<(), String> {
        // A crash may come between any two deeds of a step.
        let stop_after = self.crash_inside_step(effects.len());
        for (number, effect) in effects.into_iter().enumerate() {
            if stop_after == Some(number) {
                self.crash_agent(machine);
                self.bring_back_agent(machine);
                return Ok(());
            }
            if !matches!(effect, Effect::Send { .. }) {
                self.note(|| match &effect {
                    Effect::Checkpoint(record) => format!("agent {machine}: Checkpoint {}", record.launch.task),
                    effect => format!("agent {machine}: {effect:?}"),
                });
            }
            self.act_one(machine, effect)?;
        }
        Ok(())
    }

    fn act_one(&mut self, machine: usize, effect: Effect) -> Result<(), String> {
        let at = self.agent_now(machine).wall;
        let forgets = self.planted(Planted::ReleaseForgotten);
        let node = &mut self.machines[machine];
        match effect {
            Effect::Remember(memory) => node.memory = memory,
            Effect::Send { session, message } => {
                if node.session == Some(session) {
                    let message = dawn_agent::wire::encode_message(message, "simulated");
                    self.send_to_node(session, message);
                }
            }
            Effect::Hangup { session, next, .. } => self.hang_up(machine, session, next),
            Effect::Vet { task, .. } => {
                self.answer(machine, MachineEvent::Vetted { task, result: Ok(Identity::default()) });
            }
            Effect::Checkpoint(record) => {
                let task = record.launch.task;
                node.files
                    .insert(task, TaskFiles { record: *record, checkpointed_at: at, verdict: None, released: false });
                self.answer(machine, MachineEvent::Checkpointed { task, result: Ok(()) });
            }
            Effect::Prepare { task, .. } => self.prepare(machine, task),
            Effect::Spawn { task } => {
                self.spawn_executor(machine, task)?;
                self.machines[machine].watched.insert(task, 0);
                self.answer(machine, MachineEvent::Spawned { task, result: Ok(()) });
                self.hear_soon(machine, task);
            }
            Effect::Attach { task, heard } => {
                node.watched.insert(task, heard);
                self.hear_soon(machine, task);
            }
            Effect::TellKill { task, reason, grace_period_ms } => {
                self.tell_kill(machine, task, reason, grace_period_ms)?;
            }
            Effect::Renew { task, until_ms } => self.renew_lease(machine, task, until_ms),
            Effect::ForceKill { task, .. } => self.kill_processes(machine, task),
            Effect::KillExecutor { task } => self.kill_executor(machine, task),
            Effect::Record(report) => {
                let task = report.task;
                if let Some(files) = node.files.get_mut(&task) {
                    files.verdict = Some(report);
                }
                self.answer(machine, MachineEvent::Recorded { task });
            }
            Effect::CleanUp { task, .. } => {
                self.kill_processes(machine, task);
                self.answer(machine, MachineEvent::Cleaned { task, bytes: 1 << 20 });
            }
            Effect::Release { task } => {
                if let Some(files) = node.files.get_mut(&task).filter(|_| !forgets) {
                    files.released = true;
                }
            }
            Effect::Delete { task } => {
                node.files.remove(&task);
                node.executors.remove(&task);
                node.watched.remove(&task);
                self.answer(machine, MachineEvent::Deleted { task });
            }
            Effect::Note(_) | Effect::Observe(_) | Effect::StopFetch { .. } | Effect::LookAtDisk { .. } => {}
            Effect::Fetch { task, .. } => self.answer(machine, MachineEvent::Fetched { task, result: Ok(()) }),
            Effect::OpenTunnel { .. } | Effect::Reach { .. } => return Err("nobody reached in".into()),
            Effect::Inspect { .. } => return Err("nobody asked what is there".into()),
            Effect::Describe { .. } => return Err("nobody asked what a task is".into()),
        }
        Ok(())
    }

    pub(super) fn hear_soon(&mut self, machine: usize, task: TaskId) {
        let delay = self.within(0, 5);
        let life = self.machines[machine].life;
        self.after(delay, Happening::Hear { machine, task, life });
    }

    /// The agent takes in what is new in a task's event log, and the executor's end once it has read everything.
    pub(super) fn agent_hears(&mut self, machine: usize, task: TaskId, life: u64) -> Result<(), String> {
        let node = &mut self.machines[machine];
        if node.life != life || !node.is_up() {
            return Ok(());
        }
        let (Some(heard), Some(executor)) = (node.watched.get_mut(&task), node.executors.get(&task)) else {
            return Ok(());
        };
        let new: Vec<Vec<u8>> = executor.log.iter().skip(*heard as usize).cloned().collect();
        *heard += new.len() as u64;
        let gone = !executor.is_alive() && node.told_gone.insert(task);
        for bytes in new {
            let event = dawn_agent::wire::decode_event(&bytes).map_err(|error| format!("event of {task}: {error}"))?;
            self.agent_step(machine, Event::Machine(MachineEvent::Heard { task, event }))?;
        }
        if gone && self.machines[machine].life == life {
            return self.agent_step(machine, Event::Machine(MachineEvent::Gone { task }));
        }
        Ok(())
    }
}
