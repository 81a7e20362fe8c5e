//! Effects to deeds: the edges of one task in one place.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;

use crate::drive::Hands;
use crate::edges::check::{Exchange, Verdict};
use crate::edges::events::EventLog;
use crate::edges::group::{Group, procfs};
use crate::edges::logs::Logs;
use crate::edges::os::Clock;
use crate::edges::spawn::{Program, kill_group, spawn};
use crate::model::{Command, Effect, Exit, ExitKind, Input, LifecycleStep, Plan, Probe, Setting, Stamped};
use crate::wire;

/// Present in the sandbox: failed health checks are ignored.
const SNOOZE_FILE: &str = ".healthcheck_snooze";
const SIGKILL: i32 = 9;
/// What a shell answers when its child was ended by SIGKILL.
const EXIT_CODE_OF_SIGKILL: i32 = 128 + SIGKILL;

/// What the executor holds of the world.
pub struct World {
    pub plan: Plan,
    pub setting: Setting,
    pub clock: Clock,
    pub events: EventLog,
    pub group: Group,
    pub logs: Logs,
    /// Our children: pid to process and run.
    pub running: BTreeMap<i32, (usize, u32)>,
    /// Living processes of an earlier executor: a pidfd each.
    pub adopted: Vec<(OwnedFd, usize)>,
    pub exchange: Option<Exchange>,
    /// A shell probe: its pid and when its time is up.
    pub shell_probe: Option<(i32, i64)>,
    pub post: Option<Exchange>,
    pub is_sweeping: bool,
    pub is_leaving: bool,
    oom_kills: u64,
}

impl World {
    pub fn new(plan: Plan, setting: Setting, clock: Clock, events: EventLog) -> Self {
        let group = Group::new(setting.cgroup.clone());
        World {
            logs: Logs::new(setting.meta.join("logs"), setting.logs),
            oom_kills: group.oom_kills(),
            plan,
            setting,
            clock,
            events,
            group,
            running: BTreeMap::new(),
            adopted: Vec::new(),
            exchange: None,
            shell_probe: None,
            post: None,
            is_sweeping: false,
            is_leaving: false,
        }
    }

    /// What the end of child `pid` means; None for strays and what else we only bury.
    pub fn buried(&mut self, pid: i32, kind: ExitKind) -> Option<Input> {
        if self.shell_probe.is_some_and(|(probe, _)| probe == pid) {
            self.shell_probe = None;
            let verdict = match kind {
                ExitKind::Code(0) => Ok(()),
                ExitKind::Code(code) => Err(format!("exit code {code}")),
                _ => Err("ended by a signal, or out of time".to_string()),
            };
            return Some(self.probed(verdict));
        }
        let (process, run) = self.running.remove(&pid)?;
        let killed = matches!(kind, ExitKind::Signal(SIGKILL) | ExitKind::Code(EXIT_CODE_OF_SIGKILL));
        let out_of_memory = killed && self.has_new_oom_kill();
        Some(Input::Exited { process, run, exit: Exit { kind, out_of_memory } })
    }

    fn has_new_oom_kill(&mut self) -> bool {
        let count = self.group.oom_kills();
        std::mem::replace(&mut self.oom_kills, count) < count
    }

    pub fn probed(&self, verdict: Verdict) -> Input {
        let snoozed = verdict.is_err() && self.setting.sandbox.join(SNOOZE_FILE).exists();
        let (healthy, detail) = match verdict {
            Ok(()) => (true, String::new()),
            Err(detail) => (false, detail),
        };
        Input::Probed { healthy, snoozed, detail }
    }

    /// Goes on sweeping; says so once nothing is left.
    pub fn sweep(&mut self) -> Option<Input> {
        if let Some((pid, _)) = self.shell_probe {
            kill_group(pid);
        }
        let empty =
            self.group.sweep() && self.running.is_empty() && self.adopted.is_empty() && self.shell_probe.is_none();
        self.is_sweeping = !empty;
        empty.then_some(Input::Emptied)
    }

    fn start(&mut self, process: usize, run: u32) -> Input {
        let rules = &self.plan.processes[process];
        let program = Program::new(&rules.command, &self.setting.env, &rules.env);
        match spawn(&program, &self.setting, true) {
            Ok(child) => {
                self.running.insert(child.pid, (process, run));
                let streams = child.output.into_iter().flat_map(|(out, err)| [("stdout", out), ("stderr", err)]);
                for (stream, end) in streams {
                    if let Err(error) = self.logs.attach(&format!("{}.{stream}", rules.name), end) {
                        eprintln!("attaching {stream} of {}: {error}", rules.name);
                    }
                }
                // Unreaped, so the entry is there even if it has ended.
                let start_ticks = procfs::start_ticks(child.pid).unwrap_or(0);
                Input::Started { process, run, pid: child.pid, start_ticks }
            }
            Err(error) => {
                let exit = Exit { kind: ExitKind::NotStarted(error.to_string()), out_of_memory: false };
                Input::Exited { process, run, exit }
            }
        }
    }

    fn probe(&mut self) -> Option<Input> {
        let health = self.plan.health.as_ref()?;
        let deadline_ms = self.clock.steady_ms().saturating_add_unsigned(health.timeout_ms);
        if let Probe::Shell(line) = &health.probe {
            let program = Program::new(&Command::Shell(line.clone()), &self.setting.env, &BTreeMap::new());
            match spawn(&program, &self.setting, false) {
                Ok(child) => self.shell_probe = Some((child.pid, deadline_ms)),
                Err(error) => return Some(self.probed(Err(error.to_string()))),
            }
            return None;
        }
        match Exchange::probe(&health.probe, deadline_ms) {
            Ok(exchange) => {
                self.exchange = exchange;
                None
            }
            Err(why) => Some(self.probed(Err(why))),
        }
    }

    fn post(&mut self, step: LifecycleStep) {
        let Some(lifecycle) = &self.plan.lifecycle else { return };
        let (path, wait_ms) = match step {
            LifecycleStep::Graceful => (&lifecycle.graceful_path, lifecycle.graceful_wait_ms),
            LifecycleStep::Shutdown => (&lifecycle.shutdown_path, lifecycle.shutdown_wait_ms),
        };
        let deadline_ms = self.clock.steady_ms().saturating_add_unsigned(wait_ms);
        match Exchange::post(lifecycle.port, path, deadline_ms) {
            Ok(exchange) => self.post = Some(exchange),
            Err(why) => eprintln!("{why}"),
        }
    }
}

impl Hands for World {
    fn append(&mut self, records: &[Stamped], sync: bool) -> io::Result<()> {
        let bodies: Vec<Vec<u8>> = records.iter().map(|stamped| wire::encode(&self.plan, stamped)).collect();
        self.events.append(&bodies, sync)
    }

    fn act(&mut self, effect: &Effect, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::Start { process, run } => inputs.push_back(self.start(*process, *run)),
            Effect::Probe => inputs.extend(self.probe()),
            Effect::Post(step) => self.post(*step),
            Effect::Terminate => {
                self.group.terminate();
            }
            Effect::Sweep => inputs.extend(self.sweep()),
            Effect::Leave => self.is_leaving = true,
        }
    }
}
