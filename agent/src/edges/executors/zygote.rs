//! The zygote: the executor's program, loaded once, which forks an executor for each order. It is a child of the agent, and
//! so are those it forks; it ends with the agent's end of the socket.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, setsockopt, socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::spawn;
use crate::model::TaskDir;

/// Turns the executor's command into a zygote.
const ARGUMENT: &str = "--zygote";
/// An answer takes a fork; who has not got it by then has lost its zygote.
const PATIENCE_S: i64 = 10;

/// A living one; ended when dropped.
#[derive(Debug)]
pub struct Zygote {
    socket: OwnedFd,
    pid: Pid,
}

impl Zygote {
    /// Starts `command --zygote` with an argument as long as the plan of any task beside `dir`, in whose place each
    /// executor shows its own.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(command: &[OsString], dir: &TaskDir) -> io::Result<Zygote> {
        let (own, its) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        setsockopt(&own, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_S))?;
        let longest = dir.plan().as_os_str().len() + u64::MAX.to_string().len();
        let more = [ARGUMENT.into(), " ".repeat(longest).into()];
        // What goes wrong with it is told where the agent tells what goes wrong.
        let pid = spawn::run(command, more, &[(its.as_fd(), 0)]).map_err(io::Error::other)?;
        Ok(Zygote { socket: own, pid })
    }

    /// Forks the executor of a plan, which holds `lock` from then on. A child of this process, to be waited for.
    ///
    /// # Errors
    /// When nothing was forked, or it is not known.
    pub fn fork(&self, plan: &Path, lock: &File) -> io::Result<Pid> {
        let descriptors = [lock.as_raw_fd()];
        let passed = [ControlMessage::ScmRights(&descriptors)];
        let path = [IoSlice::new(plan.as_os_str().as_bytes())];
        let mut answer = [0; size_of::<i32>()];
        sendmsg::<()>(self.socket.as_raw_fd(), &path, &passed, MsgFlags::MSG_NOSIGNAL, None)?;
        loop {
            match recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty()) {
                Ok(length) if length == answer.len() => break,
                Ok(_) => return Err(io::Error::other("the zygote has ended")),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    return Err(io::Error::other(format!("the zygote {} gives no answer for {PATIENCE_S}s", self.pid)));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        match i32::from_ne_bytes(answer) {
            pid if pid > 0 => Ok(Pid::from_raw(pid)),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It holds nothing that could be lost. Our own child, so the pid is its own until it is waited for.
        let _ = kill(self.pid, Signal::SIGKILL);
        while waitpid(self.pid, None) == Err(Errno::EINTR) {}
    }
}
