//! A machine that does what effects ask for, and keeps an account of it.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use dawn_executor::drive::{Drive, Hands, Now, Progress};
use dawn_executor::model::{Command, Effect, Exit, ExitKind, Input, Plan, Process, Record, Stamped};
use dawn_proto::v1::{Reason, TaskState};

pub fn process(name: &str) -> Process {
    let command = Command::Shell("true".into());
    Process { name: name.into(), command, max_failures: 1, min_duration_ms: 10, ..Process::default() }
}

pub fn plan(processes: Vec<Process>) -> Plan {
    Plan {
        processes,
        grace_period_ms: 1_000,
        finalization_wait_ms: 5_000,
        max_failed_processes: 1,
        max_concurrency: usize::MAX,
        ..Plan::default()
    }
}

pub fn code(code: i32) -> ExitKind {
    ExitKind::Code(code)
}

/// What the simulated machine holds.
#[derive(Default)]
pub struct Machine {
    /// The event log.
    pub log: Vec<Stamped>,
    /// Effects since they were last taken, starts apart.
    pub effects: Vec<Effect>,
    /// Process and run, in order of their starts.
    pub alive: Vec<(usize, u32)>,
    pub starts: Vec<usize>,
    pub is_sweeping: bool,
    pub is_left: bool,
    /// Names of programs that are not there.
    pub missing: BTreeSet<usize>,
    pub is_full: bool,
}

impl Hands for Machine {
    fn append(&mut self, records: &[Stamped], sync: bool) -> io::Result<()> {
        if self.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        assert!(sync || !records.iter().any(|stamped| stamped.record.needs_sync()));
        self.log.extend_from_slice(records);
        Ok(())
    }

    fn act(&mut self, effect: &Effect, inputs: &mut VecDeque<Input>) {
        assert!(!self.is_left, "{effect:?} after the end");
        match effect {
            Effect::Start { process, run } if self.missing.contains(process) => {
                let exit = Exit::new(ExitKind::NotStarted("exec x: not there".into()));
                inputs.push_back(Input::Exited { process: *process, run: *run, exit });
            }
            Effect::Start { process, run } => {
                assert!(self.alive.iter().all(|(alive, _)| alive != process), "process {process} runs twice");
                self.alive.push((*process, *run));
                self.starts.push(*process);
                let pid = 1_000 + i32::try_from(self.starts.len()).unwrap();
                inputs.push_back(Input::Started { process: *process, run: *run, pid, start_ticks: 1 });
            }
            Effect::Sweep => self.is_sweeping = true,
            Effect::Leave => {
                assert_eq!(self.alive, [], "left while something lives");
                self.is_left = true;
            }
            _ => {}
        }
        if !matches!(effect, Effect::Start { .. }) {
            self.effects.push(effect.clone());
        }
    }
}

pub struct Sim {
    pub drive: Drive,
    pub machine: Machine,
    pub now_ms: i64,
}

impl Sim {
    /// A task taken over for the first time.
    pub fn begin(plan: Plan) -> Sim {
        Sim::take_over(Drive::new(plan), Machine::default(), 1_000_000, BTreeSet::new())
    }

    fn take_over(drive: Drive, machine: Machine, now_ms: i64, living: BTreeSet<usize>) -> Sim {
        let mut sim = Sim { drive, machine, now_ms };
        sim.feed(Input::Began { pid: 500, start_ticks: 1, living });
        sim
    }

    /// The executor dies and another one takes the task; processes die with it unless `lives`.
    pub fn crash(mut self, lives: impl Fn(usize) -> bool) -> Sim {
        self.machine.alive.retain(|(process, _)| lives(*process));
        self.machine.effects.clear();
        self.machine.is_sweeping = false;
        let mut drive = Drive::new(self.drive.plan().clone());
        for stamped in &self.machine.log {
            drive.replay(stamped.clone(), stamped.at_ms);
        }
        let living = self.machine.alive.iter().map(|(process, _)| *process).collect();
        self.machine.is_left = false;
        Sim::take_over(drive, self.machine, self.now_ms, living)
    }

    pub fn feed(&mut self, input: Input) {
        // The wall clock is kept equal, so that replay needs no translation.
        let now = Now { steady_ms: self.now_ms, wall_ms: self.now_ms };
        let progress = self.drive.feed(input, now, &mut self.machine);
        assert!(matches!(progress, Progress::Going) || self.machine.is_full, "{progress:?}");
    }

    /// A process ends.
    pub fn exit(&mut self, process: usize, kind: ExitKind) {
        let at = self.machine.alive.iter().position(|(alive, _)| *alive == process);
        let (process, run) = self.machine.alive.remove(at.unwrap_or_else(|| panic!("process {process} is not alive")));
        self.feed(Input::Exited { process, run, exit: Exit::new(kind) });
    }

    pub fn kill(&mut self, reason: Reason, grace_period_ms: Option<u64>) {
        self.feed(Input::Kill { reason, grace_period_ms });
    }

    /// The sweep ends whatever lives.
    pub fn swept(&mut self) {
        assert!(self.machine.is_sweeping, "nobody asked for a sweep");
        while let Some((process, _)) = self.machine.alive.first().copied() {
            self.exit(process, ExitKind::Signal(9));
        }
        self.machine.is_sweeping = false;
        self.feed(Input::Emptied);
    }

    /// Time passes, tick by tick as the deadlines ask.
    pub fn pass_ms(&mut self, ms: i64) {
        let until_ms = self.now_ms + ms;
        while let Some(at_ms) = self.drive.deadline_ms().filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.feed(Input::Tick);
            let next_ms = self.drive.deadline_ms();
            assert!(next_ms.is_none_or(|next_ms| next_ms > self.now_ms), "a deadline stays in the past");
        }
        self.now_ms = until_ms;
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.machine.effects)
    }

    pub fn take_starts(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.machine.starts)
    }

    /// Reported states in order.
    pub fn states(&self) -> Vec<TaskState> {
        self.changes().into_iter().map(|(state, _, _)| state).collect()
    }

    pub fn changes(&self) -> Vec<(TaskState, Reason, String)> {
        let changes = self.machine.log.iter().filter_map(|stamped| match &stamped.record {
            Record::TaskChanged { state, reason, message, .. } => Some((*state, *reason, message.clone())),
            _ => None,
        });
        changes.collect()
    }

    /// The terminal report, which must be there, and be the last thing.
    pub fn end(&self) -> (TaskState, Reason, String) {
        assert!(self.machine.is_left);
        let last = self.machine.log.last().unwrap();
        assert!(matches!(&last.record, Record::TaskChanged { state, .. } if state.is_terminal()), "{last:?}");
        self.changes().pop().unwrap()
    }
}
