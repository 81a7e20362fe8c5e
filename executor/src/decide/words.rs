//! What is told of a task beside its outcome: why and how it was ended, what failed on the way, and processes that are started
//! again.

use dawn_proto::amounts;
use dawn_proto::v1::{Reason, TaskState};

use super::{Step, active, lease};
use crate::model::{Ended, Exit, Phase, Stage, retried, unsuccessful_finals};

/// Why it was killed, where the reason alone does not say it.
pub(super) fn of_kill(reason: Reason) -> &'static str {
    match reason {
        Reason::AgentLost => lease::LAPSED,
        Reason::MaxRunTime => "ran longer than allowed (max_run_time)",
        Reason::Deadline => "was not done by the job's deadline",
        _ => "",
    }
}

impl Step<'_> {
    /// The end in words, with how it came about, and with the failures of final processes that have not decided it.
    pub(super) fn with_all_that_is_told(&self, message: String, state: TaskState, cause: Option<usize>) -> String {
        let posts = self.state.failed_posts.iter().filter(|_| self.state.was_terminated);
        let posts = posts.map(|why| format!("lifecycle endpoint failed: {why}"));
        let finals = match state {
            // What became of the others is not known any better.
            TaskState::Lost => Vec::new(),
            _ => unsuccessful_finals(self.plan, &self.state, cause),
        };
        let parts = [message].into_iter().chain(posts).chain(self.words_of_force()).chain(finals);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }

    /// That it did not stop when it was asked.
    fn words_of_force(&self) -> Option<String> {
        let kill = self.state.kill;
        let grace_period_ms = kill.map_or(self.plan.grace_period_ms, |kill| kill.grace_period_ms);
        // Where nobody wanted its end, the process that decided it has ended by itself.
        let who = if kill.is_some() { "" } else { "what was left of it " };
        let how = match grace_period_ms {
            0 => "ended by SIGKILL".to_string(),
            _ => format!("did not stop within {} of SIGTERM: ended by SIGKILL", amounts::duration(grace_period_ms)),
        };
        self.state.forced.then(|| match (grace_period_ms, kill) {
            (0, None) => format!("{who}was {how}"),
            _ => format!("{who}{how}"),
        })
    }

    /// That a process is started again is told of its first end, and then whenever these are twice as many, as of processes
    /// killed for memory.
    pub(super) fn tell_of_retry(&mut self, process: usize, exit: &Exit) {
        let own = &self.state.processes[process];
        let starts_again = own.phase == Phase::Waiting && active::may_start(&self.state);
        if !starts_again || self.state.stage != Stage::Active || self.state.outcome.is_some() {
            return;
        }
        if own.runs.is_power_of_two() {
            let message = retried(self.plan, &self.state, process, exit);
            self.report(self.state.task, Reason::None, message, Ended::default());
        }
    }
}
