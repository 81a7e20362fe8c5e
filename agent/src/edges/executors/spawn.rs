//! Starting a task's executor, at most once.
//!
//! The rule: whoever starts it holds the lock on `executor.lock`, and the event log is empty. The executor gets the locked
//! file, so the lock lives exactly as long as the executor, whatever becomes of the agent. An executor writes its first
//! event before it starts anything, and before that empties the lock's file: an agent that died between making the lock and
//! forking an executor leaves one that still says so.

use std::ffi::{CString, NulError, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use super::O_NONBLOCK;
use super::event_log::EventLog;
use super::zygote::Zygote;
use crate::model::TaskDir;

/// `POSIX_SPAWN_SETSID` of glibc (2.26) and musl; nix does not name it.
const POSIX_SPAWN_SETSID: i32 = 0x80;
/// Where the executor finds the lock it carries. It never looks; its children don't inherit it.
const LOCK_DESCRIPTOR: i32 = 3;
/// What the lock's file says until an executor begins.
const NOT_BEGUN: &[u8] = b"not begun\n";
/// The first may find the zygote dead; the second makes another.
const FORK_ATTEMPTS: usize = 2;
/// Of the agent's environment only these reach an executor.
const PASSED_ON: [&str; 5] = ["PATH", "LANG", "TZ", "RUST_LOG", "RUST_BACKTRACE"];

/// An executor can't be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("can't open {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("can't start the executor {}", program.display())]
    Spawn { program: PathBuf, source: io::Error },
    #[error("the executor's command holds a zero byte")]
    Command(#[from] NulError),
    #[error("the executor's command is empty")]
    NoCommand,
}

/// What became of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spawned {
    /// A child of this process, to be waited for.
    Started(Pid),
    /// One was started before; nothing was done.
    Already,
}

/// Starts executors.
#[derive(Debug)]
pub struct Starter {
    /// What starts one; the plan is appended.
    command: Vec<OsString>,
    /// What forks them, if the command can; made when needed.
    zygote: Option<Mutex<Option<Zygote>>>,
}

impl Starter {
    pub fn new(command: Vec<OsString>, has_zygote: bool) -> Self {
        Starter { command, zygote: has_zygote.then(Mutex::default) }
    }

    /// Starts the executor of a task in a session of its own: forked from the zygote, or, without one, by vfork
    /// (posix_spawn). Neither depends on the agent's size.
    ///
    /// # Errors
    /// When its log can't be opened or the program can't be started.
    pub fn start(&self, dir: &TaskDir) -> Result<Spawned, SpawnError> {
        if let Some(held) = &self.zygote {
            // Poisoned by a panic: what it holds is as good as before.
            let mut zygote = held.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..FORK_ATTEMPTS {
                let Some(lock) = claim(dir)? else { return Ok(Spawned::Already) };
                match self.fork(&mut zygote, dir, &lock) {
                    Ok(pid) => return Ok(Spawned::Started(pid)),
                    Err(error) => {
                        warn!(task = %dir.task, %error, "its executor could not be forked; trying another way");
                        *zygote = None;
                    }
                }
            }
        }
        // Claimed anew each time: if the zygote forked one after all, that one has the lock.
        let Some(lock) = claim(dir)? else { return Ok(Spawned::Already) };
        // A pipe in its place must not be waited for.
        let mut options = OpenOptions::new();
        let log = options.append(true).create(true).mode(0o640).custom_flags(O_NONBLOCK).open(dir.executor_log());
        let log = log.map_err(|source| SpawnError::File { path: dir.executor_log(), source })?;
        let files = [(log.as_fd(), 1), (log.as_fd(), 2), (lock.as_fd(), LOCK_DESCRIPTOR)];
        run(&self.command, [dir.plan().into_os_string()], &files).map(Spawned::Started)
    }

    fn fork(&self, zygote: &mut Option<Zygote>, dir: &TaskDir, lock: &File) -> io::Result<Pid> {
        let living = match zygote.take() {
            Some(living) => living,
            None => Zygote::start(&self.command, dir)?,
        };
        zygote.insert(living).fork(&dir.plan(), lock)
    }

