//! The cluster's processes: started with their logs in files, watched, and ended by pid.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::machine::Isolation;
use super::stop::Stop;
use crate::exit::{Exit, Failure};

/// From SIGTERM to SIGKILL of a daemon.
const END_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(200);
/// Of a log, for the message about a daemon that died.
const LAST_LINES: usize = 8;
/// Ports each agent has to give.
const FIRST_PORT: u16 = 31_000;
const PORTS: u16 = 500;

/// Its name among the daemons, and of its directory.
const SCHEDULER: &str = "scheduler";

struct Daemon {
    name: String,
    pid: Option<u32>,
    log: PathBuf,
    child: Child,
    ended: bool,
}

pub struct Children {
    data_dir: PathBuf,
    daemons: Vec<Daemon>,
}

impl Children {
    pub fn new(data_dir: PathBuf) -> Children {
        Children { data_dir, daemons: Vec::new() }
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub fn scheduler(&mut self, address: SocketAddr) -> Result<(), Failure> {
        let data_dir = self.data_dir.join(SCHEDULER);
        let arguments = ["--listen".to_string(), address.to_string(), "--data-dir".to_string(), path(&data_dir)];
        self.start(SCHEDULER, "scheduler", &arguments)
    }

    /// The agent `node-1`, `node-2`…, each in a rack of its own.
    pub fn agent(
        &mut self,
        number: u16,
        scheduler: SocketAddr,
        group: &str,
        isolation: &Isolation,
    ) -> Result<(), Failure> {
        let name = format!("node-{number}");
        let rack = char::from(b'a' + u8::try_from((number - 1) % 26).unwrap_or(0));
        let first = FIRST_PORT + (number - 1) * PORTS;
        let mut arguments = Vec::new();
        for (flag, value) in [
            ("--scheduler", scheduler.to_string()),
            ("--work-dir", path(&self.data_dir.join(&name))),
            ("--hostname", name.clone()),
            ("--attribute", format!("rack={rack}")),
            ("--cpus", "2".to_string()),
            ("--memory", "2GiB".to_string()),
            ("--disk", "4GiB".to_string()),
            ("--ports", format!("{first}-{}", first + PORTS - 1)),
            ("--cgroup-parent", format!("{group}/{name}")),
        ] {
            arguments.extend([flag.to_string(), value]);
        }
        if isolation.unisolated {
            arguments.push("--unisolated".to_string());
        }
        if isolation.run_as_self {
            arguments.push("--run-as-self".to_string());
        }
        self.start(&name, "agent", &arguments)
    }

    fn start(&mut self, name: &str, daemon: &str, arguments: &[String]) -> Result<(), Failure> {
        let failed =
            |what: &str, error: std::io::Error| Failure::new(Exit::Failed, format!("starting {name}: {what}: {error}"));
        let program = std::env::current_exe().map_err(|error| failed("this program", error))?;
        let log = self.data_dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).map_err(|error| failed(&path(&log), error))?;
        let errors = file.try_clone().map_err(|error| failed(&path(&log), error))?;
        let mut command = Command::new(program);
        command.arg(daemon).args(arguments).stdin(Stdio::null()).stdout(file).stderr(errors);
        // Ctrl-C is for this process alone: it ends the others in order.
        command.process_group(0);
        // SAFETY: prctl is a plain system call, allowed between fork and exec.
        unsafe {
            // Should this process be killed, the daemons end by themselves.
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?));
        }
        let child = command.spawn().map_err(|error| failed("spawning", error))?;
        self.daemons.push(Daemon { name: name.to_string(), pid: child.id(), log, child, ended: false });
        Ok(())
    }

    /// The agents that were started, by the names of their work directories, with their pids; ended ones too.
    pub fn agents(&self) -> Vec<(String, u32)> {
        let agents = self.daemons.iter().filter(|daemon| daemon.name != SCHEDULER);
        agents.filter_map(|daemon| Some((daemon.name.clone(), daemon.pid?))).collect()
    }

    /// Whether all are alive.
    ///
    /// # Errors
    /// The first that is not, with the end of its log.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.died().into_iter().next() {
            None => Ok(()),
            Some((name, status, log)) => {
                Err(Failure::new(Exit::Failed, format!("{name} ended ({status})")).hint(last_lines(&log)))
            }
        }
    }

    fn died(&mut self) -> Vec<(String, ExitStatus, PathBuf)> {
        let mut died = Vec::new();
        for daemon in self.daemons.iter_mut().filter(|daemon| !daemon.ended) {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                daemon.ended = true;
                died.push((daemon.name.clone(), status, daemon.log.clone()));
            }
        }
        died
    }

    /// Says which daemon died, until it is asked to stop: killing one to see what happens is what `dev` is for.
    pub async fn watch(&mut self, mut stop: Stop) {
        loop {
            for (name, status, log) in self.died() {
                super::say(&format!("{name} ended ({status}); its log is {}", log.display()));
            }
            tokio::select! {
                () = sleep(POLL) => {}
                () = stop.asked(1) => return,
            }
        }
    }

    /// Ends all: the agents first, so that none finds its scheduler gone.
    pub async fn end(&mut self, stop: &mut Stop) {
        while let Some(last) = self.daemons.iter().rposition(|daemon| !daemon.ended) {
            // The scheduler is the first that was started, and ends alone after the agents.
            let from = usize::from(last > 0);
            for daemon in self.daemons[from..].iter_mut().filter(|daemon| !daemon.ended) {
                signal(&daemon.child, Signal::SIGTERM);
            }
            for daemon in self.daemons[from..].iter_mut().filter(|daemon| !daemon.ended) {
                tokio::select! {
                    _ = timeout(END_TIMEOUT, daemon.child.wait()) => {}
                    () = stop.asked(2) => {}
                }
                // Harmless when it has ended: it was waited for.
                _ = daemon.child.kill().await;
                daemon.ended = true;
            }
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    // None once it was waited for: then its number may be another's.
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        _ = kill(Pid::from_raw(pid), signal);
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    let last = lines[from..].iter().map(|line| crate::render::safe(line)).collect::<Vec<_>>().join("\n  ");
    if last.is_empty() { format!("its log {} is empty", log.display()) } else { last }
}
