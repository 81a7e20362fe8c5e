//! What Dawn's own stops leave of a job: drains heed it, and updates that are told to. Not here: stops that users ask for,
//! preemption (its own budget), failures.

use dawn_proto::amounts::count;
use dawn_proto::v1::{JobKind, Tier};
use dawn_proto::{TaskState, Timestamp};

use super::step::Step;
use crate::model::{Effect, Job, JobSpec, Sla, SlaPolicy, Spec, State, Task};

/// A coordinator's yes counts for so long.
const YES_MS: u64 = 30_000;
/// It is asked again about a task after so long.
const ASK_AGAIN_MS: u64 = 5_000;
/// A question without an answer is given up.
const ANSWER_WITHIN_MS: u64 = 15_000;
/// Open questions at most.
const OPEN: usize = 64;

/// What a job's policy says about the stop of one of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heed {
    Permits,
    /// For people.
    Forbids(String),
    Asks {
        url: String,
        status_key: String,
    },
}

/// Whether an instance with this task counts as up.
fn is_up(task: &Task, state: TaskState, duration_ms: u64, now: Timestamp) -> bool {
    state == TaskState::Running && task.state() == state && now.since_ms(task.since()) >= duration_ms
}

/// How many instances of a service that has a policy must stay up; None: it has none, or somebody is asked.
pub fn must_stay_up(spec: &JobSpec) -> Option<u32> {
    let policy = spec.sla.as_ref().filter(|_| spec.kind == JobKind::Service)?;
    (!matches!(policy.what, Sla::Coordinator { .. })).then(|| needed(spec))
}

fn policy(spec: &Spec) -> Option<&SlaPolicy> {
    spec.job.sla.as_ref().filter(|_| spec.job.kind == JobKind::Service)
}

/// What must be up. Without a policy a production service is left all but one instance, or one in twenty.
fn needed(spec: &JobSpec) -> u32 {
    let instances = spec.instances;
    match spec.sla.as_ref().filter(|_| spec.kind == JobKind::Service).map(|policy| &policy.what) {
        Some(Sla::Count(count)) => *count,
        Some(Sla::Percentage(percent)) => (u64::from(instances) * u64::from(*percent)).div_ceil(100) as u32,
        Some(Sla::Coordinator { .. }) => 0,
        None if spec.kind == JobKind::Service && spec.tier == Tier::Production => {
            instances - (instances / 20).max(1).min(instances)
        }
        None => 0,
    }
}

/// The policy's word, in a state where nothing is being decided.
pub fn heed(state: &State, job: &Job, task: &Task, now: Timestamp) -> Heed {
    let Some(spec) = state.current_spec(job) else { return Heed::Permits };
    let duration_ms = policy(spec).map_or(0, |policy| policy.duration_ms);
    let up = state.living(job).filter(|task| is_up(task, task.state(), duration_ms, now)).count();
    say(spec, is_up(task, task.state(), duration_ms, now), up as u32)
}

/// What is up of a job now, and what must be.
pub fn standing(state: &State, job: &Job, now: Timestamp) -> Option<(u32, u32)> {
    let spec = state.current_spec(job)?;
    let duration_ms = policy(spec)?.duration_ms;
    let up = state.living(job).filter(|task| is_up(task, task.state(), duration_ms, now)).count();
    Some((up as u32, needed(&spec.job)))
}

fn say(spec: &Spec, counts: bool, up: u32) -> Heed {
    if let Some(Sla::Coordinator { url, status_key }) = policy(spec).map(|policy| &policy.what) {
        return Heed::Asks { url: url.clone(), status_key: status_key.clone() };
    }
    let needed = needed(&spec.job);
    // One that does not count takes nothing away.
    if !counts || up > needed {
        return Heed::Permits;
    }
    let for_ms = policy(spec).map_or(0, |policy| policy.duration_ms);
    let since = if for_ms > 0 { format!(" for {}", dawn_proto::amounts::duration(for_ms)) } else { String::new() };
    Heed::Forbids(format!("{} has {} up{since}, {needed} must stay", spec.job.key, count(up, "instance")))
}

/// Whether the task may be stopped now; otherwise why not. May ask a coordinator.
pub(super) fn may_stop(step: &mut Step, job: &Job, task: &Task) -> Result<(), String> {
    let Some(spec) = step.state.current_spec(job) else { return Ok(()) };
    let duration_ms = policy(spec).map_or(0, |policy| policy.duration_ms);
    let (up, counts) = (up(step, job, duration_ms), counts(step, task, duration_ms));
    match say(spec, counts, up) {
        Heed::Permits => Ok(()),
        Heed::Forbids(why) => Err(why),
        Heed::Asks { url, status_key } => ask(step, task, url, status_key),
    }
}

fn counts(step: &Step, task: &Task, duration_ms: u64) -> bool {
    is_up(task, step.state_of(task), duration_ms, step.now.wall)
}

/// Counted once in a step, and kept by [`note`].
fn up(step: &mut Step, job: &Job, duration_ms: u64) -> u32 {
    if let Some(up) = step.up.get(&job.id) {
        return *up;
    }
    let up = step.state.living(job).filter(|task| counts(step, task, duration_ms)).count() as u32;
    step.up.insert(job.id, up);
    up
}

/// The task is about to be stopped.
pub(super) fn note(step: &mut Step, job: &Job, task: &Task) {
    let duration_ms = step.state.current_spec(job).and_then(|spec| policy(spec)).map_or(0, |policy| policy.duration_ms);
    if counts(step, task, duration_ms)
        && let Some(up) = step.up.get_mut(&job.id)
    {
        *up = up.saturating_sub(1);
    }
}

/// A coordinator's word, if there is a fresh one; asks it otherwise.
fn ask(step: &mut Step, task: &Task, url: String, status_key: String) -> Result<(), String> {
    let now_ms = step.now.mono_ms;
    let known = step.live.coordinated.get(&task.id);
    let said = known.and_then(|known| known.answer.clone());
    if let Some((at_ms, Ok(true))) = &said
        && now_ms.saturating_sub(*at_ms) < YES_MS
    {
        return Ok(());
    }
    let asked_ago_ms = known.map(|known| now_ms.saturating_sub(known.asked_ms));
    let open = known.is_some_and(|known| known.answer.is_none());
    let due = asked_ago_ms.is_none_or(|ago_ms| ago_ms >= if open { ANSWER_WITHIN_MS } else { ASK_AGAIN_MS });
    let asked_now = step.effects.iter().filter(|effect| matches!(effect, Effect::AskCoordinator { .. })).count();
    let busy = step.live.coordinated.values().filter(|known| known.answer.is_none()).count() + asked_now;
    let already =
        step.effects.iter().any(|effect| matches!(effect, Effect::AskCoordinator { task: of, .. } if *of == task.id));
    if due && busy < OPEN && !already {
        step.effects.push(Effect::AskCoordinator { task: task.id, url: url.clone(), status_key });
    }
    Err(match said {
        Some((_, Ok(_))) => format!("the coordinator {url} says no"),
        Some((_, Err(why))) => format!("the coordinator {url} gives no answer: {why}"),
        None => format!("the coordinator {url} was asked"),
    })
}
