//! What a job waits for, how it ended, and what to tell whoever submits it. Rules: `model/flow.rs`.

use dawn_proto::v1::{self, DependsOn, JobKind, TaskState};
use dawn_proto::{JobKey, Timestamp};
use prost::Message;

use super::earlier;
use super::why::instant;
use crate::decide::never_permits;
use crate::model::{Dependency, Job, JobSpec, Near, Spec, Standing, State};

/// "succeeded", "failed" or "killed"; empty while the job goes on.
pub(super) fn result(state: &State, job: &Job) -> &'static str {
    match &job.ended {
        None => "",
        Some(ended) if ended.not_needed => "not_needed",
        Some(_) if has_succeeded(state, job) => "succeeded",
        Some(ended) if ended.by.is_empty() && !(tells_nothing(&ended.message) && only_killed(state, job)) => "failed",
        Some(_) => "killed",
    }
}

/// As `State::succeeded`, without a look at every task.
fn has_succeeded(state: &State, job: &Job) -> bool {
    let Some((spec, tally)) = state.current_spec(job).zip(state.tally(job.id)) else { return false };
    spec.job.may_succeed() && tally.count(Standing::Finished) == spec.job.instances
}

/// Whether users killed what did not finish.
fn only_killed(state: &State, job: &Job) -> bool {
    let Some(tally) = state.tally(job.id) else { return false };
    tally.count(Standing::Killed) > 0 && tally.count(Standing::Failed) + tally.count(Standing::Lost) == 0
}

/// "www/prod/web to succeed": what is waited for, in a sentence.
fn awaited(dependency: &Dependency) -> String {
    let end = match dependency.on {
        DependsOn::Success => "succeed",
        DependsOn::Failure => "fail",
        DependsOn::AnyEnd | DependsOn::Unspecified => "end",
    };
    format!("{} to {end}", dependency.job)
}

fn named(dependency: &Dependency) -> String {
    let on = match dependency.on {
        DependsOn::Success => "success",
        DependsOn::Failure => "failure",
        DependsOn::AnyEnd | DependsOn::Unspecified => "any end",
    };
    format!("{} ({on})", dependency.job)
}

/// Those of the jobs it waits for that have not ended.
fn open<'a>(state: &'a State, job: &Job, spec: &'a Spec) -> impl Iterator<Item = &'a Dependency> {
    let waits = job.waits_for_others(&spec.job);
    let is_open = |dependency: &&Dependency| state.job(&dependency.job).is_none_or(|job| job.ended.is_none());
    spec.job.flow.after.iter().filter(move |_| waits).filter(is_open)
}

/// What a job waits for, by its key.
pub fn waits_for(state: &State, key: &JobKey) -> Vec<String> {
    state.job(key).map_or_else(Vec::new, |job| waits_for_of(state, job))
}

pub(super) fn waits_for_of(state: &State, job: &Job) -> Vec<String> {
    state.current_spec(job).map_or_else(Vec::new, |spec| open(state, job, spec).map(named).collect())
}

/// Whether a job ended only since all of its instances had: earlier versions said that in words.
pub(super) fn tells_nothing(message: &str) -> bool {
    matches!(message, "" | "no instance is left to run")
}

