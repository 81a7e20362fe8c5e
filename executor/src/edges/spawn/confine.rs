//! The rules of a task for a process that comes into it from outside, a command that a user runs there: the same limits,
//! capabilities, ports and system calls as the task's own processes have. Not here: its namespaces and groups.

use std::io;
use std::os::fd::AsRawFd;

use nix::libc;

use super::{SpawnError, Walls, child};
use crate::model::Setting;

impl Walls {
    /// The rules alone, without namespaces.
    ///
    /// # Errors
    /// What can't be had.
    pub fn rules(setting: &Setting) -> Result<Walls, SpawnError> {
        let mut walls = Walls::default();
        walls.lay_down(&setting.isolation)?;
        Ok(walls)
    }

    /// Takes on the limits, and gives up what a root task does without. To be called while the process is still root.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn give_up(&self, setting: &Setting) -> io::Result<()> {
        for (resource, most) in &self.limits {
            let limit = libc::rlimit { rlim_cur: *most, rlim_max: *most };
            // SAFETY: a plain system call on a valid structure.
            if unsafe { libc::setrlimit(*resource, &raw const limit) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: plain system calls.
        if drops_capabilities(setting) && !unsafe { child::drop_capabilities() } {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Keeps to the task's ports and system calls from now on. To be called last, when no privileges can be gained.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn close(&self) -> io::Result<()> {
        if let Some(ports) = &self.ports {
            // SAFETY: a plain system call on a descriptor that is open.
            let answer = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ports.as_raw_fd(), 0) };
            if answer != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let filter = self.filter.as_deref().unwrap_or_default();
        // SAFETY: this process can gain no privileges any more.
        if !filter.is_empty() && !unsafe { child::set_filter(filter) } {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// Any other user than root has none, and can gain none.
pub(super) fn drops_capabilities(setting: &Setting) -> bool {
    nix::unistd::geteuid().is_root() && setting.uid == 0 && !setting.isolation.keep_capabilities
}
