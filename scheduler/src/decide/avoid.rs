//! Agents on which launches fail, or that come and go, are avoided for a while, longer each time, and forgiven. Not here: silence (`liveness`).

use dawn_proto::TaskState;
use dawn_proto::v1::Reason;

use super::Decision;
use super::step::Step;
use crate::model::{AgentNo, Live, Mutation, Now};

/// Whose fault a task's end is, as far as its reason tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Agents,
    /// The agent's or the job's: it takes several to tell.
    Either,
    NotAgents,
}

fn fault(reason: Reason) -> Fault {
    match reason {
        Reason::LaunchRefused | Reason::CgroupFailed => Fault::Agents,
        Reason::SandboxFailed | Reason::PortClash | Reason::ExecutorLost => Fault::Either,
        _ => Fault::NotAgents,
    }
}

/// A task there ended, or is about to, for this reason: the agent is avoided if that is called for and it is not yet.
pub(super) fn failed(step: &mut Step, agent: AgentNo, reason: Reason) {
    let settings = step.settings;
    let count = match fault(reason) {
        Fault::NotAgents => return,
        Fault::Agents => 1,
        Fault::Either => {
            let since_ms = step.now.mono_ms.saturating_sub(settings.failure_window_ms);
            let failures = step.live.failures.get(&agent).into_iter().flatten();
            let count = 1 + failures.filter(|at_ms| **at_ms >= since_ms).count();
            if count < settings.failures_to_avoid {
                return;
            }
            count
        }
    };
    let why = match count {
        1 => format!("a launch failed there ({})", reason.as_str_name()),
        count => format!("{count} tasks failed there within a short time ({} the last)", reason.as_str_name()),
    };
    avoid(step, agent, why);
}

/// The agent registers once more.
pub(super) fn registered(step: &mut Step, agent: AgentNo) {
    let settings = step.settings;
    let since_ms = step.now.mono_ms.saturating_sub(settings.flap_window_ms);
    let before = step.live.registrations.get(&agent).into_iter().flatten();
    let count = 1 + before.filter(|at_ms| **at_ms >= since_ms).count();
    // When most come again and again it is the network's or the scheduler's fault.
    let all = step.live.registrations.values().filter(|times| times.back().is_some_and(|at_ms| *at_ms >= since_ms));
    if count >= settings.flaps_to_avoid
        && all.take(step.state.agents.len() / 4 + 1).count() * 4 <= step.state.agents.len()
    {
        avoid(step, agent, format!("it registered {count} times within {} s", settings.flap_window_ms / 1000));
    }
}

/// Twice as long as the last time, unless it is avoided now.
fn avoid(step: &mut Step, agent: AgentNo, why: String) {
    let settings = step.settings;
    let before = step.state.agents.get(&agent).and_then(|agent| agent.avoided.as_ref());
    if before.is_some_and(|avoided| avoided.until > step.now.wall) || is_avoided(step, agent) {
        return;
    }
    let recent = before.filter(|avoided| step.now.wall.since_ms(avoided.until) <= settings.forgive_ms);
    let times = recent.map_or(1, |avoided| avoided.times.max(1).saturating_add(1));
    let doubled_ms = settings.avoid_ms.saturating_mul(1 << (times - 1).min(32));
    let until = step.now.wall.plus_ms(doubled_ms.min(settings.max_avoid_ms.max(settings.avoid_ms)));
    step.mutations.push(Mutation::AgentAvoided { agent, until: Some(until), why, times });
}

/// Decided in this very step.
fn is_avoided(step: &Step, no: AgentNo) -> bool {
    step.mutations.iter().any(|mutation| matches!(mutation, Mutation::AgentAvoided { agent, .. } if *agent == no))
}

/// Notes the failures of a decision about what `agent` reported.
pub(super) fn note(live: &mut Live, agent: AgentNo, decision: &Decision, now: Now) {
    for mutation in &decision.mutations {
        match mutation {
            Mutation::TaskMoved { to, reason, .. }
                if fault(*reason) != Fault::NotAgents && matches!(to, TaskState::Failed | TaskState::Lost) =>
            {
                live.failed(agent, now.mono_ms);
            }
            _ => {}
        }
    }
}
