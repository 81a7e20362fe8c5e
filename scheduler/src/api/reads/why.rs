//! Why tasks wait, in the words of the decision itself.

use dawn_proto::v1;
use dawn_proto::{JobKey, TaskState, Timestamp};

use super::{ReadError, absent, flow, port_holders};
use crate::decide::brake;
use crate::decide::place::{self, Explained, PlaceSettings};
use crate::decide::retry::refusals;
use crate::decide::{held_by_sla, words_of_held};
use crate::drive::LiveView;
use crate::model::{Job, JobSpec, Settings, State, Task};

/// Why a job's tasks wait, by class of equal answers. Takes time for every task there is.
///
/// # Errors
/// When there is no such job.
pub fn why(
    state: &State,
    live: &LiveView,
    settings: &PlaceSettings,
    cluster: &Settings,
    key: &JobKey,
) -> Result<v1::WhyResponse, ReadError> {
    let job = state.job(key).ok_or_else(|| ReadError::NoSuchJob(key.clone()))?;
    let classes = place::explain(state, settings, &|agent| live.is_connected(agent), job.id, live.now);
    let kept = place::stays_up(state, settings, &|agent| live.is_connected(agent), job.id, live.now);
    let mut classes: Vec<_> = classes.into_iter().chain(kept).map(pending_class).collect();
    classes.extend(held(state, job, live.now.wall));
    classes.iter_mut().for_each(|class| tell_failures(state, job, class));
    let mut classes = joined(classes);
    port_holders::tell(state, job, &mut classes);
    flow::explain(state, job, &mut classes);
    let held = held_by_brake(state, cluster, job);
    absent::explain(state, job, held.is_some(), &mut classes);
    classes.extend(held);
    Ok(v1::WhyResponse { classes, index: state.index })
}

/// Classes that read alike are one: versions that differ in the number of instances alone wait for the same.
fn joined(classes: Vec<v1::PendingClass>) -> Vec<v1::PendingClass> {
    let mut joined: Vec<v1::PendingClass> = Vec::new();
    for class in classes {
        let reads_alike = |one: &&mut v1::PendingClass| {
            one.state == class.state
                && one.summary == class.summary
                && !one.instances.is_empty()
                && !class.instances.is_empty()
        };
        match joined.iter_mut().find(reads_alike) {
            Some(one) => {
                one.instances.extend(class.instances);
                one.instances.sort_unstable();
                one.instances.dedup();
                one.pending_since_ms = one.pending_since_ms.min(class.pending_since_ms);
            }
            None => joined.push(class),
        }
    }
    joined
}

/// The instance that an update may not stop.
fn held(state: &State, job: &Job, now: Timestamp) -> Option<v1::PendingClass> {
    let (instance, why) = held_by_sla(state, job, now)?;
    let newest = state.tasks_of(job.id).newest(Default::default(), instance).and_then(|id| state.tasks.get(&id))?;
    Some(v1::PendingClass {
        instances: vec![instance],
        state: newest.state().into(),
        pending_since_ms: job.changes.active()?.progress.0,
        summary: words_of_held(instance, &why),
        ..Default::default()
    })
}

/// Instances that wait after failing say how often in a row, and those that a node would not start, which one. How each failed
/// last stands with its task, and is said there alone.
fn tell_failures(state: &State, job: &Job, class: &mut v1::PendingClass) {
    if class.state() != TaskState::Throttled {
        return;
    }
    let is_one = |task: &&Task| task.state() == TaskState::Throttled && class.instances.contains(&task.instance);
    let throttled =
        state.indexes().throttled.iter().filter_map(|(_, id)| state.tasks.get(id)).filter(|task| task.job == job.id);
    let throttled: Vec<&Task> = throttled.filter(is_one).collect();
    if let Some(summary) = throttled.iter().find_map(|task| refused(state, job, task)) {
        class.summary = summary;
        return;
    }
    let row = throttled.iter().map(|task| state.failures_with_this(task)).max().unwrap_or(0);
    if row > 1 {
        let most = if throttled.len() > 1 { "up to " } else { "" };
        class.summary += &format!(" {most}{row} times in a row");
    }
}

/// Instances on nodes that are out of reach, which are not replaced while the brake is on.
fn held_by_brake(state: &State, cluster: &Settings, job: &Job) -> Option<v1::PendingClass> {
    let brake = brake(state, cluster)?;
    let away = state.living(job).filter(|task| task.state() == TaskState::Partitioned);
    let (mut instances, since): (Vec<u32>, Vec<i64>) = away.map(|task| (task.instance, task.since().0)).unzip();
    instances.sort_unstable();
    let pending_since_ms = since.into_iter().min()?;
    let state = TaskState::Partitioned.into();
    Some(v1::PendingClass { instances, state, pending_since_ms, summary: brake.to_string(), ..Default::default() })
}

/// Of an instance that its node would not start, through no fault of its job.
fn refused(state: &State, job: &Job, task: &Task) -> Option<String> {
    let mut refusals = refusals(state, job, task.run_at, task.instance);
    let (life, _) = refusals.next()?;
    let place = life.status.place();
    let node = place.and_then(|place| state.agents.get(&place.agent)).map_or("a node", |agent| agent.hostname.as_str());
    let row = match refusals.count() + 1 {
        1 => String::new(),
        times => format!(" {times} times in a row"),
    };
    Some(format!(
        "waits because {node} did not start it{row}; it is tried again after growing pauses, there too where no other node \
         fits"
    ))
}

/// One answer as a message.
pub fn pending_class(explained: Explained) -> v1::PendingClass {
    let summary = summary(&explained);
    let veto =
        |veto: &place::Veto| v1::VetoCount { agents: veto.agents, text: veto.to_string(), kind: veto.kind.code() };
    v1::PendingClass {
        state: explained.state.into(),
        agents_total: explained.agents_total,
        vetoes: explained.vetoes.iter().map(veto).collect(),
        summary,
        pending_since_ms: explained.since.0,
        ready_at_ms: explained.ready_at.map_or(0, |ready_at| ready_at.0),
        instances: explained.instances,
        quota: explained.quota.map(|veto| v1::QuotaVeto {
            bound: veto.bound.to_string(),
            dimension: veto.dimension.into(),
            have: veto.have,
            used: veto.used,
            need: veto.need,
        }),
    }
}

/// The one-line answer. When an instance is tried again stands beside it.
fn summary(explained: &Explained) -> String {
    match (explained.state, explained.ready_at) {
        (TaskState::Throttled, Some(_)) => "waits after failing".to_string(),
        _ => explained.to_string(),
    }
}

/// To the second.
pub fn instant(at: Timestamp) -> String {
    crate::model::utc(at)
}

/// What to tell whoever submits the spec now.
pub fn submit_warnings(state: &State, spec: &JobSpec) -> Vec<String> {
    fit_warnings(place::could_ever_fit(state, spec), state.agents.len())
}

/// The same, from what is known of so many agents.
pub fn fit_warnings(fits: Result<(), Vec<place::Veto>>, agents: usize) -> Vec<String> {
    match fits {
        Ok(()) => Vec::new(),
        Err(_) if agents == 0 => vec!["there is no node yet; its tasks wait for one".into()],
        Err(vetoes) => {
            let reasons: Vec<_> = vetoes.iter().map(ToString::to_string).collect();
            let any = match agents {
                1 => "the only node even if it were empty".to_string(),
                agents => format!("any of the {agents} nodes even if they were empty"),
            };
            vec![format!("would not fit {any}: {}", reasons.join("; "))]
        }
    }
}
