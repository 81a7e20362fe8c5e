//! A task's own namespaces: a first process that makes and holds them, and what it takes to enter them. The executor
//! stays outside and is the parent of every process of the task, so that none of their exit codes is lost; the first
//! process buries only what they leave behind.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sched::{CloneFlags, setns};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::mounts;
use super::{Joins, SpawnError};
use crate::model::Setting;

const FLAGS: i32 = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
/// Of what the first process says when it fails.
const MAX_REFUSAL_BYTES: u64 = 4 << 10;

/// Namespaces that processes can be started in.
#[derive(Debug)]
pub struct Space {
    holder: OwnedFd,
    /// The first process, our child; None: made by an earlier executor.
    pub first_pid: Option<i32>,
}

impl Space {
    /// Makes the namespaces and everything in them.
    ///
    /// # Errors
    /// The step that failed; nothing is left then.
    pub fn make(setting: &Setting) -> Result<Self, SpawnError> {
        let mut joins = Joins::open(&setting.cgroup.join)?;
        loop {
            match Space::try_make(setting, &mut joins)? {
                Some(space) => return Ok(space),
                // Killed at its birth in the v2 group, if it was born there.
                None if joins.born_nowhere()? => {}
                None => return Err(step("make namespaces", io::Error::other("their first process was killed"))),
            }
        }
    }

    /// None: the first process has ended without a word.
    fn try_make(setting: &Setting, joins: &mut Joins) -> Result<Option<Self>, SpawnError> {
        let (reader, writer) = io::pipe().map_err(|error| step("pipe", error))?;
        let pid = joins.fork(FLAGS as u64).map_err(|error| step("make namespaces", error))?;
        if pid == 0 {
            drop(reader);
            first_process(setting, joins, writer);
        }
        drop(writer);
        let mut refusal = String::new();
        let told = reader.take(MAX_REFUSAL_BYTES).read_to_string(&mut refusal);
        let opened = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH);
        let holder = opened.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        match (told, holder) {
            (Ok(1), Ok(holder)) if refusal == "." => {
                let space = Space { holder, first_pid: Some(pid) };
                space.prepare().map_err(|error| step("enter the pid namespace", error))?;
                Ok(Some(space))
            }
            (Ok(0), _) => {
                bury(pid);
                Ok(None)
            }
            (told, holder) => {
                bury(pid);
                let error = told.err().or(holder.err().map(io::Error::from));
                Err(step("make namespaces", error.unwrap_or_else(|| io::Error::other(refusal))))
            }
        }
    }

    /// Those of a living process of an earlier executor.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn of(process: BorrowedFd<'_>) -> io::Result<Self> {
        let space = Space { holder: process.try_clone_to_owned()?, first_pid: None };
        space.prepare()?;
        Ok(space)
    }

    /// From now on our children are born into the pid namespace; a process itself never changes its own.
    fn prepare(&self) -> io::Result<()> {
        Ok(setns(self.holder.as_fd(), CloneFlags::CLONE_NEWPID)?)
    }

    /// What a child enters by itself, and by which call's flags.
    pub fn entry(&self) -> (i32, i32) {
        (self.holder.as_raw_fd(), FLAGS & !libc::CLONE_NEWPID)
    }
}

impl Drop for Space {
    /// Our children are born into our own pid namespace again.
    fn drop(&mut self) {
        if let Ok(own) = File::open("/proc/self/ns/pid") {
            let _ = setns(own, CloneFlags::CLONE_NEWPID);
        }
    }
}

fn step(what: &str, source: io::Error) -> SpawnError {
    SpawnError::Step { what: what.to_string(), source }
}

fn bury(pid: i32) {
    super::kill_group(pid);
    // SAFETY: waits for our own child, which is dying.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Never returns: makes the mounts, says so, and buries whoever is left behind, until it is killed.
fn first_process(setting: &Setting, joins: &Joins, mut told: impl Write + AsRawFd) -> ! {
    // The groups come last: what the mounts cost is not the task's, and a small quota would make it wait for it.
    let made = mounts::make(setting).and_then(|()| joins.join().map_err(mounts::failed("join", "cgroup")));
    let word = match made {
        Ok(()) => ".".to_string(),
        Err(error) => error.to_string(),
    };
    // SAFETY: plain system calls in a process of one thread that never returns to its caller; no descriptor is used
    // after they are closed.
    unsafe {
        libc::setsid();
        if setting.cgroup.join.is_empty() && setting.cgroup.kill.is_none() {
            // No group is there to find the task by: it ends with its executor.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        }
        // Only now: an executor that has died before it was to be told of is known by nobody reading the pipe.
        let is_heard = told.write_all(word.as_bytes()).is_ok();
        // Nothing of the executor's, its lock above all, may live on in here.
        libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::prctl(libc::PR_SET_NAME, c"dawn-init".as_ptr(), 0, 0, 0);
        // As the first process it takes no signal but SIGKILL from outside; those from inside are ignored, children
        // with them: the kernel buries them by itself.
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        if word != "." || !is_heard {
            libc::_exit(1);
        }
        loop {
            libc::pause();
        }
    }
}
