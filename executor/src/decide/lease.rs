//! The dead man's switch of tasks that must not live twice: nobody renews the lease, the task is killed. It needs no
//! living agent, so it holds whatever became of that one.

use dawn_proto::v1::Reason;

use super::Step;
use crate::model::{Plan, Stage, State};

/// What people are told.
pub(super) const LAPSED: &str = "stopped because its agent was out of reach of the scheduler for too long";

/// When the lease is to be looked at; None: there is none, or it ran out already.
pub(super) fn deadline_ms(plan: &Plan, state: &State) -> Option<i64> {
    let is_over = matches!(state.stage, Stage::Closing | Stage::Ended) || is_settled(plan, state);
    state.lease_until_ms(plan).filter(|_| !is_over)
}

/// Whether the end of the lease would hasten nothing: a kill with no longer grace than the task's own is under way.
fn is_settled(plan: &Plan, state: &State) -> bool {
    state.kill.is_some_and(|kill| kill.grace_period_ms <= plan.grace_period_ms)
}

impl Step<'_> {
    /// Kills by the task's own ladder once the lease has run out. From then on everything of the task is gone after the
    /// ladder's time at most, which is what the scheduler counts on before it starts another.
    pub(super) fn hold_to_lease(&mut self) {
        if deadline_ms(self.plan, &self.state).is_some_and(|until_ms| until_ms <= self.now_ms) {
            self.kill(Reason::AgentLost, None);
        }
    }
}
