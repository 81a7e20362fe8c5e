//! What is said of the steps of a task whose records have a reason alone: which node was lost, and which update, to what version,
//! made a task or stopped it.

use dawn_proto::v1::{Reason, UpdateState};

use crate::model::{State, Task, Transition, Update, end_words};

/// What is said of the step of a task that is the `at`th of its history; `own` is what its record says.
pub(super) fn said_of(state: &State, task: &Task, at: usize, own: String) -> String {
    let Some(step) = task.history.get(at) else { return own };
    if at == 0 && own.is_empty() {
        return said_of_start(state, task, step.reason).unwrap_or_default();
    }
    if step.to.is_stopping() {
        return said_of_stop(state, task, step).unwrap_or(own);
    }
    // It was told to stop, and has.
    let told = |before: &&Transition| before.to.is_stopping() && before.reason == step.reason;
    match task.history[..at].iter().rfind(told).filter(|_| step.to.is_terminal() && own.is_empty()) {
        Some(stop) => said_of_stop(state, task, stop).unwrap_or_else(|| stop.message.to_string()),
        None if own.is_empty() && step.to.is_terminal() => said_of_stop(state, task, step).unwrap_or(own),
        None => own,
    }
}

/// Why a task was made: for a version, or in place of the life before.
fn said_of_start(state: &State, task: &Task, reason: Reason) -> Option<String> {
    let version = state.spec_of(task).version;
    let before = || {
        let slot = state.tasks_of(task.job).slot(task.run_at, task.instance).rev();
        slot.filter(|id| *id < task.id).find_map(|id| state.tasks.get(&id))
    };
    let host = |life: &Task| {
        let agent = life.status.place().and_then(|place| state.agents.get(&place.agent));
        agent.map(|agent| agent.hostname.clone()).unwrap_or_default()
    };
    match reason {
        // Who killed the life before is told of that.
        Reason::None | Reason::Backoff | Reason::UserRequest => None,
        Reason::Restored => Some("the journal was restored from a backup".to_string()),
        Reason::Updated => Some(format!("made for version {version}")),
        Reason::RolledBack => Some(format!("made for version {version}, to which an update went back")),
        _ => {
            let life = before()?;
            let (id, host) = (life.id, host(life));
            let node = if host.is_empty() { "its node".to_string() } else { format!("its node {host}") };
            Some(match reason {
                Reason::AgentLost => format!("in place of {id}, since {node} was lost"),
                Reason::AgentRebooted => format!("in place of {id}, since {node} was rebooted"),
                Reason::NotOnAgent => format!("in place of {id}, which {node} did not have"),
                Reason::NodeDrain => format!("in place of {id}, since {node} was to be empty"),
                Reason::Preempted => format!("in place of {id}, which made room for others on {node}"),
                Reason::Restarted => format!("in place of {id}, which was restarted"),
                _ => format!("in place of {id}: {}", life.history.last().map(end_words)?),
            })
        }
    }
}

/// Why a task was stopped; None: the step says it itself, or only its reason is known.
fn said_of_stop(state: &State, task: &Task, step: &Transition) -> Option<String> {
    let updates = || state.jobs.get(&task.job).into_iter().flat_map(|job| &job.changes.updates);
    let number = step.message.strip_prefix("update ").and_then(|number| number.parse::<u32>().ok());
    let update = number.and_then(|number| updates().find(|update| update.number == number));
    match (step.reason, update) {
        (Reason::Updated, Some(update)) => Some(format!("stopped by {}", named(update))),
        (Reason::RolledBack, Some(update)) => Some(format!("stopped, since {} went back", named(update))),
        (Reason::Restarted, Some(update)) => Some(format!("stopped by a restart (update {})", update.number)),
        (Reason::ScaledDown, Some(update)) => Some(format!("{} leaves no such instance", named(update))),
        (Reason::NotMatching, Some(update)) => Some(format!("{} leaves no instance on its node", named(update))),
        (Reason::Updated, None) if step.message.is_empty() => {
            let over = updates().rfind(|update| !update.is_active() && update.began <= step.at)?;
            Some(format!("its instance keeps another life, since {} {}", named(over), ended(over.state)))
        }
        (Reason::ScaledDown, None) if step.message.is_empty() => Some("the job was scaled down".to_string()),
        (Reason::NotMatching, None) if step.message.is_empty() => {
            Some("the job's constraints do not match its node any more".to_string())
        }
        (Reason::Deadline, None) if step.message.is_empty() => Some("its job ended without it".to_string()),
        _ => None,
    }
}

fn named(update: &Update) -> String {
    format!("update {} to version {}", update.number, update.to_version)
}

fn ended(state: UpdateState) -> &'static str {
    match state {
        UpdateState::RolledBack => "was rolled back",
        UpdateState::Aborted => "was aborted",
        UpdateState::Failed => "failed",
        UpdateState::Error => "could not be rolled back",
        _ => "is over",
    }
}
