//! Daemon jobs: one task on each agent that is up and that the job's constraints match. An instance is numbered as its
//! agent is, so that the two belong together for good. Not here: the first round over all agents (`settle`).

use dawn_proto::v1::{NodeState, Reason};
use dawn_proto::{TaskState, Timestamp};

use super::place;
use super::step::{Life, Step};
use crate::model::{Agent, AgentNo, Job, JobSpec, Spec, State};

/// The agent of an instance.
fn agent_of(state: &State, instance: u32) -> Option<&Agent> {
    state.agents.get(&AgentNo(instance))
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

/// Agents that came, came back, or changed: each gets its task, or loses it.
pub(super) fn tick(step: &mut Step) {
    let (state, live) = (step.state, step.live);
    for job in state.daemons.iter().filter_map(|id| state.jobs.get(id)) {
        let Some(spec) = state.current_spec(job).filter(|_| !step.is_ended(job)) else { continue };
        for agent in &live.fresh {
            // Those beyond are for the round over all.
            if agent.0 < job.settled && !job.stopped.contains(&agent.0) {
                follow(step, job, spec, agent.0);
            }
        }
    }
}

fn follow(step: &mut Step, job: &Job, spec: &Spec, instance: u32) {
    let state = step.state;
    let newest = job.newest(Timestamp(0), instance).and_then(|id| state.tasks.get(&id));
    if let Some(task) = newest.filter(|task| step.is_living(task)) {
        if unwanted(state, &spec.job, instance) {
            step.stop(task, Reason::NotMatching, "the job's constraints no longer match its node");
        }
        return;
    }
    // A life that ended with its agent, or for another version; one that ended by itself had its say in `retry`.
    let next = match newest {
        None => Some(Life::first(instance, Timestamp(0))),
        Some(task) if task.spec != spec.id => Some(Life::after(task)),
        Some(task) if matches!(step.state_of(task), TaskState::Lost | TaskState::Killed) => Some(Life::after(task)),
        Some(_) => None,
    };
    if let Some(life) = next.filter(|_| wants(state, &spec.job, instance)) {
        step.make_task(job.id, spec, life);
    }
}
