//! What a job waits for, how it ended, and what to tell whoever submits it. Rules: `model/flow.rs`.

use dawn_proto::v1::{self, DependsOn, JobKind, TaskState};

use super::why::instant;
use crate::model::{Dependency, Job, JobSpec, Spec, Standing, State};

/// "succeeded", "failed" or "killed"; empty while the job goes on.
pub(super) fn result(state: &State, job: &Job) -> &'static str {
    match &job.ended {
        None => "",
        Some(ended) if ended.not_needed => "not_needed",
        Some(_) if has_succeeded(state, job) => "succeeded",
        Some(ended) if ended.by.is_empty() => "failed",
        Some(_) => "killed",
    }
}

/// As `State::succeeded`, without a look at every task.
fn has_succeeded(state: &State, job: &Job) -> bool {
    let Some((spec, tally)) = state.current_spec(job).zip(state.tally(job.id)) else { return false };
    let is_batch = spec.job.kind == JobKind::Batch && !spec.job.flow.is_template;
    is_batch && tally.count(Standing::Finished) == spec.job.instances
}

fn named(dependency: &Dependency) -> String {
    let on = match dependency.on {
        DependsOn::OnSuccess => "success",
        DependsOn::OnFailure => "failure",
        DependsOn::OnAnyEnd | DependsOn::Unspecified => "any end",
    };
    format!("{} ({on})", dependency.job)
}

/// Those of the jobs it waits for that have not ended.
fn open<'a>(state: &'a State, job: &Job, spec: &'a Spec) -> impl Iterator<Item = &'a Dependency> {
    let waits = job.waits_for_others(&spec.job);
    let is_open = |dependency: &&Dependency| state.job(&dependency.job).is_none_or(|job| job.ended.is_none());
    spec.job.flow.after.iter().filter(move |_| waits).filter(is_open)
}

pub(super) fn waits_for(state: &State, job: &Job) -> Vec<String> {
    state.current_spec(job).map_or_else(Vec::new, |spec| open(state, job, spec).map(named).collect())
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
            Some(_) => named(dependency),
            None => format!("{}, which is not there yet", named(dependency)),
        })
        .collect();
    if !open.is_empty() {
        classes.push(waiting(format!("waits for the end of {}", open.join(", ")), since_ms));
    }
    if let Some(paused) = &job.flow.paused {
        let by = if paused.by.is_empty() { String::new() } else { format!(" by {}", paused.by) };
        let since = instant(paused.at);
        let summary = format!("is paused{by} since {since}; `dawn cron resume {}` lets it run again", job.key);
        classes.push(waiting(summary, paused.at.0));
    }
    if let Some(ended) = &job.ended {
        let how = result(state, job).replace('_', " ");
        let why = if ended.message.is_empty() { String::new() } else { format!(": {}", ended.message) };
        let summary = format!("the job has ended ({how}{why}); `dawn job run` runs it again");
        classes.push(v1::PendingClass { state: TaskState::Finished.into(), ..waiting(summary, ended.at.0) });
    }
    let flow = &spec.job.flow;
    if flow.is_template && job.ended.is_none() {
        classes.push(waiting(format!("is a template; `dawn job dispatch {}` runs it", job.key), since_ms));
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
    for class in classes.iter_mut().filter(|class| flow.gang && class.agents_total > 0) {
        let all = class.instances.len();
        class.summary = format!("all {all} are placed at once or none is; {}", class.summary);
    }
}

/// What to tell whoever submits the spec now, beside where it fits.
pub fn submit_notes(state: &State, spec: &JobSpec) -> Vec<String> {
    let mut notes: Vec<String> = spec
        .flow
        .after
        .iter()
        .filter(|dependency| state.job(&dependency.job).is_none())
        .map(|dependency| format!("waits for {}, which is not there yet", dependency.job))
        .collect();
    for dependency in &spec.flow.after {
        let kind = state.job(&dependency.job).and_then(|job| state.current_spec(job)).map(|spec| spec.job.kind);
        if kind.is_some_and(|kind| kind.runs_for_ever() || kind == JobKind::Cron) {
            notes.push(format!("waits for {}, which ends only when somebody kills it", dependency.job));
        }
    }
    if let Some(cron) = &spec.cron
        && cron.schedule.restricts_both_days()
    {
        notes.push("the schedule names days of the month and of the week: it fires on either".into());
    }
    notes
}
