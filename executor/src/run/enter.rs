//! A command inside a living task, for somebody who looks in: its cgroup, namespaces, user, sandbox and variables.
//! This process stays outside; when its control socket closes it kills all that the command started, and so it does when
//! the command ends. Says on the socket "started" or "error …", then "exit N" or "signal N"; takes signals' numbers.

mod inside;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::{Failure, chain};
use crate::edges::group::{Group, procfs};
use crate::edges::os;
use crate::model::CgroupSetting;
use crate::wire;

/// Where the agent puts the control socket.
const CONTROL: i32 = 3;
/// For what was started to die.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What is to be run where.
pub(super) struct Entry {
    plan: PathBuf,
    /// A process of the task, whose namespaces are entered.
    pid: i32,
    start_ticks: u64,
    /// A group made for this command alone, inside one of the task's.
    group: Option<PathBuf>,
    /// TERM; None: no terminal.
    term: Option<String>,
    argv: Vec<OsString>,
}

/// Runs `PLAN PID START_TICKS GROUP|- TERM|- COMMAND…`; only an agent can start this: descriptor 3 is its socket.
pub fn enter(arguments: &[OsString]) -> ExitCode {
    // SAFETY: the agent's, and nobody else's in this process; if it is none, the first write says so.
    let mut control = unsafe { UnixStream::from_raw_fd(CONTROL) };
    let told = match begin(arguments, &mut control) {
        Ok(ended) => control.write_all(format!("{ended}\n").as_bytes()),
        Err(error) => control.write_all(format!("error {}\n", chain(&*error).replace('\n', " ")).as_bytes()),
    };
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(arguments: &[OsString]) -> Option<Entry> {
    let [plan, pid, start_ticks, group, term, argv @ ..] = arguments else { return None };
    let given = |text: &OsString| Some(text.clone()).filter(|text| text != "-");
    Some(Entry {
        plan: plan.into(),
        pid: pid.to_str()?.parse().ok()?,
        start_ticks: start_ticks.to_str()?.parse().ok()?,
        group: given(group).map(PathBuf::from),
        term: given(term).and_then(|term| term.into_string().ok()),
        argv: Some(argv.to_vec()).filter(|argv| !argv.is_empty())?,
    })
}

fn begin(arguments: &[OsString], control: &mut UnixStream) -> Result<String, Failure> {
    nix::fcntl::fcntl(control.as_fd(), nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    let entry = parse(arguments).ok_or("`dawn executor --enter` is started by the agent only")?;
    let mut file = os::open_file(&entry.plan).map_err(|error| format!("the task's plan: {error}"))?;
    let (_, setting) = wire::parse_plan(&dawn_proto::read_frame(&mut file)?)?;
    if procfs::start_ticks(entry.pid) != Some(entry.start_ticks) {
        return Err("the task's process has just ended".into());
    }
    // Whatever the command leaves behind becomes this process's child.
    nix::sys::prctl::set_child_subreaper(true)?;
    let child = inside::start(&entry, &setting)?;
    control.write_all(b"started\n")?;
    let mut task = Group::new(setting.cgroup.clone());
    let ended = attend(child, control, &task);
    end_all(entry.group, &mut task);
    Ok(match ended? {
        Some(WaitStatus::Exited(_, code)) => format!("exit {code}"),
        Some(WaitStatus::Signaled(_, signal, _)) => format!("signal {}", signal as i32),
        _ => "signal 9".to_string(),
    })
}

/// Until the command ends, or (None) the agent is gone or has had enough.
fn attend(child: Pid, control: &mut UnixStream, task: &Group) -> Result<Option<WaitStatus>, Failure> {
    let pid = rustix::process::Pid::from_raw(child.as_raw()).ok_or("no process")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let mut ready =
            [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            polled => polled?,
        };
        let [ended, asked] = ready.map(|one| one.any().unwrap_or(false));
        if ended {
            return Ok(Some(waitpid(child, None)?));
        }
        if asked {
            let mut signals = [0; 16];
            let got = match control.read(&mut signals) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                got => got.unwrap_or(0),
            };
            if got == 0 {
                return Ok(None);
            }
            for signal in signals[..got].iter().filter_map(|number| Signal::try_from(i32::from(*number)).ok()) {
                if signal == Signal::SIGKILL {
                    task.raise();
                }
                // Its own group, unless it has just ended.
                let _ = killpg(child, signal);
            }
        }
    }
}

/// Kills what the command started and has left: its group at once, and whatever has become a child of this process. The
/// task lives on, and is raised until that is done.
fn end_all(dir: Option<PathBuf>, task: &mut Group) {
    let deadline = Instant::now() + END_WITHIN;
    let group = dir
        .clone()
        .map(|dir| Group::new(CgroupSetting { join: vec![dir.clone()], kill: Some(dir), ..CgroupSetting::default() }));
    let mut is_raised = false;
    loop {
        if !is_raised && (group.as_ref().is_some_and(|group| !group.members().is_empty()) || !children().is_empty()) {
            task.raise();
            is_raised = true;
        }
        if let Some(group) = &group {
            group.sweep();
        }
        for child in children() {
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        }
        let mut left = true;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                Err(_) => {
                    left = false;
                    break;
                }
            }
        }
        let empty = dir.as_ref().is_none_or(|dir| match std::fs::remove_dir(dir) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        });
        if (!left && empty) || Instant::now() >= deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(2)); // poll
    }
    task.lower();
}

fn children() -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
