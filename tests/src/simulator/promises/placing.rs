//! What is placed may be there (constraints, quotas), preemption takes only what it may and uses what it took, and many
//! agents lost at once are not given up.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{JobKind, NodeState, Reason, TaskState, Tier};
use dawn_proto::{Resources, TaskId};
use dawn_scheduler::model::{
    Agent, AgentAvoided, AgentMoved, AgentNo, Batch, Bound, Constraint, JobSpec, LossMutation, Mutation, Nominated,
    Rule, State, Task, TaskAssigned, TaskMoved,
};

use crate::simulator::settings::settings;

#[derive(Default)]
pub(super) struct Ledger {
    /// Tasks for which room was made, and where.
    nominated: BTreeMap<TaskId, AgentNo>,
}

impl Ledger {
    pub fn batch(&mut self, before: &State, batch: &Batch) -> Result<(), String> {
        let mut moved: BTreeMap<AgentNo, NodeState> = BTreeMap::new();
        let was_braked = is_braked(before, &moved);
        let mut released = before.brake_release.is_some();
        let declared = before.agents.values().filter(|agent| agent.declared_down.is_some());
        let mut declared: BTreeSet<AgentNo> = declared.map(|agent| agent.no).collect();
        for mutation in &batch.mutations {
            match mutation {
                Mutation::AgentMoved(AgentMoved { agent, to }) => _ = moved.insert(*agent, *to),
                Mutation::Loss(LossMutation::BrakeReleased { .. }) => released = true,
                Mutation::Loss(LossMutation::DeclaredDown { agent, .. }) => _ = declared.insert(*agent),
                Mutation::Nominated(Nominated { task, agent, .. }) => _ = self.nominated.insert(*task, *agent),
                Mutation::AgentAvoided(AgentAvoided { agent, until: Some(_), why, .. }) => {
                    avoided(before, batch, *agent, why)?
                }
                Mutation::TaskAssigned(TaskAssigned { task, .. }) => _ = self.nominated.remove(task),
                Mutation::TaskMoved(TaskMoved { task, to: TaskState::Preempting, message, .. }) => {
                    taken(before, *task, message)?
                }
                Mutation::TaskMoved(TaskMoved { task, to: TaskState::Lost, reason: Reason::AgentLost, .. }) => {
                    // An agent that is there and never said that it has its launch is not out of reach.
                    let agent = before.tasks.get(task).and_then(Task::held_on);
                    let agent = agent.and_then(|agent| before.agents.get(&agent));
                    let is_there = agent.is_some_and(|agent| agent.state == NodeState::Up);
                    let is_said_gone = agent.is_some_and(|agent| declared.contains(&agent.no));
                    let is_excused = is_there || is_said_gone || released;
                    if !is_excused && was_braked && is_braked(before, &moved) {
                        return Err(format!("brake: {task} is given up while most agents are out of reach"));
                    }
                }
                Mutation::TaskMoved(TaskMoved { task, to, .. }) if to.is_terminal() => _ = self.nominated.remove(task),
                _ => {}
            }
        }
        Ok(())
    }

    /// S8: whoever had room made for it has used it, by the end.
    pub fn end(&self, state: &State) -> Result<(), String> {
        let waits = |id: &&TaskId| state.tasks.get(id).is_some_and(|task| task.state() == TaskState::Pending);
        match self.nominated.keys().find(waits) {
            Some(task) => Err(format!("S8: room was made for {task}, and it still waits")),
            None => Ok(()),
        }
    }
}

/// Whether a daemon's own agent is full of what may take its room.
pub(super) fn is_full_for_daemon(state: &State, task: &Task) -> bool {
    let own = || state.agents.get(&AgentNo(task.instance)).is_some_and(|own| is_full_for(state, own, task));
    spec_of(state, task).kind == JobKind::Daemon && own()
}

fn is_full_for(state: &State, agent: &Agent, task: &Task) -> bool {
    let mut taken = spec_of(state, task).demand.clone();
    for id in state.indexes().tasks_on.get(&agent.no).into_iter().flatten() {
        taken.add(&spec_of(state, &state.tasks[id]).demand);
    }
    agent.total.lacks(&taken).is_some()
}

/// One more agent is avoided: with it at most the larger of one and a quarter of those that are up, and never for the job
/// that starts nowhere.
fn avoided(before: &State, batch: &Batch, agent: AgentNo, why: &str) -> Result<(), String> {
    if why.contains(Reason::RootFsFailed.plain_name()) {
        return Err(format!("avoidance: {agent} is avoided for a job that starts nowhere: {why}"));
    }
    let is_avoided = |one: &Agent| one.avoided.as_ref().is_some_and(|avoided| avoided.until > batch.at);
    let others = before.agents.values().filter(|one| one.no != agent && is_avoided(one)).count();
    let up = before.agents.values().filter(|one| one.state == NodeState::Up).count();
    if others + 1 > (up / 4).max(1) {
        return Err(format!("avoidance: {agent} is avoided beside {others} others, and {up} are up"));
    }
    Ok(())
}

