//! Port numbers that no other test uses, also not one of another test process.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::FlockOperation;

/// Below the kernel's ephemeral range, which begins at 32768.
const FIRST: u16 = 10_000;
const BLOCK: u16 = 200;
const BLOCKS: u16 = 110;
/// The first ports of a block are for daemons, the rest in shares for the agents' tasks.
const FOR_DAEMONS: u16 = 20;
const PER_AGENT: u16 = 20;

/// 200 neighbouring ports, ours while this lives.
pub struct PortBlock {
    first: u16,
    _lock: File,
}

impl PortBlock {
    /// Takes a free block, by a lock on a file in the system's temporary directory.
    pub fn reserve() -> PortBlock {
        let folder = std::env::temp_dir().join("dawn-test-ports");
        std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
        for block in 0..BLOCKS {
            let path = folder.join(block.to_string());
            let file = File::options().write(true).create(true).truncate(false).open(&path);
            let file = file.unwrap_or_else(|error| panic!("opening {}: {error}", path.display()));
            if rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok() {
                return PortBlock { first: FIRST + block * BLOCK, _lock: file };
            }
        }
        panic!("all {BLOCKS} port blocks are taken; see who holds the locks in {}", folder.display());
    }

    pub fn first(&self) -> u16 {
        self.first
    }

    /// First and last task port of an agent.
    pub fn of_agent(&self, agent: usize) -> (u16, u16) {
        let agent = u16::try_from(agent).expect("a handful of agents");
        let first = self.first + FOR_DAEMONS + agent * PER_AGENT;
        assert!(first + PER_AGENT <= self.first + BLOCK, "agent {agent} has no ports left in its block");
        (first, first + PER_AGENT - 1)
    }
}
