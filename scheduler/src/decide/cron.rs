//! Cron jobs: runs begin by hand, by their schedule (`due`), or when the run before them ends.
//! One launch record per instant of the schedule, decided in the same batch as the run's tasks and before them.

mod due;

use std::collections::BTreeSet;

use dawn_proto::v1::{Overlap, Reason, TickOutcome};
use dawn_proto::{JobKey, Timestamp};

use super::step::{Life, Step};
use crate::model::{Answer, CronPolicy, Job, Mutation, Refusal, Spec, Ticked, answers, is_manual};

pub(super) use due::tick;

/// Starts a run now.
pub(super) fn start(step: &mut Step, key: &JobKey) -> Result<Answer, Refusal> {
    let (job, spec, cron) = cron_job(step, key)?;
    if !has_room(step, spec) {
        return Err(Refusal::Full { what: "tasks", have: step.state.tasks.len() });
    }
    let run_at = manual_instant(step, job);
    match overlap(step, job, cron, job.queued().is_some()) {
        TickOutcome::Launched => run(step, job, spec, run_at),
        TickOutcome::Queued => note(step, job, run_at, TickOutcome::Queued),
        _ => {
            let run_at = step.state.living(job).map(|task| task.run_at).max().unwrap_or_default();
            return Err(Refusal::RunAlive { key: key.clone(), run_at, at: cron.schedule.written(run_at) });
        }
    }
    Ok(Answer::CronStarted(answers::CronStarted { run_at }))
}

/// No more ticks; a run that lives goes on, its failures are not tried again.
pub(super) fn deschedule(step: &mut Step, key: &JobKey, author: &str) -> Result<Answer, Refusal> {
    let (job, ..) = cron_job(step, key)?;
    step.end_job(job.id, author, "descheduled");
    step.settle(job.id, Job::SETTLED);
    Ok(Answer::CronDescheduled(answers::CronDescheduled))
}

fn cron_job<'a>(step: &Step<'a>, key: &JobKey) -> Result<(&'a Job, &'a Spec, &'a CronPolicy), Refusal> {
    let job = step.state.job(key).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    let spec = step.state.current_spec(job).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    let cron = spec.job.cron.as_ref().ok_or_else(|| Refusal::NotCron { key: key.clone() })?;
    if job.ended.is_some() {
        return Err(Refusal::JobEnded { key: key.clone() });
    }
    Ok((job, spec, cron))
}

/// Now, or the next millisecond that is neither taken nor one a schedule may name.
fn manual_instant(step: &Step, job: &Job) -> Timestamp {
    let mut run_at = step.now.wall;
    let taken = |run_at| {
        step.state.tasks_of(job.id).slot(run_at, 0).next().is_some()
            || job.ticks.iter().any(|tick| tick.scheduled == run_at)
    };
    while !is_manual(run_at) || taken(run_at) {
        run_at = run_at.plus_ms(1);
    }
    run_at
}

/// The first of the runs that waited for the one before them to end.
pub(super) fn start_queued(step: &mut Step, job: &Job) {
    let Some(spec) = step.state.current_spec(job) else { return };
    let Some(cron) = &spec.job.cron else { return };
    let mut queued: Vec<Timestamp> = job.all_queued().map(|tick| tick.scheduled).collect();
    queued.sort_unstable();
    for scheduled in queued {
        if due::is_overdue(step, cron, scheduled) || !has_room(step, spec) {
            note(step, job, scheduled, TickOutcome::Missed);
        } else {
            return run(step, job, spec, scheduled);
        }
    }
}

/// What the overlap policy makes of another run now: LAUNCHED, QUEUED or SKIPPED_OVERLAP. May stop the living one. `is_full`: no
/// further run may wait.
fn overlap(step: &mut Step, job: &Job, cron: &CronPolicy, is_full: bool) -> TickOutcome {
    if step.living(job) == 0 {
        return TickOutcome::Launched;
    }
    match cron.overlap {
        Overlap::Allow => TickOutcome::Launched,
        Overlap::Queue if !is_full => TickOutcome::Queued,
        Overlap::Queue | Overlap::CancelNew | Overlap::Unspecified => TickOutcome::SkippedOverlap,
        Overlap::KillExisting => {
            for task in step.state.living(job) {
                step.stop(task, Reason::OverlapKill, "the next run is due");
            }
            // At most one waits: the latest.
            for queued in job.all_queued() {
                note(step, job, queued.scheduled, TickOutcome::SkippedOverlap);
            }
            if step.living(job) == 0 { TickOutcome::Launched } else { TickOutcome::Queued }
        }
    }
}

fn note(step: &mut Step, job: &Job, scheduled: Timestamp, outcome: TickOutcome) {
    step.mutations.push(Mutation::Ticked(Ticked { job: job.id, scheduled, outcome }));
}

/// The launch record, the run's tasks, and what is forgotten for them. In one batch, whatever the run's size: the record
/// without its tasks would be a run lost.
fn run(step: &mut Step, job: &Job, spec: &Spec, run_at: Timestamp) {
    let outcome = if is_manual(run_at) { TickOutcome::Manual } else { TickOutcome::Launched };
    note(step, job, run_at, outcome);
    for instance in 0..spec.job.instances {
        step.make_task(job.id, spec, Life::first(instance, run_at));
    }
    forget_old_runs(step, job);
}

fn forget_old_runs(step: &mut Step, job: &Job) {
    let state = step.state;
    let tasks =
        || state.tasks_of(job.id).slots.iter().filter_map(|(run_at, _, id)| Some((*run_at, state.tasks.get(id)?)));
    let living: BTreeSet<Timestamp> =
        tasks().filter(|(_, task)| step.is_living(task)).map(|(run_at, _)| run_at).collect();
    let mut ended: Vec<Timestamp> =
        tasks().map(|(run_at, _)| run_at).filter(|run_at| !living.contains(run_at)).collect();
    ended.dedup();
    let old = ended.len().saturating_sub(step.settings.kept_cron_runs);
    let Some(last_old) = old.checked_sub(1).and_then(|last| ended.get(last)) else { return };
    for (_, task) in tasks().filter(|(run_at, _)| run_at <= last_old && !living.contains(run_at)) {
        step.forget(task);
    }
}

fn has_room(step: &Step, spec: &Spec) -> bool {
    step.state.tasks.len().saturating_add(spec.job.instances as usize) <= step.settings.max_tasks
}
