//! How long a task that must not live twice may live on an agent that fell silent. Promise S2 rests on it.
//!
//! The agent counts its lease from when the last heartbeat that was answered was sent; the leader heard it no earlier. So
//! from when the leader last heard the agent, on clocks that differ by no more than the drift allowed for:
//!
//! | by then | what |
//! | --- | --- |
//! | lease | the agent's lease and every executor's deadline are over: no launch is obeyed, the kill begins by itself |
//! | + endpoints and final processes, grace | the executor's ladder is through: SIGKILL |
//! | + [`FORCE_MS`] | an executor that was stopped itself has been overruled: its agent killed the group |
//! | + drift | the same by the leader's clock |
//!
//! A leader that has just begun does not know when the one before last answered, only that it was asked before: a heartbeat is
//! answered only once the leader's lease has been found alive by a renewal that was asked for after the heartbeat came in
//! (`Journal::confirm`; the process's lock where the journal is its own). While that lease lives nobody else is elected, so
//! every heartbeat that was answered was sent before the next election, and [`Live::heard_ms`](crate::model::Live::heard_ms)
//! counts from there. An answer waits for no batch: one that is on its way gave up a task here only when the agent had been
//! silent for all of the time above, and no later answer brings back what ended then. And an agent counts as heard before
//! anything is decided after its heartbeat, also when nothing could be decided for long. A registration is answered by a
//! leader whose lease had not run out when it came in. All schedulers of a cluster must be told the same lease. An agent that is
//! heard before the time is over goes by its reports, which it withholds until nothing of the task is left.
//!
//! Another boot of the machine is only what the agent claims: a copy of it would claim the same. So would one that comes from
//! another host, or whose link replaces one that is still heard. What was started before is taken for living until the time is
//! over that began when the machine before was last heard, whatever is reported; its launch is not repeated either. An end that
//! nobody saw (the agent has no trace of the task, or no executor) proves as little after any registration: it may come from a
//! copy of the work directory, or from one that lost a file.

use dawn_proto::TaskState;
use dawn_proto::v1::Reason;

use super::agents::tasks_on;
use super::step::Step;
use crate::model::{AgentNo, JobSpec, Report, Settings, Task};

/// An agent kills by itself what its executor should have killed this long ago, and a margin for that.
const FORCE_MS: u64 = 15_000;
/// Clocks of two machines drift apart by no more than a hundredth; and rounding.
const DRIFT_DIVISOR: u64 = 100;
const ROUNDING_MS: u64 = 1_000;
/// What an agent makes of a lease that is shorter.
const MIN_LEASE_HEARTBEATS: u64 = 2;
const MIN_HEARTBEAT_MS: u64 = 50;

/// Silence after which nothing of the job can live on an agent.
pub(super) fn gone_after_ms(settings: &Settings, job: &JobSpec) -> u64 {
    let heartbeat_ms = settings.heartbeat_interval_ms.max(MIN_HEARTBEAT_MS);
    let lease_ms = settings.agent_lease_ms.max(heartbeat_ms.saturating_mul(MIN_LEASE_HEARTBEATS));
    let parts = [job.ladder_ms, job.grace_period_ms, FORCE_MS];
    let all_ms = parts.into_iter().fold(lease_ms, u64::saturating_add);
    all_ms.saturating_add(all_ms / DRIFT_DIVISOR).saturating_add(ROUNDING_MS)
}

/// Whether giving the task up now might let it live twice.
pub(super) fn may_live(step: &Step, task: &Task, agent: AgentNo) -> bool {
    let job = &step.state.spec_of(task).job;
    job.at_most_one && silent_ms(step, agent) <= gone_after_ms(step.settings, job)
}

/// Until the task can't live on its agent any more, should that stay silent.
pub(super) fn left_ms(step: &Step, task: &Task, agent: AgentNo) -> u64 {
    gone_after_ms(step.settings, &step.state.spec_of(task).job).saturating_sub(silent_ms(step, agent))
}

fn silent_ms(step: &Step, agent: AgentNo) -> u64 {
    step.now.mono_ms.saturating_sub(step.live.heard_ms(agent))
}

/// Whether the task may live under an earlier boot of its machine, or on another machine that it is a copy of.
pub(super) fn may_live_under_earlier_boot(step: &Step, task: &Task, agent: AgentNo) -> bool {
    may_live_since(step, task, earlier_boot_heard_ms(step, agent)) && is_of_earlier_boot(step, task, agent)
}

/// Whether an end that the agent reports is not believed yet.
pub(super) fn is_doubted(step: &Step, agent: AgentNo, report: &Report) -> bool {
    let task = step.state.tasks.get(&report.task).filter(|task| task.held_on() == Some(agent));
    let Some(task) = task.filter(|_| report.state.is_terminal()) else { return false };
    let was_unseen = matches!(report.reason, Reason::NotOnAgent | Reason::ExecutorLost);
    // A launch on its way is not known to any earlier link; it goes out again.
    let was_unseen = was_unseen && step.state_of(task) != TaskState::Assigned;
    may_live_under_earlier_boot(step, task, agent)
        || was_unseen && earlier_link_heard_ms(step, agent).is_some_and(|heard_ms| may_live_since(step, task, heard_ms))
}

fn may_live_since(step: &Step, task: &Task, heard_ms: u64) -> bool {
    let job = &step.state.spec_of(task).job;
    job.at_most_one && step.now.mono_ms.saturating_sub(heard_ms) <= gone_after_ms(step.settings, job)
}

/// How long after it was last heard something on the agent may live that must not live twice; None: there is nothing.
pub(super) fn longest_life_ms(step: &Step, agent: AgentNo) -> Option<u64> {
    let jobs = tasks_on(step, agent).map(|task| &step.state.spec_of(task).job).filter(|job| job.at_most_one);
    jobs.map(|job| gone_after_ms(step.settings, job)).max()
}

fn is_of_earlier_boot(step: &Step, task: &Task, agent: AgentNo) -> bool {
    if step.arrival.is_some_and(|arrival| arrival.agent == agent && arrival.is_doubted) {
        return true;
    }
    let first = step.state.agents.get(&agent).map(|agent| agent.first_task_of_boot);
    let welcomed_at = step.live.earlier_boots.get(&agent).map(|earlier| earlier.welcomed_at);
    let assigned = task.history.iter().rev().find(|one| one.to == TaskState::Assigned);
    let is_launched_since = welcomed_at.zip(assigned).is_some_and(|(welcomed_at, one)| one.at > welcomed_at);
    first.is_some_and(|first| task.id < first) && !is_launched_since
}

/// A leader that did not see the reboot knows that it came before its election.
fn earlier_boot_heard_ms(step: &Step, agent: AgentNo) -> u64 {
    match step.live.earlier_boots.get(&agent) {
        _ if step.arrival.is_some_and(|arrival| arrival.agent == agent && arrival.is_doubted) => {
            step.live.heard_ms(agent)
        }
        Some(earlier) => earlier.heard_ms,
        None => step.live.elected_ms,
    }
}

/// None: the agent has had no link before this one while there was anything that must not live twice.
fn earlier_link_heard_ms(step: &Step, agent: AgentNo) -> Option<u64> {
    match step.arrival {
        Some(arrival) if arrival.agent == agent => Some(step.live.heard_ms(agent)),
        _ => step.live.earlier_links.get(&agent).map(|earlier| earlier.heard_ms),
    }
}
