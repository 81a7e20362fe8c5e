//! Scheduler, agents and executors as they are, in one thread: virtual time, a network that fails, processes that
//! crash, all from one seed. The promises are checked after every step.
//! Not here: sockets, files, the kernel; what the edges do with them is tested on real processes.

mod agenda;
mod faults;
mod leader;
mod load;
mod machine;
mod network;
mod promises;
mod task;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use agenda::{Agenda, Happening};
use leader::Leader;
use load::Load;
use machine::Machine;
use network::Network;
use promises::Promises;

/// Wall clock of the simulation's first moment: 2026-11-22T00:00:00Z.
const WALL_START_MS: i64 = 1_795_305_600_000;
/// Lines of the trace that a broken promise shows.
const TRACE_LINES: usize = 400;

/// What one run consists of; equal scenarios run equally.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub machines: usize,
    /// Virtual time with load and faults.
    pub busy_ms: u64,
    /// Virtual time without faults, within which everything asked for must have come true.
    pub calm_ms: u64,
    pub faults: bool,
    /// A mistake built in on purpose: the promises must show it.
    pub planted: Option<Planted>,
}

/// Mistakes that others have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Effects and replies go out when decided, not when durable.
    AckBeforeDurable,
    /// A retried append writes its batch a second time.
    AppendTwice,
    /// A crash takes the last durable batch with it.
    DurableLost,
    /// A starting agent starts its tasks again without looking whether they run.
    ExecutorTwice,
    /// A starting agent kills what it finds.
    StopOnAbsence,
    /// Agents are promised a longer lease than the scheduler waits for.
    ReplacedTooEarly,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        Scenario { seed, machines: 4, busy_ms: 120_000, calm_ms: 240_000, faults: true, planted: None }
    }
}

/// A promise that did not hold, with what led to it.
pub struct Broken {
    pub seed: u64,
    pub at_ms: u64,
    pub promise: String,
    pub trace: Vec<String>,
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at {} ms: {}", self.seed, self.at_ms, self.promise)?;
        writeln!(f, "{}", self.trace.join("\n"))
    }
}

/// What a run did, so that a test can see that it was not idle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub batches: u64,
    pub tasks: u64,
    pub crashes: u64,
    pub cuts: u64,
}

/// Everything there is.
pub(crate) struct World {
    scenario: Scenario,
    now_ms: u64,
    chance: SmallRng,
    agenda: Agenda,
    network: Network,
    leader: Leader,
    machines: Vec<Machine>,
    load: Load,
    promises: Promises,
    trace: VecDeque<String>,
    summary: Summary,
}

/// Runs a scenario to its end.
///
/// # Errors
/// The first promise that did not hold.
pub fn run(scenario: Scenario) -> Result<Summary, Broken> {
    let mut world = World::new(scenario);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let promise = match outcome {
        Ok(Ok(())) => return Ok(world.summary),
        Ok(Err(promise)) => promise,
        Err(panic) => format!("a room panicked: {}", words(&*panic)),
    };
    Err(Broken { seed: world.scenario.seed, at_ms: world.now_ms, promise, trace: world.trace.into() })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl World {
    fn new(scenario: Scenario) -> World {
        let machines = (0..scenario.machines).map(Machine::new).collect();
        World {
            now_ms: 0,
            chance: SmallRng::seed_from_u64(scenario.seed),
            agenda: Agenda::default(),
            network: Network::default(),
            leader: Leader::default(),
            machines,
            load: Load::default(),
            promises: Promises::default(),
            trace: VecDeque::new(),
            summary: Summary::default(),
            scenario,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        self.start_leader()?;
        for machine in 0..self.machines.len() {
            self.start_agent(machine)?;
        }
        self.plan_load();
        if self.scenario.faults {
            self.plan_faults();
        }
        let end = self.scenario.busy_ms + self.scenario.calm_ms;
        while let Some((at_ms, happening)) = self.agenda.next() {
            if at_ms > end {
                break;
            }
            self.now_ms = at_ms;
            if let Some(happening) = self.held_back(happening) {
                self.happen(happening)?;
            }
            self.check_world()?;
        }
        self.now_ms = end;
        self.check_end()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::LeaderStep { life } => self.step_leader(life, false),
            Happening::LeaderTick { life } => self.step_leader(life, true),
            Happening::Durable { life } => self.made_durable(life),
            Happening::StartLeader => self.start_leader(),
            Happening::StartAgent { machine } => self.start_agent(machine),
            Happening::AgentTick { machine, life } => self.tick_agent(machine, life),
            Happening::Machine { machine, life, event } => self.machine_event(machine, life, *event),
            Happening::Connect { machine, life } => self.connect(machine, life),
            Happening::ToAgent { link, message } => self.deliver_to_agent(link, *message),
            Happening::ToLeader { link, message } => self.deliver_to_leader(link, *message),
            Happening::LinkLost { link, at_leader } => self.link_lost(link, at_leader),
            Happening::Executor { machine, task, input } => self.executor_input(machine, task, *input),
            Happening::ExecutorStart { machine, task } => self.executor_begins(machine, task),
            Happening::Hear { machine, task, life } => self.agent_hears(machine, task, life),
            Happening::Ask { ask } => self.ask(ask),
            Happening::Fault { fault } => self.fault(fault),
        }
    }

    /// A random delay, in milliseconds.
    fn within(&mut self, from_ms: u64, to_ms: u64) -> u64 {
        self.chance.random_range(from_ms..=to_ms)
    }

    fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.agenda.add(self.now_ms + delay_ms, happening);
    }

    fn wall_ms(&self) -> i64 {
        WALL_START_MS + i64::try_from(self.now_ms).unwrap_or(i64::MAX)
    }

    fn planted(&self, mistake: Planted) -> bool {
        self.scenario.planted == Some(mistake)
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trace.len() >= TRACE_LINES {
            self.trace.pop_front();
        }
        let line = format!("{:>8} {}", self.now_ms, line());
        self.trace.push_back(line);
    }
}
