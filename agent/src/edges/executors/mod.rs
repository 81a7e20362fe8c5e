//! Executors as the agent sees them: started once, watched by pidfd and socket, found again. Their event log is the truth;
//! the socket is only the faster way to it. Not here: what an executor does.

mod connection;
mod event_log;
mod process;
mod spawn;
mod watch;
mod zygote;

pub use event_log::{identity, is_over, probe};
pub use process::{kill_processes, start_ticks};
pub use spawn::{Spawned, Starter};
pub use watch::{Command, Watched, watch};

/// A pipe in a file's place is opened at once, or not at all.
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// What is found by reading a task's event log and looking for its executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundExecutor {
    pub probe: crate::model::ExecutorProbe,
    /// Sequence of the last event; 0: none.
    pub heard: u64,
    pub last: Option<crate::model::Report>,
    pub kill_begun: Option<dawn_proto::v1::Reason>,
    pub processes: std::collections::BTreeMap<String, crate::model::ProcessIdentity>,
}
