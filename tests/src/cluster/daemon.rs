//! One long-running `dawn` process: started, killed, paused and started again, by its pid.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};

use super::Patience;
use super::network::Host;
use super::waiting;

/// How a leader ends that was deposed, since its memory is void: whoever supervises it starts it again.
const LEADS_NO_MORE: i32 = 8;
/// Lines of a log that a failure shows.
const LAST_LINES: usize = 30;

/// A daemon of the cluster, running or not.
pub struct Daemon {
    pub name: String,
    pub args: Mutex<Vec<String>>,
    binary: Mutex<PathBuf>,
    env: Mutex<Vec<(String, String)>>,
    user: Option<User>,
    host: Option<Host>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
    /// Its end was asked for, or is waited for.
    may_end: AtomicBool,
    /// It may be told to leave at any time: that it ends with success is no fault.
    may_leave: AtomicBool,
    /// Ends that nobody asked for: how, with its last words.
    deaths: Mutex<Vec<String>>,
}

impl Daemon {
    pub fn new(name: &str, binary: &Path, args: Vec<String>, folder: &Path) -> Daemon {
        Daemon {
            name: name.into(),
            args: Mutex::new(args),
            binary: Mutex::new(binary.into()),
            env: Mutex::default(),
            user: None,
            host: None,
            log: folder.join(format!("{name}.log")),
            child: Mutex::new(None),
            may_end: AtomicBool::new(false),
            may_leave: AtomicBool::new(false),
            deaths: Mutex::default(),
        }
    }