    /// Ends the zygote; the executors run on.
    pub fn end(&self) {
        if let Some(held) = &self.zygote {
            held.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

/// The lock of a task whose executor was not started yet; None: it was.
fn claim(dir: &TaskDir) -> Result<Option<File>, SpawnError> {
    let error = |path: PathBuf| move |source| SpawnError::File { path, source };
    let Some(held) = lock(dir, true).map_err(error(dir.executor_lock()))? else { return Ok(None) };
    let is_new = EventLog::new(dir).read_new().map_err(error(dir.events()))?.is_empty();
    if is_new {
        mark_not_begun(&held);
    }
    Ok(is_new.then_some(held))
}

/// Where the disk is too full for that, an executor that never was is taken for one that died.
fn mark_not_begun(mut lock: &File) {
    if let Err(error) = lock.set_len(0).and_then(|()| lock.write_all(NOT_BEGUN)) {
        warn!(%error, "an executor's lock can't be marked");
    }
}

/// Whether an executor may have begun, as far as the file of its lock says. Only while nobody holds the lock.
pub fn may_have_begun(dir: &TaskDir) -> bool {
    let mut options = OpenOptions::new();
    let file = match options.read(true).custom_flags(O_NONBLOCK).open(dir.executor_lock()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        file => file,
    };
    let mut said = Vec::new();
    let read = file.and_then(|file| file.take(NOT_BEGUN.len() as u64 + 1).read_to_end(&mut said));
    read.is_err() || said != NOT_BEGUN
}

/// Starts `command` with more arguments, in a session of its own, with these files as these descriptors.
pub(super) fn run(
    command: &[OsString],
    more: impl IntoIterator<Item = OsString>,
    files: &[(BorrowedFd<'_>, i32)],
) -> Result<Pid, SpawnError> {
    let program = command.first().ok_or(SpawnError::NoCommand)?;
    let arguments = command.iter().cloned().chain(more).map(|part| CString::new(part.into_vec()));
    let arguments: Vec<CString> = arguments.collect::<Result<_, _>>()?;
    spawn(&arguments, files).map_err(|errno| SpawnError::Spawn { program: program.into(), source: errno.into() })
}

fn spawn(arguments: &[CString], files: &[(BorrowedFd<'_>, i32)]) -> nix::Result<Pid> {
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_open(0, c"/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    for (file, descriptor) in files {
        actions.add_dup2(file.as_raw_fd(), *descriptor)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    // The Rust runtime ignores SIGPIPE, and ignored signals would be inherited.
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
    attributes.set_flags(flags | PosixSpawnFlags::from_bits_retain(POSIX_SPAWN_SETSID as _))?;
    posix_spawn(arguments[0].as_c_str(), &actions, &attributes, arguments, &environment())
}

fn environment() -> Vec<CString> {
    let pair = |name: &str| {
        let mut pair = format!("{name}=").into_bytes();
        pair.extend(std::env::var_os(name)?.into_vec());
        CString::new(pair).ok()
    };
    PASSED_ON.iter().filter_map(|name| pair(name)).collect()
}

/// Whether an executor of this task holds its lock.
///
/// # Errors
/// What the file system answers.
pub fn is_running(dir: &TaskDir) -> io::Result<bool> {
    match lock(dir, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        held => Ok(held?.is_none()),
    }
}

/// None: an executor has it.
fn lock(dir: &TaskDir, create: bool) -> io::Result<Option<File>> {
    let file = {
        let mut options = OpenOptions::new();
        options.append(true).create(create).mode(0o600).custom_flags(O_NONBLOCK).open(dir.executor_lock())?
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use dawn_proto::{TaskId, v1};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;
    use nix::unistd::getsid;
    use prost::Message;

    use super::super::event_log::probe;
    use super::*;
    use crate::model::ExecutorProbe;

    fn task_dir() -> (tempfile::TempDir, TaskDir) {
        let work = tempfile::tempdir().unwrap();
        let dir = TaskDir::new(work.path(), TaskId(1));
        fs::create_dir_all(dir.path()).unwrap();
        (work, dir)
    }

    #[test]
    fn while_one_lives_or_after_it_wrote_no_second_is_started() {
        let (_work, dir) = task_dir();
        fs::write(dir.plan(), "").unwrap();
        assert!(!is_running(&dir).unwrap());
        // `tail -f <plan>` stands for an executor: it lives until killed.
        let command = vec![OsString::from("/usr/bin/tail"), OsString::from("-f")];
        let starter = Starter::new(command, false);
        let Spawned::Started(pid) = starter.start(&dir).unwrap() else { panic!("not started") };
        assert_eq!(getsid(Some(pid)).unwrap(), pid, "in a session of its own");
        assert!(is_running(&dir).unwrap());
        assert_eq!(starter.start(&dir).unwrap(), Spawned::Already);
        kill(pid, Signal::SIGKILL).unwrap();
        waitpid(pid, None).unwrap();
        assert!(!is_running(&dir).unwrap());
        let mut event = Vec::new();
        dawn_proto::write_frame(&mut event, &v1::ExecutorEvent { sequence: 1, ..Default::default() }.encode_to_vec())
            .unwrap();
        fs::write(dir.events(), &event).unwrap();
        assert_eq!(starter.start(&dir).unwrap(), Spawned::Already);
    }

    /// As an agent leaves it that is killed before it has forked an executor.
    #[test]
    fn a_lock_without_an_executor_that_began_is_that_of_a_task_that_never_started() {
        let (_work, dir) = task_dir();
        fs::write(dir.plan(), "").unwrap();
        drop(claim(&dir).unwrap().unwrap());
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::NeverStarted);
        assert_eq!(probe(&dir, false).probe, ExecutorProbe::Dead, "of another boot: what was written is not sure");
        let lock = claim(&dir).unwrap().unwrap();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::Booting, "the next life of the agent starts it");
        drop(lock);
        fs::write(dir.executor_lock(), "").unwrap();
        assert_eq!(probe(&dir, true).probe, ExecutorProbe::Dead, "one began, and its log is lost");
    }

    #[test]
    fn a_missing_program_is_named() {
        let (_work, dir) = task_dir();
        let error = Starter::new(vec![OsString::from("/no/such/executor")], false).start(&dir).unwrap_err();
        assert_eq!(error.to_string(), "can't start the executor /no/such/executor");
        assert!(!is_running(&dir).unwrap());
    }
}
