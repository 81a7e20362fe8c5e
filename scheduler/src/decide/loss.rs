//! An operator's word about nodes that are lost: they are gone for good, they are to be forgotten, or the brake is to be
//! released for a while. Not here: nodes that are given up for their silence alone (`liveness`).

use std::collections::BTreeSet;

use dawn_proto::v1::{JobKind, NodeState, Reason};
use dawn_proto::{AgentId, TaskState};

use super::agents::{is_silent, tasks_on};
use super::step::Step;
use super::{brake, copies, epochs, lease, liveness, retry};
use crate::model::{
    Agent, AgentForgotten, Answer, LossCommand, LossMutation, LossRefusal, Mutation, Refusal, Replaced, Task, answers,
};

pub(super) fn decide(step: &mut Step, command: &LossCommand) -> Result<Answer, Refusal> {
    match command {
        LossCommand::DeclareDown { agents, author, is_preview } => declare_down(step, agents, author, *is_preview),
        LossCommand::Forget { agents } => forget(step, agents),
        LossCommand::ReleaseBrake { for_ms, author, is_preview } => release(step, *for_ms, author, *is_preview),
    }
}

/// Each agent once, in the order of their numbers.
fn agents<'a>(step: &Step<'a>, ids: &[AgentId]) -> Result<Vec<&'a Agent>, Refusal> {
    let state = step.state;
    let number = |id: &AgentId| {
        let agent = state.agent(id).ok_or_else(|| Refusal::NoSuchAgent { agent: id.to_string() })?;
        Ok(agent.no)
    };
    let numbers = ids.iter().map(number).collect::<Result<BTreeSet<_>, Refusal>>()?;
    Ok(numbers.iter().filter_map(|no| state.agents.get(no)).collect())
}

/// All agents or none. Their tasks are given up by the next ticks.
fn declare_down(step: &mut Step, ids: &[AgentId], author: &str, is_preview: bool) -> Result<Answer, Refusal> {
    let agents = agents(step, ids)?;
    for agent in &agents {
        knows_no_more(step, agent)?;
        let is_connected = step.live.agents.get(&agent.no).is_some_and(|live| live.link.is_some());
        let silent_ms = step.now.mono_ms.saturating_sub(step.live.heard_ms(agent.no));
        if is_connected && !is_silent(step, step.live.heard_ms(agent.no)) {
            return Err(LossRefusal::Heard { agent: agent.id.clone(), silent_ms }.into());
        }
        let may_come = agent.state == NodeState::Up && !step.live.agents.contains_key(&agent.no);
        let left_ms = step.settings.agent_lease_ms.saturating_sub(silent_ms);
        if may_come && left_ms > 0 {
            return Err(LossRefusal::MayCome { agent: agent.id.clone(), left_ms }.into());
        }
    }
    let replaced = replaced(step, agents.iter().copied(), |_| true);
    for agent in agents.into_iter().filter(|agent| !is_preview && agent.declared_down.is_none()) {
        if agent.state == NodeState::Up {
            liveness::out_of_reach(step, agent);
        }
        if agent.state != NodeState::Down {
            liveness::down(step, agent);
        }
        epochs::dismiss(step, &agent.id);
        let (agent, author) = (agent.no, author.to_string());
        step.mutations.push(Mutation::Loss(LossMutation::DeclaredDown { agent, author }));
    }
    Ok(Answer::Declared(answers::Declared(replaced)))
}

/// An agent that dials and holds more than the journal knows is not gone, and not without tasks.
fn knows_no_more(step: &Step, agent: &Agent) -> Result<(), LossRefusal> {
    // What the journal does not know of a machine that it takes for a copy may be what it lost.
    let may_be = copies::is_copied(step, agent.no) && epochs::is_behind(step.state, step.live, step.now);
    match epochs::shown_ago_ms(step, &agent.id).or(may_be.then_some(0)) {
        Some(shown_ago_ms) => Err(LossRefusal::KnowsMore { agent: agent.id.clone(), shown_ago_ms }),
        None => Ok(()),
    }
}

