//! Processes that the kernel refuses a task which has as many as it may. Not here: a process that fails for it.

use dawn_proto::v1::Reason;

use super::Step;
use crate::model::{Ended, Soft, limit_reached};

impl Step<'_> {
    /// Told of the first, and then whenever they are twice as many, as of processes killed for memory.
    pub(super) fn forks_refused(&mut self, times: u64, max_pids: u64) {
        if self.state.outcome.is_some() || times < self.state.refused_forks_told.saturating_mul(2).max(1) {
            return;
        }
        self.soft(Soft::ToldOfRefusedForks { times });
        let how_often = match times {
            1 => "one more was refused".to_string(),
            times => format!("one more was refused {times} times"),
        };
        let message = format!("{}, and {how_often}; the task goes on", limit_reached(max_pids));
        self.report(self.state.task, Reason::None, message, Ended::default());
    }
}
