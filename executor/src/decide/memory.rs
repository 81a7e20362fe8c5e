//! Processes that the kernel killed for want of memory while the task goes on. Not here: those whose end decides the task's.

use dawn_proto::amounts;
use dawn_proto::v1::Reason;

use super::Step;
use crate::model::{Ended, Soft};

impl Step<'_> {
    /// Told of the first, and then whenever they are twice as many, so that a task which loses them all the time does not
    /// fill its history.
    pub(super) fn killed_for_memory(&mut self, processes: u64) {
        if self.state.outcome.is_some() || processes < self.state.memory_kills_told.saturating_mul(2).max(1) {
            return;
        }
        self.soft(Soft::ToldOfMemoryKills { processes });
        let whom = match processes {
            1 => "a process was".to_string(),
            processes => format!("{processes} processes were"),
        };
        let limit = match self.plan.memory_limit_bytes {
            0 => String::new(),
            limit => format!(" (limit {})", amounts::bytes(limit)),
        };
        let message = format!("{whom} killed for memory{limit}; the task goes on");
        self.report(self.state.task, Reason::None, message, Ended::default());
    }
}