/// All agents or none. One that the journal does not know, and that claims to know more than it, is believed no more.
fn forget(step: &mut Step, ids: &[AgentId]) -> Result<Answer, Refusal> {
    let claims = |id: &&AgentId| step.state.agent(id).is_none() && step.live.ahead.contains_key(id);
    let known: Vec<AgentId> = ids.iter().filter(|id| !claims(id)).cloned().collect();
    let agents = agents(step, &known)?;
    for agent in &agents {
        knows_no_more(step, agent)?;
        let held = brake::held(step.state, agent);
        if agent.state == NodeState::Up {
            return Err(LossRefusal::Up { agent: agent.id.clone() }.into());
        }
        let (id, tasks) = (agent.id.clone(), held as u64);
        if held > 0 && agent.declared_down.is_some() {
            return Err(not_settled(step, agent, tasks).into());
        }
        if held > 0 {
            return Err(LossRefusal::HoldsTasks { agent: id, tasks }.into());
        }
    }
    for agent in agents {
        if agent.state != NodeState::Down {
            liveness::down(step, agent);
        }
        step.mutations.push(Mutation::AgentForgotten(AgentForgotten { agent: agent.no }));
        copies::forgotten(step, agent.no);
    }
    ids.iter().for_each(|id| _ = epochs::dismiss(step, id));
    Ok(Answer::Forgotten(answers::Forgotten))
}

/// Why a node that was declared down has tasks yet.
fn not_settled(step: &Step, agent: &Agent, tasks: u64) -> LossRefusal {
    let may_live = tasks_on(step, agent.no).filter(|task| lease::may_live(step, task, agent.no));
    let (mut living, mut wait_ms) = (0, 0);
    for task in may_live {
        living += 1;
        wait_ms = wait_ms.max(lease::left_ms(step, task, agent.no));
    }
    let agent = agent.id.clone();
    match living {
        0 => LossRefusal::BeingGivenUp { agent, tasks },
        tasks => LossRefusal::MayLive { agent, tasks, wait_ms },
    }
}

fn release(step: &mut Step, for_ms: u64, author: &str, is_preview: bool) -> Result<Answer, Refusal> {
    if epochs::is_behind(step.state, step.live, step.now) {
        return Err(LossRefusal::JournalBehind.into());
    }
    if brake::brake_but_for_release(step.state, step.settings, brake::JustSilent::default()).is_none() {
        return Err(LossRefusal::BrakeIsOff.into());
    }
    // Jobs that wait for their nodes go on waiting: nobody said that these are gone.
    // Those of nodes that were declared down are replaced already.
    let silent = liveness::not_up(step.state).filter(|agent| agent.declared_down.is_none());
    let replaced = replaced(step, silent, |task| !step.state.spec_of(task).job.partition_wait);
    if !is_preview {
        let author = author.to_string();
        step.mutations.push(Mutation::Loss(LossMutation::BrakeReleased { for_ms, author }));
    }
    Ok(Answer::Released(answers::Released { replaced, until: step.now.wall.plus_ms(for_ms) }))
}

/// What is replaced when these agents are given up.
fn replaced<'a>(step: &Step, agents: impl Iterator<Item = &'a Agent>, is_given_up: impl Fn(&Task) -> bool) -> Replaced {
    let mut replaced = Replaced::default();
    for agent in agents {
        for task in tasks_on(step, agent.no).filter(|task| has_next_life(step, task) && is_given_up(task)) {
            replaced.tasks += 1;
            if lease::may_live(step, task, agent.no) {
                replaced.waiting += 1;
                replaced.wait_ms = replaced.wait_ms.max(lease::left_ms(step, task, agent.no));
            }
        }
    }
    replaced
}

/// Whether the task's instance lives on elsewhere: it was not told to stop, and is not bound to its node.
fn has_next_life(step: &Step, task: &Task) -> bool {
    let goes_on = step.state.jobs.get(&task.job).is_some_and(|job| !step.is_ended(job));
    goes_on && task.state() != TaskState::Killing && step.state.spec_of(task).job.kind != JobKind::Daemon
}

/// Gives up the tasks of agents that were declared down: all at once, brake or not; only what must not live twice waits
/// until it can't live any more. In slices.
pub(super) fn tick(step: &mut Step) {
    let state = step.state;
    for agent in liveness::not_up(state).filter(|agent| agent.declared_down.is_some()) {
        for task in tasks_on(step, agent.no) {
            if step.is_full() {
                return;
            }
            if step.is_living(task) && !lease::may_live(step, task, agent.no) {
                retry::end(step, task, TaskState::Lost, Reason::AgentLost, "its node was declared down");
            }
        }
    }
}
