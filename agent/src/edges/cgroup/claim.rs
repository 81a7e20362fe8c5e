//! One agent for each parent of control groups: another one would take the first one's tasks for leftovers, and end them.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{CgroupError, Tree, io_error};

/// The parent groups are this agent's until it is dropped, or the process ends however it does.
#[derive(Debug)]
pub struct Claim {
    _parent: Option<Flock<File>>,
}

impl Tree {
    /// # Errors
    /// [`CgroupError::Claimed`] when another agent has the same parent.
    pub fn claim(&self) -> Result<Claim, CgroupError> {
        let Some(parent) = self.parents().next() else { return Ok(Claim { _parent: None }) };
        let group = File::open(parent).map_err(io_error("open", parent))?;
        match Flock::lock(group, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => Ok(Claim { _parent: Some(locked) }),
            Err((_, Errno::EWOULDBLOCK)) => Err(CgroupError::Claimed { path: parent.to_path_buf() }),
            Err((_, error)) => Err(io_error("lock", parent)(error.into())),
        }
    }
}