/// Adds why instances are not there yet, and what placement alone can't say.
pub(super) fn explain(state: &State, job: &Job, classes: &mut Vec<v1::PendingClass>) {
    let Some(spec) = state.current_spec(job) else { return };
    let waiting = |summary: String, since_ms: i64| v1::PendingClass {
        state: TaskState::Pending.into(),
        summary,
        pending_since_ms: since_ms,
        ..Default::default()
    };
    let since_ms = job.current().map_or(0, |version| version.at.0);
    let open: Vec<String> = open(state, job, spec)
        .map(|dependency| match state.job(&dependency.job) {
            Some(_) => awaited(dependency),
            None => format!("{} (there is no such job yet)", awaited(dependency)),
        })
        .collect();
    if !open.is_empty() {
        classes.push(waiting(format!("waits for {}", open.join(", ")), since_ms));
    }
    if let Some(paused) = &job.flow.paused {
        let by = if paused.by.is_empty() { String::new() } else { format!(" by {}", paused.by) };
        let since = instant(paused.at);
        let summary = format!("is paused{by} since {since}; `dawn cron resume {}` lets it run again", job.key);
        classes.push(waiting(summary, 0));
    }
    if let Some(ended) = &job.ended {
        let how = result(state, job).replace('_', " ");
        let why = if tells_nothing(&ended.message) { String::new() } else { format!(": {}", ended.message) };
        let summary = format!("the job has ended ({how}{why}); `dawn job run` runs it again");
        classes.push(v1::PendingClass { state: TaskState::Finished.into(), ..waiting(summary, 0) });
    }
    let flow = &spec.job.flow;
    if flow.is_template && job.ended.is_none() {
        classes.push(waiting(format!("is a template; `dawn job dispatch {}` runs it", job.key), 0));
    }
    if let Some(most) = flow.max_running
        && job.ended.is_none()
        && job.settled < spec.job.instances
        && open.is_empty()
    {
        let left = spec.job.instances - job.settled;
        let (instances, wait) = if left == 1 { ("instance", "waits") } else { ("instances", "wait") };
        let summary = format!("{left} {instances} {wait} for others to end: at most {most} run at once (max_running)");
        classes.push(waiting(summary, since_ms));
    }
}

/// What to tell whoever submits the spec now, beside where it fits.
pub fn submit_notes(state: &State, spec: &JobSpec, now: Timestamp) -> Vec<String> {
    let mut notes = after_notes(state, spec);
    notes.extend(earlier::notes(state, spec, now));
    // invariant: it was made by encoding this message.
    notes.extend(v1::JobSpec::decode(&*spec.wire).ok().and_then(|wire| dawn_proto::validate::cannot_make_it(&wire)));
    if let Some(cron) = &spec.cron
        && cron.schedule.restricts_both_days()
    {
        notes.push("the schedule names days of the month and of the week: it fires on either".into());
    }
    notes.extend(never_permits(spec));
    notes.extend(near_nothing(state, spec));
    notes
}

/// Jobs that it must be near and that are not there.
fn near_nothing(state: &State, spec: &JobSpec) -> impl Iterator<Item = String> {
    let required = spec.affinities.iter().filter(|affinity| affinity.required && affinity.weight > 0);
    required.filter_map(|affinity| match &affinity.near {
        Near::Job { job, .. } if state.job(job).is_none() => {
            Some(format!("must run near tasks of {job}, and there is no such job yet"))
        }
        _ => None,
    })
}

/// What is to be known of the jobs that it is to follow.
fn after_notes(state: &State, spec: &JobSpec) -> Vec<String> {
    let before = state.job(&spec.key).filter(|job| job.ended.is_none());
    let before = before.and_then(|job| state.current_spec(job).map(|before| (job, before)));
    if let Some((job, before)) = before.filter(|(job, before)| is_updated(job, before, spec)) {
        let is_new = before.job.flow.after != spec.flow.after && !spec.flow.after.is_empty();
        let words = format!("an update does not wait: `after` counts when {} starts anew, after it has ended", job.key);
        return if is_new { vec![words] } else { Vec::new() };
    }
    let mut notes: Vec<String> = spec
        .flow
        .after
        .iter()
        .filter(|dependency| state.job(&dependency.job).is_none())
        .map(|dependency| format!("waits for {}, which is not there yet", dependency.job))
        .collect();
    for dependency in &spec.flow.after {
        let spec = state.job(&dependency.job).and_then(|job| state.current_spec(job));
        if spec.is_some_and(|spec| spec.job.goes_on() || spec.job.kind == JobKind::Cron) {
            notes.push(format!("waits for {}, which ends only when somebody kills it", dependency.job));
        }
    }
    notes
}

/// Whether submitting the spec changes a service that does not wait for others (any more).
fn is_updated(job: &Job, before: &Spec, spec: &JobSpec) -> bool {
    spec.kind.runs_for_ever() && before.job.kind == spec.kind && !job.waits_for_others(&before.job)
}
