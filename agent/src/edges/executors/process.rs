//! Processes by pid and start time: a pid alone may belong to somebody else by now.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::model::ProcessIdentity;

/// Field 22 of `/proc/pid/stat`, clock ticks from boot; None when there is no such process.
pub fn start_ticks(pid: i32) -> Option<u64> {
    parse_start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The second field is the command's name in parentheses and may itself hold spaces and parentheses.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A handle on exactly this process; None when it is dead.
///
/// # Errors
/// When the kernel gives no handle for another reason (no file descriptor left): the process may live.
pub fn open(identity: ProcessIdentity) -> io::Result<Option<OwnedFd>> {
    // A negative number would be a whole group's.
    let positive = Some(identity.pid).filter(|pid| *pid > 0);
    let Some(pid) = positive.and_then(rustix::process::Pid::from_raw) else { return Ok(None) };
    // Opened first, compared then: from here on the pid can't be reused unnoticed.
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        // No process has the number, or only a thread of one: kernels say so in three ways.
        Err(Errno::SRCH | Errno::NOENT | Errno::INVAL) => return Ok(None),
        pidfd => pidfd?,
    };
    let lives = start_ticks(identity.pid) == Some(identity.start_ticks) && !is_zombie(identity.pid);
    Ok(lives.then_some(pidfd))
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Sends SIGKILL to these processes and the groups they lead: what can be done without a cgroup.
pub fn kill_processes(processes: &[ProcessIdentity]) {
    for process in processes {
        if process.pid > 1 && start_ticks(process.pid) == Some(process.start_ticks) {
            let pid = Pid::from_raw(process.pid);
            // Gone meanwhile, or no group leader: nothing to do.
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};

    use super::*;

    #[test]
    fn a_command_name_can_not_disguise_its_start_time() {
        let stat = "77 (a) S 1 (b) R 1 77 77 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 4242 1 1\n";
        assert_eq!(parse_start_ticks(stat), Some(4242));
        assert_eq!(parse_start_ticks("77 (a"), None);
    }

    #[test]
    fn only_the_process_that_was_meant_is_killed() {
        for (other, expected) in [(1, Signal::SIGTERM), (0, Signal::SIGKILL)] {
            let mut child = std::process::Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            let start_ticks = start_ticks(pid).unwrap() + other;
            kill_processes(&[ProcessIdentity { pid, start_ticks }]);
            // Ends it by this signal, unless it was killed before.
            kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(expected as i32));
        }
    }

    #[test]
    fn a_number_that_is_a_threads_now_is_no_process() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            // Until the test is through.
            let _ = ended.recv();
        });
        let pid = told.recv().unwrap();
        let start_ticks = start_ticks(pid).unwrap();
        assert!(open(ProcessIdentity { pid, start_ticks }).unwrap().is_none());
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn only_the_process_that_was_meant_is_opened() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let start_ticks = start_ticks(pid).unwrap();
        assert!(open(ProcessIdentity { pid, start_ticks }).unwrap().is_some());
        assert!(open(ProcessIdentity { pid, start_ticks: start_ticks + 1 }).unwrap().is_none(), "a reused pid");
        assert!(open(ProcessIdentity { pid: 0, start_ticks }).unwrap().is_none());
        assert!(open(ProcessIdentity { pid: -1, start_ticks }).unwrap().is_none());
    }
}
