//! Starting a task's executor, at most once.
//!
//! The rule: whoever starts it holds the lock on `executor.log`, and the event log is empty. The locked file becomes the
//! executor's stdout and stderr, so the lock lives exactly as long as the executor, whatever becomes of the agent.

use std::ffi::{CString, NulError, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use rustix::fs::{FlockOperation, flock};

use crate::model::TaskDir;

/// `POSIX_SPAWN_SETSID` of glibc (2.26) and musl; nix does not name it.
const POSIX_SPAWN_SETSID: i32 = 0x80;
/// Of the agent's environment only these reach an executor.
const PASSED_ON: [&str; 5] = ["PATH", "LANG", "TZ", "RUST_LOG", "RUST_BACKTRACE"];

/// An executor can't be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("can't open {}", path.display())]
    Log { path: PathBuf, source: io::Error },
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

/// Starts `command <plan>` in a session of its own, by vfork (posix_spawn): the agent's size does not matter.
///
/// # Errors
/// When its log can't be opened or the program can't be started.
pub fn spawn(dir: &TaskDir, command: &[OsString]) -> Result<Spawned, SpawnError> {
    let log_error = |source| SpawnError::Log { path: dir.executor_log(), source };
    let Some(log) = lock_log(dir, true).map_err(log_error)? else { return Ok(Spawned::Already) };
    if std::fs::metadata(dir.events()).is_ok_and(|meta| meta.len() > 0) {
        return Ok(Spawned::Already);
    }
    let program = command.first().ok_or(SpawnError::NoCommand)?;
    let arguments = command.iter().map(|part| part.as_bytes().to_vec()).chain([dir.plan().into_os_string().into_vec()]);
    let arguments: Vec<CString> = arguments.map(CString::new).collect::<Result<_, _>>()?;
    let pid =
        start(&arguments, &log).map_err(|errno| SpawnError::Spawn { program: program.into(), source: errno.into() })?;
    Ok(Spawned::Started(pid))
}

fn start(arguments: &[CString], log: &File) -> nix::Result<Pid> {
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_open(0, c"/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    actions.add_dup2(log.as_raw_fd(), 1)?;
    actions.add_dup2(log.as_raw_fd(), 2)?;
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
    match lock_log(dir, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        lock => Ok(lock?.is_none()),
    }
}

fn lock_log(dir: &TaskDir, create: bool) -> io::Result<Option<File>> {
    let log = OpenOptions::new().append(true).create(create).mode(0o640).open(dir.executor_log())?;
    match flock(&log, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(log)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use dawn_proto::TaskId;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;
    use nix::unistd::getsid;

    use super::*;

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
        let command = [OsString::from("/usr/bin/tail"), OsString::from("-f")];
        let Spawned::Started(pid) = spawn(&dir, &command).unwrap() else { panic!("not started") };
        assert_eq!(getsid(Some(pid)).unwrap(), pid, "in a session of its own");
        assert!(is_running(&dir).unwrap());
        assert_eq!(spawn(&dir, &command).unwrap(), Spawned::Already);
        kill(pid, Signal::SIGKILL).unwrap();
        waitpid(pid, None).unwrap();
        assert!(!is_running(&dir).unwrap());
        fs::write(dir.events(), "x").unwrap();
        assert_eq!(spawn(&dir, &command).unwrap(), Spawned::Already);
    }

    #[test]
    fn a_missing_program_is_named() {
        let (_work, dir) = task_dir();
        let error = spawn(&dir, &[OsString::from("/no/such/executor")]).unwrap_err();
        assert_eq!(error.to_string(), "can't start the executor /no/such/executor");
        assert!(!is_running(&dir).unwrap());
    }
}
