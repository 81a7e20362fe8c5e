//! The journal against what agents and their kernels hold.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::{TaskState, words};

use super::{Promise, Verified};
use crate::model::{Agent, AgentNo, Inspected, Inspection, State, Task};

pub(super) fn check(state: &State, held: &BTreeMap<AgentNo, Inspection>, verified: &mut Verified) {
    for (no, inspection) in held {
        let Some(agent) = state.agents.get(no) else { continue };
        verified.count(Promise::Epoch);
        if inspection.epoch_seen > state.epoch {
            let text = format!("{} has obeyed epoch {}, this is {}", agent.id, inspection.epoch_seen, state.epoch);
            verified.find(Promise::Epoch, text);
        }
        for inspected in &inspection.tasks {
            intent(state, agent, inspected, verified);
        }
        for (task, processes) in &inspection.strays {
            verified.count(Promise::Intent);
            let processes = match processes {
                1 => "1 process".to_string(),
                processes => format!("{processes} processes"),
            };
            let text = format!("{}: {processes} in the group of {task}, which it does not hold", agent.id);
            verified.find(Promise::Intent, text);
        }
        running(state, agent, inspection, verified);
    }
    at_most_one(state, held, verified);
}

/// The task as the journal has it, if it has it there and living.
fn placed<'s>(state: &'s State, agent: &Agent, inspected: &Inspected) -> Option<&'s Task> {
    state.tasks.get(&inspected.task).filter(|task| task.held_on() == Some(agent.no))
}

fn intent(state: &State, agent: &Agent, inspected: &Inspected, verified: &mut Verified) {
    let task = placed(state, agent, inspected);
    if inspected.processes_total > 0 {
        verified.count(Promise::Intent);
        if task.is_none() {
            let has = match state.tasks.get(&inspected.task) {
                Some(task) => format!("the journal has it {}", words::of(task.state().plain_name())),
                None => "the journal does not know it".to_string(),
            };
            let text = format!("{}: {} has processes ({}), {has}", agent.hostname, inspected.task, pids(inspected));
            verified.find(Promise::Intent, text);
        }
        let key = task.map(|task| state.spec_of(task).job.key.to_string());
        if let Some(key) = key.filter(|key| !inspected.job.is_empty() && *key != inspected.job) {
            let (agent, task) = (&agent.hostname, inspected.task);
            let text =
                format!("{agent}: {task} has processes of {}, and the journal has it as one of {key}", inspected.job);
            verified.find(Promise::Intent, text);
        }
    }
    if inspected.stopping {
        verified.count(Promise::Stop);
        let lives = |task: &&Task| matches!(task.state(), TaskState::Starting | TaskState::Running);
        // Without its lease an agent stops what must not live twice by itself.
        if let Some(task) = task.filter(lives).filter(|task| !state.spec_of(task).job.at_most_one) {
            let text = format!(
                "{} stops {}, which the journal has {}",
                agent.hostname,
                task.id,
                words::of(task.state().plain_name())
            );
            verified.find(Promise::Stop, text);
        }
    }
}

fn pids(inspected: &Inspected) -> String {
    let shown: Vec<String> = inspected.pids.iter().take(4).map(|pid| format!("pid {pid}")).collect();
    shown.join(", ")
}

fn running(state: &State, agent: &Agent, inspection: &Inspection, verified: &mut Verified) {
    let held: BTreeMap<_, _> = inspection.tasks.iter().map(|inspected| (inspected.task, inspected)).collect();
    let tasks = state.indexes().tasks_on.get(&agent.no).into_iter().flatten().filter_map(|id| state.tasks.get(id));
    for task in tasks.filter(|task| task.state() == TaskState::Running) {
        verified.count(Promise::Held);
        let wrong = match held.get(&task.id) {
            None => "its agent does not hold it".to_string(),
            Some(held) if held.state != TaskState::Running => {
                format!("its agent has it {}", words::of(held.state.plain_name()))
            }
            Some(Inspected { executor: None, .. }) => "it has no executor".to_string(),
            Some(Inspected { executor: Some(pid), executor_lives: false, .. }) => {
                format!("its executor, pid {pid}, is dead")
            }
            Some(Inspected { processes_total: 0, .. }) => "it has no process".to_string(),
            Some(_) => continue,
        };
        verified.find(Promise::Held, format!("{} is RUNNING on {}: {wrong}", task.id, agent.id));
    }
}

fn at_most_one(state: &State, held: &BTreeMap<AgentNo, Inspection>, verified: &mut Verified) {
    let mut alive: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let inspected = held.values().flat_map(|inspection| &inspection.tasks);
    for inspected in inspected.filter(|inspected| inspected.processes_total > 0) {
        let Some(task) = state.tasks.get(&inspected.task) else { continue };
        if state.spec_of(task).job.at_most_one {
            alive.entry((task.job, task.run_at, task.instance)).or_default().insert(task.id);
        }
    }
    for ((job, _, instance), tasks) in alive {
        verified.count(Promise::AtMostOne);
        if tasks.len() > 1 {
            let key = state.jobs.get(&job).map_or_else(|| job.to_string(), |job| job.key.to_string());
            let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
            verified.find(Promise::AtMostOne, format!("{key}/{instance} lives as {}", tasks.join(" and ")));
        }
    }
}
