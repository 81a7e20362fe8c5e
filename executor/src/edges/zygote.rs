//! The zygote: a process that has loaded this program once and forks an executor for each plan it is told of. Loading it
//! anew costs more than all else an executor does, and each copy has its own pages of relocated data; forked ones share
//! them. (The word and the way are Android's.)

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, send};

/// Longest path of a plan, as of any file.
const MAX_PATH_BYTES: usize = libc::PATH_MAX as usize;

/// An executor that is to be.
#[derive(Debug)]
pub struct Order {
    pub plan: PathBuf,
    /// Held as long as the executor lives.
    pub lock: OwnedFd,
}

/// What `fork` returns twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Zygote,
    Executor,
}

/// Waits on standard input, a socket of packets, for the next order. None: whoever gave them is gone.
///
/// # Errors
/// What the kernel answers, and an order without its lock.
pub fn next() -> io::Result<Option<Order>> {
    let mut path = vec![0; MAX_PATH_BYTES];
    let mut space = nix::cmsg_space!(libc::c_int);
    let stdin = io::stdin();
    let (length, lock) = loop {
        let mut parts = [IoSliceMut::new(&mut path)];
        match recvmsg::<()>(stdin.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(message) => break (message.bytes, message.cmsgs().ok().and_then(descriptor)),
        }
    };
    if length == 0 {
        return Ok(None);
    }
    path.truncate(length);
    let lock = lock.ok_or_else(|| io::Error::other("an order came without its lock"))?;
    Ok(Some(Order { plan: OsString::from_vec(path).into(), lock }))
}

fn descriptor(mut messages: nix::sys::socket::CmsgIterator<'_>) -> Option<OwnedFd> {
    messages.find_map(|message| match message {
        // SAFETY: the kernel has just made it for this process.
        ControlMessageOwned::ScmRights(fds) => fds.first().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }),
        _ => None,
    })
}

/// Forks an executor that is a child of the zygote's parent, as if that had started it: it can wait for it. Whoever asked
/// is told its pid, or minus the errno.
///
/// # Errors
/// When whoever asked is gone.
pub fn fork() -> io::Result<Side> {
    let flags = i64::from(libc::CLONE_PARENT | libc::SIGCHLD);
    // SAFETY: without CLONE_VM it is a fork, of a process with one thread; the child may go on as any program.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } as i32;
    let answer = match pid {
        0 => return Ok(Side::Executor),
        -1 => -nix::errno::Errno::last_raw(),
        pid => pid,
    };
    send(io::stdin().as_raw_fd(), &answer.to_ne_bytes(), MsgFlags::MSG_NOSIGNAL)?;
    Ok(Side::Zygote)
}

/// Makes a forked executor one of its own: it can't take orders, and is seen by its plan.
///
/// # Errors
/// When /dev/null can't be opened.
pub fn part(order: Order, title: Option<&Title>) -> io::Result<PathBuf> {
    nix::unistd::dup2_stdin(File::open("/dev/null")?.as_fd())?;
    if let Some(title) = title {
        title.show(&order.plan);
    }
    // Closed by the kernel, when the executor ends and not before.
    std::mem::forget(order.lock);
    Ok(order.plan)
}

/// The room in which the kernel finds what /proc and `ps` show as the last arguments.
#[derive(Debug)]
pub struct Title {
    start: *mut u8,
    length: usize,
}

impl Title {
    /// That of this process from the argument `first` on. None where it can't be found: then nothing is shown.
    pub fn find(first: &str) -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // proc(5): arg_start and arg_end are fields 48 and 49, the one after the name is 3.
        let (start, end): (usize, usize) = (fields.get(45)?.parse().ok()?, fields.get(46)?.parse().ok()?);
        let shown = std::fs::read("/proc/self/cmdline").ok()?;
        if end.checked_sub(start)? != shown.len() {
            return None;
        }
        let needle = format!("\0{first}\0");
        let at = shown.windows(needle.len()).position(|part| part == needle.as_bytes())? + 1;
        Some(Title { start: (start + at) as *mut u8, length: shown.len() - at })
    }

    /// Shows `plan` there, as much of it as there is room.
    fn show(&self, plan: &Path) {
        let bytes = plan.as_os_str().as_encoded_bytes();
        // The last byte stays zero.
        let shown = bytes.len().min(self.length.saturating_sub(1));
        // SAFETY: the kernel laid the arguments there, on this process's own stack, and nothing here refers to them: the
        // standard library's are copies.
        unsafe {
            std::ptr::write_bytes(self.start, 0, self.length);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start, shown);
        }
    }
}
