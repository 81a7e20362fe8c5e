//! One task: its real executor and the processes it started, which outlive it as real ones do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;

use dawn_agent::model::{ExecutorEvent, GroupPlan, ProcessIdentity, Report, TaskDir};
use dawn_executor::drive::{Drive, Hands, Now, Progress};
use dawn_executor::model::{Effect, Exit, ExitKind, Input, Plan, Stamped};
use dawn_proto::TaskId;
use dawn_proto::v1::Reason;

use super::agenda::Happening;
use super::{Planted, World};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// A process in the kernel's table.
#[derive(Clone, Copy, Debug)]
struct Process {
    run: u32,
    pid: i32,
}

pub(super) struct Executor {
    drive: Option<Drive>,
    alive: bool,
    /// Encoded events, as they lie on disk.
    pub log: Vec<Vec<u8>>,
    /// How many of them outlive the machine.
    synced: usize,
    processes: BTreeMap<usize, Process>,
}

/// What the event log tells a starting agent.
#[derive(Default)]
pub(super) struct History {
    pub last: Option<Report>,
    pub kill_begun: Option<Reason>,
    pub processes: BTreeMap<String, ProcessIdentity>,
}

impl Executor {
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Processes that live.
    pub fn living(&self) -> usize {
        self.processes.len()
    }

    pub fn power_off(&mut self) {
        (self.alive, self.drive) = (false, None);
        self.processes.clear();
        self.log.truncate(self.synced);
    }

    pub fn history(&self, task: TaskId) -> History {
        let mut history = History::default();
        for event in self.log.iter().filter_map(|bytes| dawn_agent::wire::decode_event(bytes).ok()) {
            match event {
                ExecutorEvent::KillBegun { reason, .. } => history.kill_begun = Some(reason),
                ExecutorEvent::ProcessStarted { name, identity, .. } => _ = history.processes.insert(name, identity),
                ExecutorEvent::ProcessExited { name, .. } => _ = history.processes.remove(&name),
                ExecutorEvent::Changed { sequence, at, state, reason, message, ended } => {
                    let mut report = Report::new(task, sequence, state, at, reason, &message);
                    report.ended = ended;
                    history.last = Some(report);
                }
                ExecutorEvent::Started { .. } | ExecutorEvent::Other { .. } => {}
            }
        }
        history
    }
}

/// What a step of the executor asked for, to be done by the world.
struct Notes<'a> {
    plan: Plan,
    log: &'a mut Vec<Vec<u8>>,
    synced: &'a mut usize,
    effects: Vec<Effect>,
}

impl Hands for Notes<'_> {
    fn append(&mut self, records: &[Stamped], sync: bool) -> io::Result<()> {
        self.log.extend(records.iter().map(|stamped| dawn_executor::wire::encode(&self.plan, stamped, Vec::new())));
        if sync {
            *self.synced = self.log.len();
        }
        Ok(())
    }

    fn act(&mut self, effect: &Effect, _inputs: &mut VecDeque<Input>) {
        self.effects.push(effect.clone());
    }
}

impl World {
    pub(super) fn spawn_executor(&mut self, machine: usize, task: TaskId) -> Result<(), String> {
        let careless = self.planted(Planted::ExecutorTwice);
        let node = &mut self.machines[machine];
        if !careless && node.executors.get(&task).is_some_and(|one| one.is_alive() || !one.log.is_empty()) {
            return Ok(());
        }
        let record = node.record(task).ok_or_else(|| format!("S4: {task} is started without a checkpoint"))?;
        let dir = TaskDir::new(Path::new("/simulated"), task);
        let group = GroupPlan::default();
        let bytes = dawn_agent::wire::encode_plan(record, &group, &dir, "node", &[], &Default::default())
            .map_err(|error| error.to_string())?;
        let (plan, _) = dawn_executor::wire::parse_plan(&bytes).map_err(|error| format!("plan of {task}: {error}"))?;
        let drive = Some(Drive::new(plan));
        // What an earlier one started, if there was one, runs on beside it.
        let before = node.executors.remove(&task).map(|one| one.processes).unwrap_or_default();
        let processes = before.into_iter().map(|(process, found)| (process + 1_000, found)).collect();
        node.executors.insert(task, Executor { drive, alive: true, log: Vec::new(), synced: 0, processes });
        let delay = self.within(1, 20);
        self.after(delay, Happening::ExecutorStart { machine, task });
        Ok(())
    }

    pub(super) fn executor_begins(&mut self, machine: usize, task: TaskId) -> Result<(), String> {
        let pid = self.fresh_pid();
        self.executor_input(machine, task, Input::Began { pid, start_ticks: self.now_ms, living: BTreeSet::new() })
    }

    fn fresh_pid(&mut self) -> i32 {
        self.summary.tasks += 1;
        i32::try_from(self.summary.tasks).unwrap_or(i32::MAX)
    }

