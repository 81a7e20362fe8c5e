//! Schedulers, agents and executors as they are, in one thread: virtual time, clocks that drift, a network that fails, an
//! etcd or a disk that fails, processes that stop and crash, all from one seed. The promises are checked after every step.
//! Not here: sockets, files, the kernel; what the edges do with them is tested on real processes.

mod agenda;
mod clock;
mod disk;
mod election;
mod etcd;
mod faults;
mod hostile;
mod load;
mod machine;
mod network;
mod nodes;
mod planted;
mod process;
mod promises;
mod replayed;
mod settings;
mod stopped;
mod task;
mod unready;
mod writing;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, atomic::AtomicU64};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use agenda::{Agenda, Happening};
use dawn_scheduler::model::State;
use etcd::Etcd;
use faults::Fault;
use load::Load;
use machine::Machine;
use network::Network;
use nodes::Node;
use promises::Promises;

pub use planted::Planted;
pub use promises::{Counts, Updates};

/// Wall clock of the simulation's first moment: 2026-11-22T00:00:00Z.
const WALL_START_MS: i64 = 1_795_305_600_000;
/// Lines of the trace that a broken promise shows.
const TRACE_LINES: usize = 400;
/// More of one is cut.
const LINE_BYTES: usize = 500;

/// Where the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// On the disk of the only scheduler.
    Embedded,
    /// In an etcd, for three.
    Etcd,
}

/// Longest that followers may take to learn of the last batch.
const LINGER_MS: u64 = 5_000;

/// What one run consists of; equal scenarios run equally.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub home: Home,
    pub machines: usize,
    /// So many of them, the last ones, burn down when the faults end.
    pub burnt: usize,
    /// What an operator says when they have.
    pub word: Word,
    /// Virtual time with load and faults.
    pub busy_ms: u64,
    /// Virtual time without faults, within which everything asked for must have come true.
    pub calm_ms: u64,
    pub faults: bool,
    /// From then until then etcd is out of space, and nothing else is wrong. It renews leases.
    pub full_ms: Option<(u64, u64)>,
    /// A mistake built in on purpose: the promises must show it.
    pub planted: Option<Planted>,
}

/// What an operator says of machines that burnt down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Nothing,
    /// These nodes are gone for good.
    Down,
    /// The brake is released for a while.
    Release,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        // Two of three have several schedulers.
        let home = if seed % 3 == 2 { Home::Embedded } else { Home::Etcd };
        Scenario {
            seed,
            home,
            machines: 5,
            burnt: 1,
            word: Word::Nothing,
            busy_ms: 150_000,
            calm_ms: 150_000,
            faults: true,
            full_ms: None,
            planted: None,
        }
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
    /// Batches that are a part of a step, its last not counted.
    pub parts: u64,
    pub tasks: u64,
    pub crashes: u64,
    pub cuts: u64,
    /// Elected in etcd.
    pub leaders: u64,
    /// Leaders that ended because they led no more, or could not write.
    pub deposed: u64,
    /// Tasks that made way for others.
    pub preempted: u64,
    /// Agents avoided for what failed there, or for coming and going.
    pub avoided: u64,
    /// Agents out of reach.
    pub unreachable: u64,
    /// Running tasks that ended, or were out of reach, for the loss of their agent: by the scheduler's word or by the agent's.
    pub lapsed: u64,
    /// Executors that died between two deeds.
    pub cut_short: u64,
    /// Cron ticks by overlap and misfire policy.
    pub cron: BTreeMap<String, Counts>,
    pub updates: Updates,
}

impl Summary {
    pub fn add(&mut self, other: &Summary) {
        self.batches += other.batches;
        self.parts += other.parts;
        self.tasks += other.tasks;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.leaders += other.leaders;
        self.deposed += other.deposed;
        self.preempted += other.preempted;
        self.avoided += other.avoided;
        self.unreachable += other.unreachable;
        self.lapsed += other.lapsed;
        self.cut_short += other.cut_short;
        for (policy, counts) in &other.cron {
            let sum = self.cron.entry(policy.clone()).or_default();
            sum.launched += counts.launched;
            sum.missed += counts.missed;
            sum.overlapping += counts.overlapping;
        }
        self.updates.forward += other.updates.forward;
        self.updates.back += other.updates.back;
    }
}

/// Everything there is.
pub(crate) struct World {
    scenario: Scenario,
    now_ms: u64,
    chance: SmallRng,
    agenda: Agenda,
    network: Network,
    nodes: Vec<Node>,
    etcd: Etcd,
    etcd_slow: bool,
    disk_slow: bool,
    disk_fails: bool,
    machines: Vec<Machine>,
    load: Load,
    promises: Promises,
    /// What is durable: nobody may know anything else.
    truth: State,
    copies: Vec<hostile::Copied>,
    /// Numbers that welcomes were given.
    numbers: Arc<AtomicU64>,
    /// Something changed that the promises look at.
    dirty: bool,
    trace: Option<Trace>,
    summary: Summary,
}

/// What happened, a line each.
struct Trace {
    lines: VecDeque<String>,
    most: usize,
}

