//! What the executor makes of its own process: session, signals, clocks, standard files.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// An executor.log above this is begun anew at start.
const MAX_NOTES_BYTES: u64 = 1 << 20;

/// Leaves the agent's session, so that nothing meant for the agent reaches the task; becomes the reaper of whatever
/// the task's processes leave behind.
///
/// # Errors
/// When the kernel refuses a reaper.
pub fn detach() -> io::Result<()> {
    // A group leader can't leave, but then it already has a group of its own.
    let _ = nix::unistd::setsid();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    nix::sys::prctl::set_child_subreaper(true)?;
    std::env::set_current_dir("/")
}

/// Opens a file for reading, and nothing else: a pipe in its place is not waited for.
///
/// # Errors
/// When it can't be opened or is no file.
pub fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

/// Gives up the inherited standard files: nothing to read, notes to a file.
///
/// # Errors
/// When the file can't be opened.
pub fn redirect_stdio(notes: &Path) -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    // A pipe in its place must not be waited for.
    let mut options = OpenOptions::new();
    let notes = options.append(true).create(true).mode(0o640).custom_flags(nix::libc::O_NONBLOCK).open(notes)?;
    if notes.metadata()?.len() > MAX_NOTES_BYTES {
        notes.set_len(0)?;
    }
    nix::unistd::dup2_stdin(null.as_fd())?;
    nix::unistd::dup2_stdout(notes.as_fd())?;
    nix::unistd::dup2_stderr(notes.as_fd())?;
    Ok(())
}

/// Children's ends and requests to stop come through the descriptor; everything else that could end the executor by
/// mistake is ignored.
///
/// # Errors
/// What the kernel answers.
pub fn take_signals() -> io::Result<SignalFd> {
    for signal in [Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2] {
        // SAFETY: ignoring installs no handler.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn)? };
    }
    // SAFETY: as above. An inherited "ignore" would make the kernel reap children by itself.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl)? };
    let mask: SigSet = [Signal::SIGCHLD, Signal::SIGTERM].into_iter().collect();
    mask.thread_set_mask()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// A clock that starts at the wall clock's time and then never jumps. It goes on while the machine is suspended, as
/// leases do.
#[derive(Debug)]
pub struct Clock {
    /// Wall clock less boot clock at the start.
    ahead_ms: i64,
}

impl Clock {
    pub fn start() -> Self {
        Clock { ahead_ms: wall_ms() - boot_ms() }
    }

    /// Milliseconds.
    pub fn steady_ms(&self) -> i64 {
        self.steady_at(boot_ms())
    }

    /// What this clock shows when the boot clock, which all processes of the machine share, shows `boot_ms`.
    pub fn steady_at(&self, boot_ms: i64) -> i64 {
        boot_ms.saturating_add(self.ahead_ms)
    }
}

/// Milliseconds since the machine's start, time suspended included: one clock for all its processes.
pub fn boot_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000)
}

/// Milliseconds since 1970; 0 before.
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