    pub(super) fn executor_input(&mut self, machine: usize, task: TaskId, input: Input) -> Result<(), String> {
        let clock = self.machines[machine].clock;
        let steady_ms = i64::try_from(clock.mono_ms(self.now_ms)).unwrap_or(i64::MAX);
        let now = Now { steady_ms, wall_ms: clock.wall(self.now_ms).0 };
        let Some(executor) = self.machines[machine].executors.get_mut(&task) else { return Ok(()) };
        let Some(drive) = executor.drive.as_mut().filter(|_| executor.alive) else { return Ok(()) };
        let before = executor.log.len();
        let mut notes = Notes {
            plan: drive.plan().clone(),
            log: &mut executor.log,
            synced: &mut executor.synced,
            effects: Vec::new(),
        };
        if let Progress::Stuck(error) = drive.feed(input, now, &mut notes) {
            return Err(format!("{task}: {error}"));
        }
        let mut effects = notes.effects;
        let deadline = drive.deadline_ms();
        let heard = executor.log.len() > before;
        if let Some(at_ms) = deadline.and_then(|at_ms| u64::try_from(at_ms).ok()) {
            let input = Box::new(Input::Tick);
            self.agenda.add(clock.world_ms(at_ms).max(self.now_ms + 1), Happening::Executor { machine, task, input });
        }
        // What it wrote it may not have done.
        let stop_after = self.crash_inside_step(effects.len());
        effects.truncate(stop_after.unwrap_or(usize::MAX));
        for effect in effects {
            self.executor_acts(machine, task, effect);
        }
        if stop_after.is_some() {
            self.summary.cut_short += 1;
            self.kill_executor(machine, task);
        }
        if heard {
            self.hear_soon(machine, task);
        }
        Ok(())
    }

    fn soon(&mut self, machine: usize, task: TaskId, delay_ms: u64, input: Input) {
        self.after(delay_ms, Happening::Executor { machine, task, input: Box::new(input) });
    }

    fn executor_acts(&mut self, machine: usize, task: TaskId, effect: Effect) {
        match effect {
            Effect::Start { process, run } => {
                let pid = self.fresh_pid();
                let lasts = self.lifetime(machine, task);
                if let Some(executor) = self.machines[machine].executors.get_mut(&task) {
                    executor.processes.insert(process, Process { run, pid });
                }
                self.dirty = true;
                self.note(|| format!("machine {machine}: {task} has process {pid}"));
                self.soon(machine, task, 0, Input::Started { process, run, pid, start_ticks: self.now_ms });
                if let Some((delay_ms, code)) = lasts {
                    let fault = super::faults::Fault::ProcessEnds { machine, task, pid, code };
                    self.after(delay_ms, Happening::Fault { fault });
                }
            }
            Effect::Terminate => self.end_processes(machine, task, ExitKind::Signal(SIGTERM)),
            Effect::Sweep => {
                self.end_processes(machine, task, ExitKind::Signal(SIGKILL));
                self.soon(machine, task, 60, Input::Emptied);
            }
            Effect::Leave => {
                if let Some(executor) = self.machines[machine].executors.get_mut(&task) {
                    (executor.alive, executor.drive) = (false, None);
                }
                self.hear_soon(machine, task);
            }
            Effect::Probe | Effect::Post(_) => {}
        }
    }

    /// How long the task's process runs by itself and its exit code, from its command: "run 1500 exit 0".
    fn lifetime(&self, machine: usize, task: TaskId) -> Option<(u64, i32)> {
        let executor = self.machines[machine].executors.get(&task)?;
        let dawn_executor::model::Command::Argv(argv) = &executor.drive.as_ref()?.plan().processes.first()?.command
        else {
            return None;
        };
        Some((argv.get(1)?.parse().ok()?, argv.get(3)?.parse().ok()?))
    }

    /// A process ends by itself, unless it is gone already.
    pub(super) fn process_ends(&mut self, machine: usize, task: TaskId, pid: i32, kind: ExitKind) {
        let Some(executor) = self.machines[machine].executors.get_mut(&task) else { return };
        let Some((process, found)) = executor.processes.iter().find(|(_, one)| one.pid == pid) else { return };
        let (process, run) = (*process, found.run);
        executor.processes.remove(&process);
        self.note(|| format!("machine {machine}: process {pid} of {task} ends: {kind:?}"));
        self.soon(machine, task, 0, Input::Exited { process, run, exit: Exit::new(kind) });
    }

    fn end_processes(&mut self, machine: usize, task: TaskId, kind: ExitKind) {
        let Some(executor) = self.machines[machine].executors.get(&task) else { return };
        let pids: Vec<i32> = executor.processes.values().map(|process| process.pid).collect();
        for pid in pids {
            self.process_ends(machine, task, pid, kind.clone());
        }
    }

    pub(super) fn kill_processes(&mut self, machine: usize, task: TaskId) {
        self.end_processes(machine, task, ExitKind::Signal(SIGKILL));
    }

    /// SIGKILL to the executor alone: its processes run on until somebody sweeps them.
    pub(super) fn kill_executor(&mut self, machine: usize, task: TaskId) {
        if let Some(executor) = self.machines[machine].executors.get_mut(&task) {
            (executor.alive, executor.drive) = (false, None);
            self.note(|| format!("machine {machine}: executor of {task} is killed"));
            self.hear_soon(machine, task);
        }
    }

    pub(super) fn renew_lease(&mut self, machine: usize, task: TaskId, until_ms: u64) {
        let until_ms = i64::try_from(until_ms).unwrap_or(i64::MAX);
        let delay = self.within(0, 5);
        self.soon(machine, task, delay, Input::Renewed { until_ms });
    }

    pub(super) fn tell_kill(
        &mut self,
        machine: usize,
        task: TaskId,
        reason: Reason,
        grace_period_ms: Option<u64>,
    ) -> Result<(), String> {
        // The one thing an agent stops by itself: what must not live without its lease.
        let lapsed = reason == Reason::AgentLost
            && self.machines[machine].record(task).is_some_and(|record| record.spec.at_most_one);
        if !lapsed {
            self.promises.stopped(&self.truth, task)?;
        }
        let delay = self.within(0, 5);
        self.soon(machine, task, delay, Input::Kill { reason, grace_period_ms });
        Ok(())
    }
}
