//! Effects to deeds: the edges of one task in one place.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use dawn_proto::v1::TaskState;

use super::checks::ShellProbe;
use super::limits::AtLimits;
use crate::drive::Hands;
use crate::edges::check::Exchange;
use crate::edges::disk::{Disk, Found};
use crate::edges::events::EventLog;
use crate::edges::group::{Group, procfs};
use crate::edges::logs::Logs;
use crate::edges::os::{self, Clock};
use crate::edges::spawn::{Program, Space, Walls, kill_group, spawn};
use crate::model::{Effect, Ended, ExitKind, Input, LifecycleStep, Namespaces, Plan, Record, Setting, Stamped};
use crate::wire;

/// A living process of an earlier executor.
pub struct Adopted {
    pub pidfd: OwnedFd,
    pub pid: i32,
    pub process: usize,
    pub run: u32,
}

/// A living process that this executor has started.
#[derive(Debug)]
pub struct Ours {
    process: usize,
    run: u32,
    /// Processes that the task had been refused before.
    refused_before: u64,
}

/// When those who outran a sweep are swept again: soon, then ever more seldom. Thousands of executors may wait like this
/// for a kernel that ends one task after the other.
#[derive(Clone, Copy, Debug)]
pub struct Sweeping {
    pause_ms: i64,
    due_ms: i64,
}

impl Sweeping {
    const FIRST_PAUSE_MS: i64 = 10;
    const LONGEST_PAUSE_MS: i64 = 640;

    fn begin(now_ms: i64) -> Self {
        Sweeping { pause_ms: Self::FIRST_PAUSE_MS, due_ms: now_ms + Self::FIRST_PAUSE_MS }
    }

    fn again(self, now_ms: i64) -> Self {
        let pause_ms = (self.pause_ms * 2).min(Self::LONGEST_PAUSE_MS);
        Sweeping { pause_ms, due_ms: now_ms + pause_ms }
    }

    pub fn due_ms(&self) -> i64 {
        self.due_ms
    }
}

/// What the executor holds of the world.
pub struct World {
    pub plan: Plan,
    pub setting: Setting,
    pub clock: Clock,
    pub events: EventLog,
    pub group: Group,
    pub logs: Logs,
    /// Our children, by pid.
    pub running: BTreeMap<i32, Ours>,
    pub adopted: Vec<Adopted>,
    pub exchange: Option<Exchange>,
    pub shell_probe: Option<ShellProbe>,
    pub post: Option<Exchange>,
    /// The task is raised until then, for a shell probe that is dying.
    pub raised_until_ms: Option<i64>,
    /// Until nothing of the task is left.
    pub sweeping: Option<Sweeping>,
    pub is_leaving: bool,
    pub walls: Walls,
    /// Measures for the limits of disk and files.
    pub disk: Disk,
    pub at_limits: AtLimits,
}

impl World {
    pub fn new(plan: Plan, setting: Setting, clock: Clock, events: EventLog) -> Self {
        let group = Group::new(setting.cgroup.clone());
        World {
            logs: Logs::new(setting.meta.join("logs"), setting.logs),
            at_limits: AtLimits::new(&group),
            disk: Disk::new(
                setting.directories(),
                setting.cgroup.directories(),
                Found { bytes: plan.disk_limit_bytes, files: plan.max_files },
                clock.steady_ms(),
            ),
            plan,
            setting,
            clock,
            events,
            group,
            running: BTreeMap::new(),
            adopted: Vec::new(),
            walls: Walls::default(),
            exchange: None,
            shell_probe: None,
            post: None,
            raised_until_ms: None,
            sweeping: None,
            is_leaving: false,
        }
    }

    /// One of the task's processes has ended, maybe the last: a sweep need not wait to find out.
    pub fn one_less(&mut self) {
        if let Some(sweeping) = &mut self.sweeping {
            sweeping.due_ms = 0;
        }
    }

    /// What the end of child `pid` means; None for strays and what else we only bury.
    pub fn buried(&mut self, pid: i32, kind: ExitKind) -> Option<Input> {
        self.one_less();
        if let Some(probe) = self.shell_probe.take_if(|probe| probe.pid == pid) {
            self.lower();
            let verdict = self.verdict_of_command(&kind, probe.is_late);
            return Some(self.probed(verdict));
        }
        if self.walls.space.as_ref().is_some_and(|space| space.first_pid == Some(pid)) {
            // With its first process the kernel ends all of a namespace: the next start makes another.
            self.walls.space = None;
        }
        let Ours { process, run, refused_before } = self.running.remove(&pid)?;
        Some(Input::Exited { process, run, exit: self.exit(process, kind, refused_before) })
    }

    /// What goes with a failed end: what its speaker wrote last to standard error.
    fn last_words(&mut self, record: &Record) -> Vec<u8> {
        match record {
            Record::TaskChanged { state: TaskState::Failed, exit: Ended { speaker: Some(process), .. }, .. } => {
                self.logs.last_words(&format!("{}.stderr", self.plan.processes[*process].name), os::wall_ms())
            }
            _ => Vec::new(),
        }
    }