    /// Makes it run as user `nobody`, who is given its directory.
    pub fn as_nobody(mut self, work: &Path) -> Daemon {
        let user = User::from_name("nobody").ok().flatten().expect("every system has the user nobody");
        std::fs::create_dir_all(work).expect("the cluster's directory is ours");
        std::os::unix::fs::chown(work, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .expect("root may give it away");
        self.user = Some(user);
        self
    }

    /// Makes it run in a network of its own.
    pub fn on(mut self, host: Option<&Host>) -> Daemon {
        self.host = host.cloned();
        self
    }

    /// Another program for the next start.
    pub fn set_binary(&self, binary: &Path) {
        *self.binary.lock().expect("no test thread panicked") = binary.into();
    }

    /// A variable of its environment from the next start on.
    pub fn set_env(&self, name: &str, value: &str) {
        self.env.lock().expect("no test thread panicked").push((name.into(), value.into()));
    }

    /// The value of a flag.
    pub fn flag(&self, flag: &str) -> String {
        let args = self.args.lock().expect("no test thread panicked");
        let at = args.iter().position(|arg| arg == flag).unwrap_or_else(|| panic!("{} has no {flag}", self.name));
        args[at + 1].clone()
    }

    /// Replaces the value of a flag for the next start.
    pub fn set_flag(&self, flag: &str, value: &str) {
        let mut args = self.args.lock().expect("no test thread panicked");
        let at = args.iter().position(|arg| arg == flag).unwrap_or_else(|| panic!("{} has no {flag}", self.name));
        args[at + 1] = value.into();
    }

    /// Starts it; its output is appended to its log. It dies with the test's thread.
    pub fn start(&self) {
        assert!(!self.is_alive(), "{} runs already", self.name);
        self.note_death();
        self.may_end.store(false, Ordering::Relaxed);
        let log = File::options().append(true).create(true).open(&self.log).expect("the log can be written");
        let mut command = Command::new(&*self.binary.lock().expect("no test thread panicked"));
        command.args(&*self.args.lock().expect("no test thread panicked"));
        command.envs(self.env.lock().expect("no test thread panicked").iter().cloned());
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stderr(log.try_clone().expect("a second handle")).stdout(log);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let host = self.host.clone();
        // SAFETY: prctl and setns are async-signal-safe and allocate nothing.
        unsafe {
            command.pre_exec(move || {
                host.as_ref().map_or(Ok(()), Host::enter)?;
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into)
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        *self.child.lock().expect("no test thread panicked") = Some(child);
    }

    pub fn pid(&self) -> Option<i32> {
        let child = self.child.lock().expect("no test thread panicked");
        child.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    /// Whether its process runs (or is paused).
    pub fn is_alive(&self) -> bool {
        let mut child = self.child.lock().expect("no test thread panicked");
        child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().filter(|_| self.is_alive()) {
            kill(Pid::from_raw(pid), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
        }
    }

    /// If it has ended and nobody asked it to, that is remembered.
    fn note_death(&self) {
        let ended = {
            let mut child = self.child.lock().expect("no test thread panicked");
            child.as_mut().and_then(|child| child.try_wait().ok().flatten())
        };
        // Swapped, so that each end is noted once.
        let has_left = |code| code == Some(0) && self.may_leave.load(Ordering::Relaxed);
        let is_fault = |status: &ExitStatus| status.code() != Some(LEADS_NO_MORE) && !has_left(status.code());
        if let Some(status) = ended.filter(|_| !self.may_end.swap(true, Ordering::Relaxed)).filter(is_fault) {
            let death = format!("{} ended by itself ({status})\n{}", self.name, self.last_words());
            self.deaths.lock().expect("no test thread panicked").push(death);
        }
    }

    /// What must not be in any test: ends that nobody asked for, and panics in its log.
    pub fn faults(&self) -> Vec<String> {
        self.note_death();
        let mut faults = self.deaths.lock().expect("no test thread panicked").clone();
        let log = self.log();
        let panics = log.lines().filter(|line| line.contains("panicked at")).take(3);
        faults.extend(panics.map(|line| format!("{} panicked: {line}", self.name)));
        faults
    }

    /// It may end by itself from now on, until it is started again.
    pub fn allow_end(&self) {
        self.may_end.store(true, Ordering::Relaxed);
    }

    /// Any client may tell it to leave from now on.
    pub fn allow_leaving(&self) {
        self.may_leave.store(true, Ordering::Relaxed);
    }

    /// SIGKILL, and waits until it is gone. Harmless when it is not running.
    pub fn kill_9(&self) {
        self.note_death();
        self.allow_end();
        self.signal(Signal::SIGKILL);
        if let Some(mut child) = self.child.lock().expect("no test thread panicked").take() {
            let _ = child.wait();
        }
    }

    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM, and no wait.
    pub fn ask_to_end(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGTERM; it must end by itself, with success.
    pub fn terminate(&self) {
        self.note_death();
        self.allow_end();
        self.signal(Signal::SIGTERM);
        let code = self.exit_code(Patience::STEP);
        assert_eq!(code, Some(0), "{} on SIGTERM\n{}", self.name, self.last_words());
    }

    /// SIGTERM while other things go wrong; it must end by itself, and where it did not end with success it must say what
    /// it could not do.
    pub fn terminate_amid_faults(&self) {
        self.note_death();
        self.allow_end();
        self.signal(Signal::SIGTERM);
        let status = self.exit_status(Patience::STEP);
        // One that has only just begun does not handle signals yet.
        let is_newborn = status.signal() == Some(Signal::SIGTERM as i32);
        let says_why = status.code() == Some(LEADS_NO_MORE) || self.last_words().contains("stopped without batches");
        let is_fine = status.success() || is_newborn || says_why;
        assert!(is_fine, "{} on SIGTERM ended with {status}\n{}", self.name, self.last_words());
    }

    /// Waits until it ends by itself. None: a signal ended it.
    pub fn exit_code(&self, patience: Patience) -> Option<i32> {
        self.exit_status(patience).code()
    }

    fn exit_status(&self, patience: Patience) -> ExitStatus {
        self.allow_end();
        let ended = waiting::until(patience, || {
            let mut child = self.child.lock().expect("no test thread panicked");
            match child.as_mut().map(|child| child.try_wait()) {
                Some(Ok(None)) => Err("it still runs".to_string()),
                Some(Ok(Some(status))) => Ok(status),
                other => Err(format!("it can't be waited for: {other:?}")),
            }
        });
        ended.unwrap_or_else(|last| panic!("{} ends: not within {patience}: {last}\n{}", self.name, self.last_words()))
    }

    /// Everything it wrote.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of its log, under its name.
    pub fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        format!(
            "--- {} ({} lines, the last {}):\n{}",
            self.name,
            lines.len(),
            lines.len() - from,
            lines[from..].join("\n")
        )
    }
}
