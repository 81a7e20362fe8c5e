//! Why instances are not there although none of them is pending: their nodes are out of reach, or a daemon job matches no node.

use std::collections::BTreeMap;

use dawn_proto::v1::{self, JobKind, TaskState};
use dawn_proto::{Timestamp, amounts};

use super::why::{fit_warnings, instant};
use crate::decide::place;
use crate::model::{AgentNo, Job, State, Task};

/// Adds the instances on nodes that are out of reach: on which node, since when, and when they are replaced. `held`: none is
/// replaced now, which is told elsewhere.
pub(super) fn explain(state: &State, job: &Job, held: bool, classes: &mut Vec<v1::PendingClass>) {
    let mut away: BTreeMap<(AgentNo, Option<i64>), Vec<&Task>> = BTreeMap::new();
    for task in state.living(job).filter(|task| task.state() == TaskState::Partitioned) {
        let Some(agent) = task.held_on() else { continue };
        away.entry((agent, replaced_at(state, task))).or_default().push(task);
    }
    for ((agent, replaced_at), tasks) in away {
        let mut instances: Vec<u32> = tasks.iter().map(|task| task.instance).collect();
        instances.sort_unstable();
        let pending_since_ms = tasks.iter().map(|task| task.since().0).min().unwrap_or_default();
        let summary = words(state, agent, tasks[0], if held { None } else { Some(replaced_at) });
        let state = TaskState::Partitioned.into();
        classes.push(v1::PendingClass { instances, state, pending_since_ms, summary, ..Default::default() });
    }
    classes.extend(matches_no_node(state, job));
}

fn replaced_at(state: &State, task: &Task) -> Option<i64> {
    let spec = &state.spec_of(task).job;
    (!spec.partition_wait).then(|| task.since().plus_ms(spec.partition_delay_ms).0)
}

/// `replaced_at`: None where it is told elsewhere; within it None where the job waits for the node.
fn words(state: &State, agent: AgentNo, task: &Task, replaced_at: Option<Option<i64>>) -> String {
    let (node, since) = state
        .agents
        .get(&agent)
        .map_or(("a node", task.since()), |agent| (agent.hostname.as_str(), agent.since.min(task.since())));
    let delay = amounts::duration(state.spec_of(task).job.partition_delay_ms);
    let then = match replaced_at {
        None => String::new(),
        Some(None) => "; it waits there until the node is back (partition.wait)".to_string(),
        Some(Some(at_ms)) if at_ms <= state.at.0 => "; it is replaced now".to_string(),
        Some(Some(at_ms)) => {
            format!("; it is replaced at {} (partition.delay is {delay})", instant(Timestamp(at_ms)))
        }
    };
    format!("node {node} is out of reach since {}{then}", instant(since))
}

/// A daemon job that is on no node since none matches.
fn matches_no_node(state: &State, job: &Job) -> Option<v1::PendingClass> {
    let spec = state.current_spec(job)?;
    let is_idle = spec.job.kind == JobKind::Daemon && job.ended.is_none() && state.tasks_of(job.id).living == 0;
    if !is_idle
        || job.waits_for_others(&spec.job)
        || state.agents.values().any(|agent| place::matches(&spec.job, agent))
    {
        return None;
    }
    let why = fit_warnings(place::could_ever_fit(state, &spec.job), state.agents.len());
    let summary = format!("runs on no node, since none matches: {}", why.join("; "));
    Some(v1::PendingClass { state: TaskState::Pending.into(), summary, ..Default::default() })
}