/// Runs a scenario to its end.
///
/// # Errors
/// The first promise that did not hold.
pub fn run(scenario: Scenario) -> Result<Summary, Broken> {
    match played(scenario.clone(), None) {
        (_, Ok(summary)) => Ok(summary),
        // Once more, to tell how it came to it.
        (_, Err((at_ms, promise))) => {
            let (trace, again) = played(scenario.clone(), Some(TRACE_LINES));
            let promise = match again {
                Err((again_ms, _)) if again_ms == at_ms => promise,
                other => format!("{promise}; and another run of the seed is another: {other:?}"),
            };
            Err(Broken { seed: scenario.seed, at_ms, promise, trace })
        }
    }
}

/// Everything that happens in a scenario, a line each, and how it ends.
pub fn replay(scenario: Scenario) -> (Vec<String>, Result<Summary, String>) {
    let (trace, ended) = played(scenario, Some(usize::MAX));
    (trace, ended.map_err(|(at_ms, promise)| format!("at {at_ms} ms: {promise}")))
}

type Played = (Vec<String>, Result<Summary, (u64, String)>);

fn played(scenario: Scenario, trace_lines: Option<usize>) -> Played {
    let mut world = World::new(scenario);
    world.trace = trace_lines.map(|most| Trace { lines: VecDeque::new(), most });
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let trace = world.trace.take().map(|trace| trace.lines.into()).unwrap_or_default();
    let promise = match outcome {
        Ok(Ok(())) => {
            world.summary.cron = world.promises.cron.counts();
            world.summary.updates = world.promises.updates();
            return (trace, Ok(world.summary));
        }
        Ok(Err(promise)) => promise,
        Err(panic) => format!("a room panicked: {}", words(&*panic)),
    };
    (trace, Err((world.now_ms, promise)))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl World {
    fn new(scenario: Scenario) -> World {
        let machines = (0..scenario.machines).map(Machine::new).collect();
        let nodes = if scenario.home == Home::Etcd { 3 } else { 1 };
        World {
            now_ms: 0,
            chance: SmallRng::seed_from_u64(scenario.seed),
            agenda: Agenda::default(),
            network: Network::default(),
            nodes: (0..nodes).map(|_| Node::new()).collect(),
            etcd: Etcd::new(),
            etcd_slow: false,
            disk_slow: false,
            disk_fails: false,
            machines,
            load: Load::default(),
            promises: Promises::default(),
            truth: State::default(),
            numbers: Arc::default(),
            copies: Vec::new(),
            dirty: false,
            trace: None,
            summary: Summary::default(),
            scenario,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        if self.scenario.faults {
            self.set_clocks_apart();
            self.plan_faults();
        }
        if let Some((from_ms, until_ms)) = self.scenario.full_ms {
            let fault = Fault::HomeFull { for_ms: until_ms - from_ms };
            self.agenda.add(from_ms, Happening::Fault { fault });
        }
        for node in 0..self.nodes.len() {
            self.start_node(node)?;
        }
        for machine in 0..self.machines.len() {
            self.start_agent(machine)?;
        }
        self.plan_load();
        self.tick_etcd();
        let end = self.scenario.busy_ms + self.scenario.calm_ms;
        while let Some((at_ms, happening)) = self.agenda.next() {
            // What was committed last may still be on its way to who follows.
            if at_ms > end && (self.all_have_the_truth() || at_ms > end + LINGER_MS) {
                break;
            }
            self.now_ms = at_ms;
            if let Some(happening) = self.held_back(happening) {
                self.happen(happening)?;
            }
            if std::mem::take(&mut self.dirty) {
                self.check_world()?;
            }
        }
        self.now_ms = end;
        self.check_end()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Node { node, life, event } => self.node_event(node, life, event),
            Happening::StartNode { node } => self.start_node(node),
            Happening::Etcd { node, life, ask } => self.etcd_hears(node, life, ask),
            Happening::Operator => self.operate(),
            Happening::ToCopy { link, message } => self.copy_hears(link, *message),
            Happening::EtcdTick => {
                self.tick_etcd();
                Ok(())
            }
            Happening::StartAgent { machine } => self.start_agent(machine),
            Happening::AgentTick { machine, life } => self.tick_agent(machine, life),
            Happening::Machine { machine, life, event } => self.machine_event(machine, life, *event),
            Happening::Connect { machine, life } => self.connect(machine, life),
            Happening::ToAgent { link, message } => self.deliver_to_agent(link, *message),
            Happening::ToNode { link, message } => self.deliver_to_node(link, *message),
            Happening::LinkLost { link, at_node } => self.link_lost(link, at_node),
            Happening::Executor { machine, task, input } => self.executor_input(machine, task, *input),
            Happening::ExecutorStart { machine, task } => self.executor_begins(machine, task),
            Happening::Hear { machine, task, life } => self.agent_hears(machine, task, life),
            Happening::Ask { ask } => self.ask(ask),
            Happening::AskAgain { number } => self.ask_again(number),
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

    fn planted(&self, mistake: Planted) -> bool {
        self.scenario.planted == Some(mistake)
    }

    /// A line of the trace, made only when there is one.
    fn note(&mut self, line: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        if trace.lines.len() >= trace.most {
            trace.lines.pop_front();
        }
        let line = line();
        trace.lines.push_back(format!("{:>8} {}", self.now_ms, &line[..line.floor_char_boundary(LINE_BYTES)]));
    }
}
