//! The command of a health check, and the process that watches it: whatever the command starts has that process for its
//! reaper, also what leaves its session, and is ended by it when the command ends or is out of time.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Joins, Prepared, Program, SpawnError, Walls, child, explain, kill_group};
use crate::model::Setting;

/// Of what the watching process says when the command can't be started.
const MAX_REFUSAL_BYTES: u64 = 4 << 10;
const STARTED: &str = ".";
/// For what the command started to die.
const END_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// Starts the command as `spawn` starts a process; its pid is the watching process's. That one ends as the command did,
/// once nothing that the command started is left. What the command says comes out of the other end.
///
/// # Errors
/// The step that failed; nothing runs then.
pub fn spawn_check(program: &Program, setting: &Setting, walls: &mut Walls) -> Result<(i32, OwnedFd), SpawnError> {
    walls.raise(setting)?;
    let prepared = Prepared::new(program, setting)?;
    let mut joins = Joins::open(&setting.cgroup.join)?;
    loop {
        let (said, says) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(super::step("pipe"))?;
        let layout = prepared.layout(setting, walls, says.as_raw_fd(), says.as_raw_fd());
        let (reader, writer) = io::pipe().map_err(super::step("pipe"))?;
        let pid = joins.fork(0).map_err(super::step("fork"))?;
        if pid == 0 {
            drop(reader);
            let start = || {
                joins.join().map_err(super::step("join cgroup"))?;
                child::start(&layout).map_err(|failed| explain(failed, program, setting, &joins))
            };
            watch(start, writer);
        }
        drop(writer);
        let mut told = String::new();
        let heard = reader.take(MAX_REFUSAL_BYTES).read_to_string(&mut told);
        match (heard, told.as_str()) {
            (Ok(_), STARTED) => return Ok((pid, said)),
            (Ok(0), _) => {
                bury(pid);
                // Killed at its birth in the v2 group, if it was born there.
                if !joins.born_nowhere()? {
                    return Err(SpawnError::Told("the process that was to start it was killed".to_string()));
                }
            }
            _ => {
                bury(pid);
                return Err(SpawnError::Told(told));
            }
        }
    }
}

/// Asks the watching process to end all that the command started, and itself.
pub fn end_check(pid: i32) {
    // Unreaped, so the number is its own.
    _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
}

fn bury(pid: i32) {
    kill_group(pid);
    _ = waitpid(Pid::from_raw(pid), None);
}

/// Never returns. It stays root where the executor is, so that the task can't end it, and in the executor's own view of
/// the file system.
fn watch(start: impl FnOnce() -> Result<i32, SpawnError>, mut told: impl Write + AsRawFd) -> ! {
    let mut awaited = SigSet::empty();
    [Signal::SIGCHLD, Signal::SIGTERM].into_iter().for_each(|signal| awaited.add(signal));
    let begun = begin(&awaited).map_err(|error| SpawnError::Step { what: "watch".to_string(), source: error });
    let started = begun.and_then(|()| start());
    let word = started.as_ref().map_or_else(ToString::to_string, |_| STARTED.to_string());
    let is_heard = told.write_all(word.as_bytes()).is_ok();
    // SAFETY: nothing of the executor's, its lock above all, may live on in here; no descriptor is used after this.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    let Ok(command) = started else { exit(1) };
    let ended = if is_heard { attend(command, &awaited) } else { None };
    end_all();
    match ended {
        Some(WaitStatus::Exited(_, code)) => exit(code),
        _ => {
            _ = kill(Pid::this(), Signal::SIGKILL);
            exit(128 + libc::SIGKILL)
        }
    }
}

/// Becomes the reaper of all that is started from here, which ends with its executor.
fn begin(awaited: &SigSet) -> io::Result<()> {
    _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    nix::sys::prctl::set_dumpable(false)?;
    _ = nix::sys::prctl::set_name(c"dawn-check");
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(awaited), None)?;
    Ok(())
}

/// Until the command ends, or (None) has had its time.
fn attend(command: i32, awaited: &SigSet) -> Option<WaitStatus> {
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(ended) if ended.pid() == Some(Pid::from_raw(command)) => return Some(ended),
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        match awaited.wait() {
            Ok(Signal::SIGTERM) => return None,
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// Ends this process's children until it has none: those of whom it ends become its own.
fn end_all() {
    let deadline = Instant::now() + END_WITHIN;
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                Err(_) => return,
            }
        }
        for child in children() {
            // Its numbers are those of the executor's pid namespace, which may not be this process's own: the directory
            // stands for it, and as long as it is not reaped it is nobody else's.
            if let Ok(directory) = File::open(format!("/proc/{child}")) {
                // SAFETY: a plain system call on an open descriptor.
                unsafe { libc::syscall(libc::SYS_pidfd_send_signal, directory.as_raw_fd(), libc::SIGKILL, 0, 0) };
            }
        }
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(PAUSE); // poll
    }
}

fn children() -> Vec<i32> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn exit(code: i32) -> ! {
    // SAFETY: ends this process without running anything of the executor's.
    unsafe { libc::_exit(code) }
}
