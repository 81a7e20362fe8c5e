//! When a task ended while nobody who led heard of its agent: as the agent says. What it tells later than its link began is
//! news, and ended now.
//!
//! An agent's clock may be off: where a heartbeat told it, that is taken out of what it says; else, after a change of leader, its
//! word counts as it is, between the task's last step and now. So a clock that is off makes no end wrong by more than the time in
//! which nobody led.

use dawn_proto::Timestamp;

use super::step::Step;
use crate::model::{AgentNo, EndDated, Live, Mutation, Now, Report, Shift, State};

/// When the task of a report ended, if nobody heard of it then.
pub(super) fn end_told_by_agent(step: &Step, agent: AgentNo, report: &Report) -> Option<Timestamp> {
    // While it is not known how long nobody led, Dawn's clock and the agent's can't be compared.
    let is_held = step.live.cron_hold.is_some_and(|hold| step.now.wall < hold.until);
    let told = if is_held { report.at } else { told(step.live, agent, report.at, step.now) };
    // What a registration tells is older than the link that begins with it.
    let is_new = step.arrival.is_some_and(|arrival| arrival.agent == agent);
    let linked = if is_new { step.now.wall } else { linked(step.live, agent, step.now) };
    (report.at > Timestamp(0) && told < linked).then_some(told)
}

/// What an agent's clock showed, by Dawn's.
fn told(live: &Live, agent: AgentNo, at: Timestamp, now: Now) -> Timestamp {
    let Some(wall) = live.walls.get(&agent) else { return at };
    let shows_ms = wall.ahead_ms.saturating_add_unsigned(now.mono_ms);
    Timestamp(now.wall.0.saturating_sub(shows_ms.saturating_sub(at.0).max(0)))
}

/// When the agent's link began.
fn linked(live: &Live, agent: AgentNo, now: Now) -> Timestamp {
    let began_ms = live.registrations.get(&agent).and_then(|times| times.back()).copied().unwrap_or(now.mono_ms);
    Timestamp(now.wall.0.saturating_sub_unsigned(now.mono_ms.saturating_sub(began_ms)))
}

/// Corrects the times of ends that were reported before it was known how long nobody led. The clock shows that now.
pub fn correct_end_times(state: &State, live: &Live, shift: Shift, now: Now) -> Vec<Mutation> {
    if shift.after == Timestamp(0) {
        return Vec::new();
    }
    let dated = live.told_ends.iter().filter_map(|(task, at)| {
        let ended = state.tasks.get(task).filter(|task| task.state().is_terminal())?;
        let agent = ended.status.place()?.agent;
        let at = told(live, agent, *at, now);
        (at < linked(live, agent, now)).then_some(Mutation::EndDated(EndDated { task: *task, at }))
    });
    dated.collect()
}
