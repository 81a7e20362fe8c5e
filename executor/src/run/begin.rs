//! Taking a task over: plan, event log, what still lives of an earlier executor, socket.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use dawn_proto::v1::{Reason, TaskState};
use nix::fcntl::OFlag;
use nix::sys::signalfd::SignalFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Failure;
use super::hands::{Adopted, World};
use crate::drive::{Drive, Now, Progress};
use crate::edges::events::EventLog;
use crate::edges::group::procfs;
use crate::edges::os::{self, Clock};
use crate::edges::socket::Socket;
use crate::model::{Ended, Input, Phase, Plan, Record, Setting, Stamped};
use crate::wire;

/// An executor at work.
pub struct Executor {
    pub drive: Drive,
    pub world: World,
    pub socket: Socket,
    pub signals: SignalFd,
    pub progress: Progress,
    /// That the log can't be synced was said already.
    pub is_noted: bool,
}

/// Takes the task over. None: its end is already recorded, or was just now, as its plan can't be carried out.
pub fn begin(plan_path: &Path) -> Result<Option<Executor>, Failure> {
    let meta = plan_path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let meta = std::fs::canonicalize(meta).map_err(|error| format!("{}: {error}", meta.display()))?;
    os::redirect_stdio(&meta.join("executor.log"))?;
    os::detach()?;
    let signals = os::take_signals()?;
    let mut file = os::open_file(&meta.join("plan")).map_err(|error| format!("opening plan: {error}"))?;
    let body = dawn_proto::read_frame(&mut file)?;
    tell_that_it_begins(&meta)?;
    let (events, bodies) = EventLog::open(&meta.join("events"))?;
    let (plan, mut setting) = match wire::parse_plan(&body) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(events, &bodies, &super::chain(&error)).map(|()| None),
    };
    // The plan's own directory is where the agent looks.
    setting.meta = meta;
    take_over(plan, setting, signals, events, &bodies)
}

/// Empties the file of the lock that it holds, if it was given one: from now on it may write events, and an agent that finds
/// none must not take the task for one that never started.
fn tell_that_it_begins(meta: &Path) -> Result<(), Failure> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let opened = OpenOptions::new().write(true).custom_flags(flags.bits()).open(meta.join("executor.lock"));
    match opened.and_then(|lock| lock.set_len(0)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("emptying executor.lock: {error}").into()),
        _ => Ok(()),
    }
}

fn take_over(
    mut plan: Plan,
    setting: Setting,
    signals: SignalFd,
    events: EventLog,
    bodies: &[Vec<u8>],
) -> Result<Option<Executor>, Failure> {
    // What tasks say is read through the agent, not by each other.
    match DirBuilder::new().mode(0o750).create(setting.meta.join("logs")) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(format!("making logs: {error}").into()),
        _ => {}
    }
    let clock = Clock::start();
    plan.lease_until_ms = plan.lease_until_ms.map(|until_ms| clock.steady_at(until_ms));
    let mut drive = Drive::new(plan.clone());
    replay(&mut drive, bodies, clock.steady_ms())?;
    if drive.state().task.is_terminal() {
        return Ok(None);
    }
    let socket = Socket::bind(&setting.meta, "socket").map_err(|error| format!("binding socket: {error}"))?;
    let mut world = World::new(plan, setting, clock, events);
    let living = adopt(&drive, &mut world);
    if drive.sequence() > 0 {
        // An executor that died in the middle of a kill has left the task raised.
        world.group.lower();
    }
    let pid = nix::unistd::getpid().as_raw();
    let began = Input::Began { pid, start_ticks: procfs::start_ticks(pid).unwrap_or(0), living };
    let now = Now { steady_ms: world.clock.steady_ms(), wall_ms: os::wall_ms() };
    let progress = drive.feed(began, now, &mut world);
    Ok(Some(Executor { drive, world, socket, signals, progress, is_noted: false }))
}

fn replay(drive: &mut Drive, bodies: &[Vec<u8>], now_ms: i64) -> Result<(), Failure> {
    for body in bodies {
        let stamped = wire::decode(drive.plan(), body)?;
        let last = drive.sequence();
        if stamped.sequence != last + 1 {
            return Err(wire::EventError::Sequence { last, found: stamped.sequence }.into());
        }
        let at_ms = stamped.at_ms.min(now_ms);
        drive.replay(stamped, at_ms);
    }
    Ok(())
}

/// Finds the recorded processes that still live: the same pid with the same start.
fn adopt(drive: &Drive, world: &mut World) -> BTreeSet<usize> {
    let mut living = BTreeSet::new();
    for (process, state) in drive.state().processes.iter().enumerate() {
        let Phase::Running { pid, start_ticks } = state.phase else { continue };
        let opened = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Opened first: what is compared then is what is held.
        if let (Some(pidfd), true) = (opened, procfs::start_ticks(pid) == Some(start_ticks)) {
            world.group.adopt(pid);
            world.enter_space_of(&pidfd);
            world.adopted.push(Adopted { pidfd, pid, process, run: state.runs });
            living.insert(process);
        }
    }
    living
}

/// Records the end of a task whose plan can't be carried out.
fn refuse(mut events: EventLog, bodies: &[Vec<u8>], why: &str) -> Result<(), Failure> {
    if !bodies.is_empty() {
        return Err(format!("{why}; the task has begun with another plan").into());
    }
    let plan = Plan::default();
    let pid = nix::unistd::getpid().as_raw();
    let started = Record::ExecutorStarted { pid, start_ticks: procfs::start_ticks(pid).unwrap_or(0), generation: 1 };
    let changed = Record::TaskChanged {
        state: TaskState::Failed,
        reason: Reason::LaunchRefused,
        message: why.to_string(),
        exit: Ended::default(),
    };
    let stamp =
        |(sequence, record)| wire::encode(&plan, &Stamped { sequence, at_ms: os::wall_ms(), record }, Vec::new());
    let frames: Vec<Vec<u8>> = (1..).zip([started, changed]).map(stamp).collect();
    events.append(&frames, true)?;
    Ok(events.sync()?)
}
