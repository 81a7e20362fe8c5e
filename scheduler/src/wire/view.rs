//! Tasks and agents as clients see them.

use dawn_proto::v1::{self, Reason};
use dawn_proto::{Resources, TaskState, Timestamp};

use super::exit::exit_to_wire;
use super::parse::{attributes_to_wire, ports_to_wire, taken_ports_to_wire};
use super::steps;
use crate::model::{Agent, ENDED_ALTHOUGH_TO_GO_ON, JobSpec, Place, State, Status, Task, Transition, Waiting};

/// The task's ports with their names.
pub fn assigned_ports(spec: &JobSpec, place: &Place) -> Vec<v1::AssignedPort> {
    let named = spec.ports.iter().zip(place.ports.iter());
    named.map(|(port, number)| v1::AssignedPort { name: port.name.clone(), port: u32::from(*number) }).collect()
}

/// Numbers of the gpus it has, or has a share of.
pub fn assigned_devices(spec: &JobSpec, place: &Place) -> Vec<u32> {
    place.numbers(spec.ports.len()).1.iter().map(|device| u32::from(*device)).collect()
}

/// A task with its job's key, its place and its history.
pub fn task_view(state: &State, task: &Task) -> v1::Task {
    let spec = state.spec_of(task);
    let place = task.status.place();
    let agent = place.and_then(|place| state.agents.get(&place.agent));
    let ready_at = match task.status {
        Status::Waiting(Waiting::Throttled { ready_at }) => ready_at,
        _ => Timestamp(0),
    };
    v1::Task {
        id: task.id.0,
        job: Some((&spec.job.key).into()),
        instance: task.instance,
        attempt: task.attempt,
        version: spec.version,
        state: task.state().into(),
        agent_id: agent.map(|agent| agent.id.to_string()).unwrap_or_default(),
        hostname: agent.map(|agent| agent.hostname.clone()).unwrap_or_default(),
        ports: place.map(|place| assigned_ports(&spec.job, place)).unwrap_or_default(),
        history: (0..task.history.len()).map(|at| step_view(state, task, at)).collect(),
        run_at_ms: task.run_at.0,
        ready_at_ms: ready_at.0,
        failures: state.failures_with_this(task),
        restarts: task.restarts,
        gpus: place.map(|place| assigned_devices(&spec.job, place)).unwrap_or_default(),
        last_failure: state.last_failure(task).map(|(life, end)| failure_view(state, life, end)),
    }
}

/// What an executor says of a task that ran for too long, without how long it may run.
const TOO_LONG: &str = "ran longer than allowed";

/// What is said of an end. The scheduler, which ended the task, knows how long it might run.
fn said_with_limit(task: &Task, end: &Transition) -> String {
    let stops = |step: &&Transition| step.to == TaskState::Killing && step.reason == Reason::MaxRunTime;
    let stop = task.history.iter().rev().find(stops).filter(|stop| !stop.message.is_empty());
    match (end.message.strip_prefix(TOO_LONG), stop) {
        (Some(rest), Some(stop)) if end.reason == Reason::MaxRunTime => format!("{}{rest}", stop.message),
        _ => end.message.to_string(),
    }
}

fn failure_view(state: &State, life: &Task, end: &Transition) -> v1::TaskFailure {
    let agent = life.status.place().and_then(|place| state.agents.get(&place.agent));
    let (exit_code, signal) = exit_to_wire(end.exit);
    let message = match end.to {
        TaskState::Finished if end.message.is_empty() => ENDED_ALTHOUGH_TO_GO_ON,
        _ => &*said_with_limit(life, end),
    };
    v1::TaskFailure {
        task_id: life.id.0,
        attempt: life.attempt,
        hostname: agent.map(|agent| agent.hostname.clone()).unwrap_or_default(),
        at_ms: end.at.0,
        reason: end.reason.into(),
        message: message.into(),
        exit_code,
        signal,
        version: state.spec_of(life).version,
    }
}

fn step_view(state: &State, task: &Task, at: usize) -> v1::Transition {
    let step = &task.history[at];
    let message = steps::said_of(state, task, at, said_with_limit(task, step));
    v1::Transition { message, ..transition_to_wire(step) }
}

pub(super) fn transition_to_wire(transition: &Transition) -> v1::Transition {
    let (exit_code, signal) = exit_to_wire(transition.exit);
    v1::Transition {
        state: transition.to.into(),
        at_ms: transition.at.0,
        reason: transition.reason.into(),
        message: transition.message.to_string(),
        exit_code,
        signal,
    }
}

/// An agent with what its tasks take. `last_heard` is not part of the durable state.
pub fn node_view(state: &State, agent: &Agent, last_heard: Option<Timestamp>) -> v1::Node {
    let mut used = Resources::default();
    let held = state.indexes().tasks_on.get(&agent.no);
    for task in held.into_iter().flatten().filter_map(|id| state.tasks.get(id)) {
        used.add(&state.spec_of(task).job.demand);
    }
    let avoided = agent.avoided.as_ref();
    v1::Node {
        agent_id: agent.id.to_string(),
        hostname: agent.hostname.clone(),
        state: agent.state.into(),
        attributes: attributes_to_wire(&agent.attributes),
        total: Some((&agent.total).into()),
        used: Some((&used).into()),
        ports: ports_to_wire(&agent.ports),
        tasks: held.map_or(0, |tasks| u32::try_from(tasks.len()).unwrap_or(u32::MAX)),
        last_heard_ms: last_heard.map_or(0, |heard| heard.0),
        registered_ms: agent.registered_at.0,
        version: agent.version.clone(),
        isolation: agent.isolation.clone(),
        avoided_until_ms: avoided.map_or(0, |avoided| avoided.until.0),
        avoided_why: avoided.map(|avoided| avoided.why.clone()).unwrap_or_default(),
        maintenance: agent.upkeep.as_ref().map(super::upkeep_to_wire),
        declared_down: agent.declared_down.is_some(),
        taken_ports: taken_ports_to_wire(&agent.taken_ports),
    }
}