/// Whether so many agents are silent that nobody may be given up: counted anew. Silent ones without tasks don't count.
fn is_braked(state: &State, moved: &BTreeMap<AgentNo, NodeState>) -> bool {
    let now = |no: &AgentNo, was| moved.get(no).copied().unwrap_or(was);
    let all = |wanted| state.agents.values().filter(move |agent| now(&agent.no, agent.state) == wanted);
    let silent = all(NodeState::Unreachable).filter(|agent| state.indexes().tasks_on.contains_key(&agent.no)).count();
    silent * 100 > (silent + all(NodeState::Up).count()) * settings().mass_loss_percent as usize
}

fn spec_of<'a>(state: &'a State, task: &Task) -> &'a JobSpec {
    &state.spec_of(task).job
}

/// S8: lower tier, or the same role's own lower priority; never beyond the job's budget.
fn taken(before: &State, id: TaskId, message: &str) -> Result<(), String> {
    let taker = message.strip_prefix("room for t").and_then(|number| number.parse().ok()).map(TaskId);
    let (Some(victim), Some(taker)) = (before.tasks.get(&id), taker.and_then(|taker| before.tasks.get(&taker))) else {
        // Made in the same batch.
        return Ok(());
    };
    let (victim, taker) = (spec_of(before, victim), spec_of(before, taker));
    let lower_tier = taker.tier == Tier::Production && victim.tier != Tier::Production;
    let own = victim.tier == taker.tier && victim.key.role() == taker.key.role() && victim.priority < taker.priority;
    if lower_tier || own { Ok(()) } else { Err(format!("S8: {id} of {} makes way for {}", victim.key, taker.key)) }
}

/// S7 and S8's budgets, in the state that the batch made.
pub(super) fn placed(after: &State, batch: &Batch) -> Result<(), String> {
    let mut roles = BTreeSet::new();
    for mutation in &batch.mutations {
        match mutation {
            Mutation::TaskAssigned(TaskAssigned { task, agent, .. }) => {
                let Some(task) = after.tasks.get(task).filter(|task| task.held_on() == Some(*agent)) else { continue };
                constraints(after, task, *agent)?;
                roles.insert(spec_of(after, task).key.role());
            }
            Mutation::TaskMoved(TaskMoved { task, to: TaskState::Preempting, .. }) => {
                if let Some(task) = after.tasks.get(task) {
                    budget(after, task)?;
                }
            }
            _ => {}
        }
    }
    roles.into_iter().try_for_each(|role| quota(after, role))
}

fn budget(after: &State, victim: &Task) -> Result<(), String> {
    let (spec, job) = (spec_of(after, victim), &after.jobs[&victim.job]);
    let taken = after.living(job).filter(|task| task.state() == TaskState::Preempting).count();
    match spec.disruption_budget {
        Some(budget) if taken > budget as usize => {
            Err(format!("S8: {taken} tasks of {} are taken at once, {budget} may be", spec.key))
        }
        _ => Ok(()),
    }
}

fn constraints(after: &State, task: &Task, no: AgentNo) -> Result<(), String> {
    let (spec, agent) = (spec_of(after, task), &after.agents[&no]);
    if agent.state != NodeState::Up {
        return Err(format!("S7: {} is placed on {no}, which is {:?}", task.id, agent.state));
    }
    for Constraint { attribute, rule } in &spec.constraints {
        let held = match rule {
            Rule::OneOf(values) => {
                agent.attributes.get(attribute).is_some_and(|own| own.iter().any(|value| values.contains(value)))
            }
            Rule::Limit(most) if attribute == "host" => {
                let job = &after.jobs[&task.job];
                after.living(job).filter(|other| other.held_on() == Some(no)).count() <= *most as usize
            }
            _ => true,
        };
        if !held {
            return Err(format!("S7: {} is on {no} against {attribute} {rule:?}", task.id));
        }
    }
    Ok(())
}

fn quota(after: &State, role: &str) -> Result<(), String> {
    let quota = after.quota_of(role);
    for bound in Bound::ALL {
        let mut sum = Resources::default();
        for task in after.indexes().tasks_on.values().flatten().map(|id| &after.tasks[id]) {
            let spec = spec_of(after, task);
            if spec.key.role() == role && (bound == Bound::Limit || spec.tier == Tier::Production) {
                sum.add(&spec.demand);
            }
        }
        let over = quota.bounds(bound).pairs().find(|(dimension, may)| sum.amount(*dimension) > *may);
        if let Some((dimension, may)) = over {
            return Err(format!("S7: {role} holds {} of a {bound} of {may} ({dimension})", sum.amount(dimension)));
        }
    }
    Ok(())
}
