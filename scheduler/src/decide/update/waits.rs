//! What an update that is under way waits for, said for people: a command of theirs, the health of the instances that are being
//! changed, or what forbids changing them. Not here: why an instance is pending (`place`).

use dawn_proto::v1::UpdateState;
use dawn_proto::{Timestamp, amounts, v1};

use super::judge::is_beside;
use crate::decide::sla::{Heed, heed, must_stay_up};
use crate::model::{Job, JobSpec, PlacedState, State, Status, Task, Update};

/// Instances that are named; more are counted.
const NAMED: usize = 5;

/// Said where it goes on by itself.
const NEXT_STEP: &str = "the scheduler's next step, within a second";

/// Empty when it is over.
pub fn waits(state: &State, job: &Job, update: &Update, now: Timestamp) -> String {
    let key = &job.key;
    match update.state {
        UpdateState::RollForwardPaused | UpdateState::RollBackPaused => format!("`dawn update resume {key}`"),
        UpdateState::RollForwardAwaitingPulse => format!("`dawn update pulse {key}`"),
        UpdateState::AwaitingPromotion if update.kind == v1::UpdateKind::Restart => {
            format!("`dawn update promote {key}`, or `dawn update abort {key}`")
        }
        UpdateState::AwaitingPromotion => format!("`dawn update promote {key}`, or `dawn update rollback {key}`"),
        UpdateState::RollBackAwaitingPulse => NEXT_STEP.into(),
        UpdateState::RollingForward | UpdateState::RollingBack => rolling(state, job, update, now),
        _ => String::new(),
    }
}

fn rolling(state: &State, job: &Job, update: &Update, now: Timestamp) -> String {
    if state.restores.behind {
        return "the journal, which is behind what nodes hold; nothing is changed until `dawn admin epoch raise`"
            .into();
    }
    if let Some((instance, why)) = held_by_sla(state, job, now) {
        return format!("permission of `sla`; {}", words_of_held(instance, &why));
    }
    let busy: Vec<u32> = update.in_progress().collect();
    if busy.is_empty() {
        return NEXT_STEP.into();
    }
    let away = busy.iter().find_map(|instance| Some((*instance, leaves(state, job, *instance)?)));
    let away = away.map(|(instance, how)| format!("; instance {instance} {how}")).unwrap_or_default();
    format!("instance {} to be healthy for {}{away}", shown(&busy), amounts::duration(update.policy.watch_ms))
}

fn shown(instances: &[u32]) -> String {
    let some: Vec<String> = instances.iter().take(NAMED).map(u32::to_string).collect();
    let more = if instances.len() > NAMED { format!(" and {} more", instances.len() - NAMED) } else { String::new() };
    format!("{}{more}", some.join(", "))
}

/// What else happens to the newest life of an instance, where its node is the cause.
fn leaves(state: &State, job: &Job, instance: u32) -> Option<String> {
    let task = state.tasks_of(job.id).newest(Default::default(), instance).and_then(|id| state.tasks.get(&id))?;
    let node = || task.status.place().and_then(|place| state.agents.get(&place.agent)).map(|agent| &agent.hostname);
    match &task.status {
        Status::Placed(PlacedState::Partitioned, _) => Some(format!("runs on node {}, which is out of reach", node()?)),
        Status::Placed(PlacedState::Draining, _) => {
            Some(format!("is being moved off node {}, which is drained", node()?))
        }
        Status::Placed(PlacedState::Preempting, _) => Some(format!("makes room for another task on node {}", node()?)),
        _ => None,
    }
}

pub fn words_of_held(instance: u32, why: &str) -> String {
    format!("instance {instance} may not be stopped: {why}")
}

/// The first instance that an update would stop next and that the job's SLA does not let it stop; and why, for people.
pub fn held_by_sla(state: &State, job: &Job, now: Timestamp) -> Option<(u32, String)> {
    let update = job.changes.active().filter(|update| update.policy.sla_aware && update.is_rolling())?;
    update.in_progress().find_map(|instance| {
        let goal = state.goal(job, update, instance);
        let made_for_it = |task: &Task| update.kind != v1::UpdateKind::Restart || task.id >= update.first_task;
        let is_new = |task: &&Task| goal.is_some_and(|goal| goal.id == task.spec) && made_for_it(task);
        let lives = || {
            let lives = state.tasks_of(job.id).slot(Default::default(), instance).filter_map(|id| state.tasks.get(&id));
            lives.filter(|task| !task.state().is_terminal())
        };
        let is_placed = |task: &&Task| {
            matches!(
                task.status,
                Status::Placed(PlacedState::Assigned | PlacedState::Starting | PlacedState::Running, _)
            ) && !is_new(task)
        };
        let old = lives().find(is_placed)?;
        // Beside it, the new one must be healthy first.
        let healthy = || lives().filter(is_new).any(|new| is_running_for(new, update.policy.watch_ms, now));
        if goal.is_some() && is_beside(&update.policy) && !healthy() {
            return None;
        }
        match heed(state, job, old, now) {
            Heed::Permits => None,
            Heed::Forbids(why) => Some((instance, why)),
            Heed::Asks { url, .. } => {
                Some((instance, format!("its coordinator {url} is asked, and has not permitted it")))
            }
        }
    })
}

fn is_running_for(task: &Task, ms: u64, now: Timestamp) -> bool {
    matches!(task.status, Status::Placed(PlacedState::Running, _)) && now.since_ms(task.since()) >= ms
}

/// Whether the job's SLA never lets an update go on that is told to heed it: all that is up must stay, and nothing new is
/// started beside it.
pub fn never_permits(spec: &JobSpec) -> Option<String> {
    let must_stay = must_stay_up(spec)?;
    let is_stuck = spec.update.sla_aware && !is_beside(&spec.update) && must_stay >= spec.instances;
    let has = match spec.instances {
        1 => "its only instance".to_string(),
        instances => format!("{must_stay} of its {instances} instances"),
    };
    is_stuck.then(|| {
        format!(
            "its `sla` keeps {has} up, so with `update.sla_aware` no update may stop one: give `update.surge`, or keep fewer up"
        )
    })
}
