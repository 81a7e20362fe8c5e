//! How a process ended that is not our child: from the kernel, which keeps it with a pidfd opened before (Linux 6.15),
//! or while it is still unreaped from the process table.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;

use crate::model::ExitKind;

// linux/pidfd.h
const INFO_EXIT: u64 = 1 << 3;
nix::ioctl_readwrite!(pidfd_get_info, 0xff, 11, Info);

#[repr(C)]
#[derive(Default)]
pub struct Info {
    mask: u64,
    cgroup: u64,
    pids: [u32; 3],
    ids: [u32; 8],
    exit_status: i32,
}

/// The end of the process behind a pidfd that is readable; None where nobody knows.
pub fn exit_of(pidfd: &OwnedFd, pid: i32) -> Option<ExitKind> {
    let status = unreaped(pid).or_else(|| reaped(pidfd)).or_else(|| reaped(pidfd))?;
    let signal = libc::WTERMSIG(status);
    Some(if signal == 0 { ExitKind::Code(libc::WEXITSTATUS(status)) } else { ExitKind::Signal(signal) })
}

fn reaped(pidfd: &OwnedFd) -> Option<i32> {
    let mut info = Info { mask: INFO_EXIT, ..Info::default() };
    // SAFETY: the request carries the size of what is passed.
    let asked = unsafe { pidfd_get_info(pidfd.as_raw_fd(), &raw mut info) };
    (asked.is_ok() && info.mask & INFO_EXIT != 0).then_some(info.exit_status)
}

/// The last field of a zombie's line. While the pidfd is held and the process unreaped the pid is its own.
fn unreaped(pid: i32) -> Option<i32> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = line.rsplit_once(')')?;
    fields.trim_start().starts_with('Z').then(|| fields.split_ascii_whitespace().next_back()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn the_end_of_a_process_is_known_while_it_is_a_zombie_and_after() {
        for (line, expected) in [("exit 7", ExitKind::Code(7)), ("kill -9 $$", ExitKind::Signal(9))] {
            let mut child = Command::new("/bin/sh").args(["-c", line]).spawn().unwrap();
            let pid = child.id() as i32;
            let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
            let mut fds = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&pidfd), nix::poll::PollFlags::POLLIN)];
            nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE).unwrap();
            assert_eq!(exit_of(&pidfd, pid), Some(expected.clone()), "unreaped");
            child.wait().unwrap();
            match exit_of(&pidfd, pid) {
                // Kernels before 6.15 forget it with the process.
                None => eprintln!("this kernel does not keep exit codes"),
                known => assert_eq!(known, Some(expected), "reaped"),
            }
        }
    }
}
