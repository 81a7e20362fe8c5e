//! What a story tells of a mutation, and of a job.

use dawn_proto::TaskState;

use super::stage::because;
use crate::model::{Instances, Job, JobEnded, Mutation, State, TaskMoved, Ticked, UpdateChange};

fn shown(instances: &Instances) -> String {
    let range = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    instances.ranges().iter().map(range).collect::<Vec<_>>().join(",")
}

/// One line, or nothing when nobody would ask. `state` has the mutation applied.
pub fn told(state: &State, mutation: &Mutation) -> Option<String> {
    Some(match mutation {
        Mutation::TaskMoved(TaskMoved { task, to, reason, .. }) => {
            let is_end = to.is_terminal() || to.is_stopping() || *to == TaskState::Partitioned;
            let task = state.tasks.get(task).filter(|_| is_end || *to == TaskState::Running)?;
            let spec = state.spec_of(task);
            let on = task.status.place().and_then(|place| state.agents.get(&place.agent));
            let on = on.map(|agent| format!(" on {}", agent.id)).unwrap_or_default();
            let (name, instance, version) = (spec.job.key.name(), task.instance, spec.version);
            format!("{name}/{instance} v{version} {}{}{on}", to.plain_name(), because(*reason))
        }
        Mutation::Update(update) => {
            let job = state.jobs.get(&update.job)?;
            let number = job.changes.updates.back().map_or(0, |update| update.number);
            let what = match &update.what {
                UpdateChange::Begun(begun) => {
                    format!("begins with {}, v{} to v{}", shown(&begun.instances), begun.from_version, begun.to_version)
                }
                UpdateChange::Advanced(instances) => format!("advances {}", shown(instances)),
                UpdateChange::Passed(instances) => format!("passes {}", shown(instances)),
                UpdateChange::GaveUp(instances) => format!("gives up {}", shown(instances)),
                UpdateChange::Kept { instances, spec } => {
                    let version = spec.and_then(|spec| state.specs.get(&spec)).map(|spec| format!("v{}", spec.version));
                    format!("keeps {} as {}", shown(instances), version.unwrap_or("nothing".into()))
                }
                UpdateChange::Moved { to, message, .. } if message.is_empty() => to.plain_name().to_string(),
                UpdateChange::Moved { to, message, .. } => format!("{}: {message}", to.plain_name()),
                UpdateChange::Promoted => "is promoted".into(),
                UpdateChange::Replaced { .. } => {
                    let version = job.versions.back()?.version;
                    return Some(format!("{} is replaced by v{version}", job.key.name()));
                }
                UpdateChange::Pulsed | UpdateChange::Group(_) => return None,
            };
            format!("{} update {number} {what}", job.key.name())
        }
        Mutation::Upkeep(upkeep) => {
            let agent = state.agents.get(&upkeep.agent)?;
            let mode = upkeep.upkeep.as_ref().map_or("NONE", |upkeep| upkeep.mode.plain_name());
            format!("{} {mode}", agent.id)
        }
        Mutation::Ticked(Ticked { job, outcome, .. }) => {
            format!("{} tick {}", state.jobs.get(job)?.key.name(), outcome.plain_name())
        }
        Mutation::JobEnded(JobEnded { job, .. }) => format!("{} ended", state.jobs.get(job)?.key.name()),
        _ => return None,
    })
}

/// Where a job stands: its version, its update, and what each instance runs.
pub fn standing(state: &State, job: &Job) -> Vec<String> {
    let version = job.current().map_or(0, |current| current.version);
    let ended = if job.ended.is_some() { ", ended" } else { "" };
    let mut lines = vec![format!("{}: version {version}{ended}", job.key.name())];
    if let Some(update) = job.changes.updates.back() {
        lines.push(format!("update {}: {}", update.number, update.state.plain_name()));
    }
    let mut runs: Vec<(u32, u32, &str)> = Vec::new();
    for task in state.living(job) {
        runs.push((task.instance, state.spec_of(task).version, task.state().plain_name()));
    }
    runs.sort_unstable();
    let ticks = job.ticks.iter().map(|tick| (tick.scheduled.0 / 1000 % 86_400, tick.outcome.plain_name()));
    lines.extend(ticks.map(|(at_s, outcome)| format!("tick {:02}:{:02} {outcome}", at_s / 3600, at_s / 60 % 60)));
    lines.extend(runs.iter().map(|(instance, version, state)| format!("{instance} v{version} {state}")));
    lines
}