    /// Goes on with looking at what the task takes on disk; what there is, once all was looked at.
    pub fn measure(&mut self) -> Option<Input> {
        let now_ms = self.clock.steady_ms();
        let (group, running, adopted) = (&self.group, &self.running, &self.adopted);
        let children = || running.keys().copied().chain(adopted.iter().map(|one| one.pid)).collect();
        // Without groups the others are found by reading the whole process table, which is too much for each question.
        let members = || if group.is_grouped() { group.members() } else { children() };
        let found = self.disk.turn(now_ms, members)?;
        Some(Input::Measured { bytes: found.bytes, files: found.files })
    }

    /// Gives a task that was raised, and lives on, its own limits again.
    pub fn lower(&mut self) {
        if self.raised_until_ms.take().is_some() && self.sweeping.is_none() {
            self.group.lower();
        }
    }

    /// Goes on sweeping; says so once nothing is left.
    pub fn sweep(&mut self) -> Option<Input> {
        self.group.raise_all();
        if let Some(probe) = self.shell_probe {
            kill_group(probe.pid);
        }
        // Whoever is in no group any more, because somebody took the groups away, is at least our child.
        let first = self.walls.space.as_ref().and_then(|space| space.first_pid);
        self.running.keys().copied().chain(first).for_each(kill_group);
        let left = [!self.running.is_empty(), !self.adopted.is_empty(), self.shell_probe.is_some(), self.has_space()];
        // Root without namespaces of its own can leave the groups, but not its reaper.
        let no_escaped = |world: &World| world.walls.space.is_some() || !world.group.kill_descendants();
        let empty = self.group.sweep() && !left.contains(&true) && no_escaped(self);
        let now_ms = self.clock.steady_ms();
        self.sweeping =
            (!empty).then(|| self.sweeping.map_or_else(|| Sweeping::begin(now_ms), |one| one.again(now_ms)));
        if empty && self.plan.processes.iter().any(|process| process.is_final) {
            // They may be still to run.
            self.group.lower();
        }
        empty.then_some(Input::Emptied)
    }

    /// Health checks of a task that was taken over look at it from inside too.
    pub fn enter_space_of(&mut self, process: &OwnedFd) {
        if self.walls.space.is_none() && self.setting.isolation.namespaces != Namespaces::Off {
            match Space::of(process.as_fd()) {
                Ok(space) => self.walls.space = Some(space),
                Err(error) => note!("its namespaces can't be entered: {error}"),
            }
        }
    }

    /// Whether the first process of the namespaces is still to be buried.
    fn has_space(&self) -> bool {
        self.walls.space.as_ref().is_some_and(|space| space.first_pid.is_some())
    }

    fn start(&mut self, process: usize, run: u32) -> Input {
        let rules = &self.plan.processes[process];
        let refused_before = self.at_limits.refused_forks();
        let program = Program::new(&rules.command, &self.setting.env, &rules.env);
        match spawn(&program, &self.setting, &mut self.walls) {
            Ok(child) => {
                self.running.insert(child.pid, Ours { process, run, refused_before });
                for (stream, end) in [("stdout", child.stdout), ("stderr", child.stderr)] {
                    if let Err(error) = self.logs.attach(&format!("{}.{stream}", rules.name), end, os::wall_ms()) {
                        note!("attaching {stream} of {}: {error}", rules.name);
                    }
                }
                // Unreaped, so the entry is there even if it has ended.
                let start_ticks = procfs::start_ticks(child.pid).unwrap_or(0);
                Input::Started { process, run, pid: child.pid, start_ticks }
            }
            Err(error) => {
                let exit = self.exit(process, ExitKind::NotStarted(error.to_string()), refused_before);
                Input::Exited { process, run, exit }
            }
        }
    }

    fn post(&mut self, step: LifecycleStep) -> Option<Input> {
        let lifecycle = self.plan.lifecycle.as_ref()?;
        let (path, wait_ms) = match step {
            LifecycleStep::Graceful => (&lifecycle.graceful_path, lifecycle.graceful_wait_ms),
            LifecycleStep::Shutdown => (&lifecycle.shutdown_path, lifecycle.shutdown_wait_ms),
        };
        let deadline_ms = self.clock.steady_ms().saturating_add_unsigned(wait_ms);
        match Exchange::post(lifecycle.port, path, deadline_ms) {
            Ok(exchange) => {
                self.post = Some(exchange);
                None
            }
            Err(why) => {
                note!("{why}");
                Some(Input::PostFailed { why })
            }
        }
    }
}

impl Hands for World {
    fn append(&mut self, records: &[Stamped], sync: bool) -> io::Result<()> {
        let mut words: Vec<Vec<u8>> = records.iter().map(|stamped| self.last_words(&stamped.record)).collect();
        loop {
            let has_words = words.iter().any(|words| !words.is_empty());
            let bodies = records.iter().zip(std::mem::take(&mut words));
            let bodies: Vec<_> = bodies.map(|(stamped, words)| wire::encode(&self.plan, stamped, words)).collect();
            match self.events.append(&bodies, sync) {
                // On a disk that is full the end matters more.
                Err(_) if has_words => words = vec![Vec::new(); records.len()],
                appended => return appended,
            }
        }
    }

    fn act(&mut self, effect: &Effect, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::Start { process, run } => inputs.push_back(self.start(*process, *run)),
            Effect::Probe => inputs.extend(self.probe()),
            Effect::Post(step) => inputs.extend(self.post(*step)),
            Effect::Terminate => {
                self.group.terminate();
            }
            Effect::Sweep => inputs.extend(self.sweep()),
            Effect::Leave => self.is_leaving = true,
        }
    }
}
