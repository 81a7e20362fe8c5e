//! Daemon jobs: one task on each agent that is up and that the job's constraints match. An instance is numbered as its
//! agent is, so that the two belong together for good. Not here: the first round over all agents (`settle`).

use dawn_proto::v1::{NodeState, Reason};
use dawn_proto::{TaskState, Timestamp};

use super::place;
use super::step::{Life, Step};
use crate::model::{
    Agent, AgentNo, Instances, Job, JobSpec, Mutation, Spec, State, Task, Update, UpdateChange, UpdateMutation,
};

/// The agent of an instance.
fn agent_of(state: &State, instance: u32) -> Option<&Agent> {
    state.agents.get(&AgentNo(instance))
}

/// Whether the agent of that number is there, up or not, and the job's.
pub(super) fn is_of(state: &State, spec: &JobSpec, instance: u32) -> bool {
    agent_of(state, instance).is_some_and(|agent| place::matches(spec, agent))
}

/// Whether the agent of that number is out of reach, or no more.
pub(super) fn is_away(state: &State, instance: u32) -> bool {
    agent_of(state, instance).is_none_or(|agent| agent.state != NodeState::Up)
}

/// Whether a task runs what its instance wanted once, no update is on its way to it, and it can be told to go. So it is
/// with tasks on agents that an update found away and that came back.
pub(super) fn is_outdated(state: &State, job: &Job, task: &Task) -> bool {
    let Some(wanted) = state.wanted_spec(job, task.instance) else { return false };
    let changing = job.changes.active().is_some_and(|update| update.is_in_progress(task.instance));
    let same = task.spec == wanted.id || state.spec_of(task).job.same_task(&wanted.job);
    !changing && !same && !is_away(state, task.instance)
}

/// Whether a task of the job belongs on the agent of that number, and may be made now.
pub(super) fn wants(state: &State, spec: &JobSpec, instance: u32) -> bool {
    agent_of(state, instance).is_some_and(|agent| agent.state == NodeState::Up && place::matches(spec, agent))
}

/// Whether the agent of that number is there and the job does not want it.
pub(super) fn unwanted(state: &State, spec: &JobSpec, instance: u32) -> bool {
    agent_of(state, instance).is_some_and(|agent| !place::matches(spec, agent))
}

/// How many agents the job wants, up or not.
pub(super) fn matching(state: &State, spec: &JobSpec) -> u64 {
    state.agents.values().filter(|agent| place::matches(spec, agent)).count() as u64
}

/// An agent is given up: what waits for room on it waits no more, until it is back.
pub(super) fn given_up(step: &mut Step, agent: AgentNo) {
    let state = step.state;
    for job in state.indexes().daemons.iter().filter_map(|id| state.jobs.get(id)) {
        let lives = state.tasks_of(job.id).slot(Timestamp(0), agent.0).filter_map(|id| state.tasks.get(&id));
        for task in lives.filter(|task| matches!(task.state(), TaskState::Pending | TaskState::Throttled)) {
            step.stop(task, Reason::AgentLost, "its node was given up");
        }
    }
}

/// Agents that came, came back, or changed: each gets its task, or loses it.
pub(super) fn tick(step: &mut Step) {
    let (state, live) = (step.state, step.live);
    if live.fresh.is_empty() {
        return;
    }
    for job in state.indexes().daemons.iter().filter_map(|id| state.jobs.get(id)) {
        if step.is_ended(job) {
            continue;
        }
        let advanced = advanced_now(step, job);
        for agent in &live.fresh {
            let Some(spec) = state.wanted_spec(job, agent.0) else { continue };
            // Those beyond are for the round over all.
            if agent.0 < job.settled && !advanced.contains(agent.0) {
                follow(step, job, spec, agent.0);
            }
        }
    }
}

/// Instances whose turn in an update has come in this very step: their next lives are the update's.
fn advanced_now(step: &Step, job: &Job) -> Instances {
    let advanced = step.mutations.iter().filter_map(|mutation| match mutation {
        Mutation::Update(UpdateMutation { job: of, what: UpdateChange::Advanced(instances) }) if *of == job.id => {
            Some(instances.iter())
        }
        _ => None,
    });
    advanced.flatten().collect()
}

fn follow(step: &mut Step, job: &Job, spec: &Spec, instance: u32) {
    let state = step.state;
    let newest = state.tasks_of(job.id).newest(Timestamp(0), instance).and_then(|id| state.tasks.get(&id));
    if let Some(task) = newest.filter(|task| step.is_living(task)) {
        if unwanted(state, &spec.job, instance) {
            step.stop(task, Reason::NotMatching, "the job's constraints no longer match its node");
        } else if is_outdated(state, job, task) {
            step.stop(task, Reason::Updated, "its node was away when its turn came");
        }
        return;
    }
    // Its next life is the update's, which is at it in this very tick.
    let is_changed = |update: &Update| update.is_rolling() && update.is_in_progress(instance);
    if job.changes.active().is_some_and(is_changed) {
        return;
    }
    // A life that ended with its agent, or for another version; one that ended by itself had its say in `retry`.
    let next = match newest {
        None => Some(Life::first(instance, Timestamp(0))),
        Some(task) if task.spec != spec.id => Some(Life::after(task)),
        Some(task) if matches!(step.state_of(task), TaskState::Lost | TaskState::Killed) => {
            Some(Life::again(step.state, task, spec))
        }
        Some(_) => None,
    };
    if let Some(life) = next.filter(|_| wants(state, &spec.job, instance)) {
        step.make_task(job.id, spec, life);
    }
}
