//! What the clock makes due: every instant of a schedule up to now is decided once, run or not.

use std::collections::VecDeque;

use dawn_proto::Timestamp;
use dawn_proto::v1::{Misfire, Overlap, TickOutcome};

use super::{has_room, note, overlap, run};
use crate::decide::step::Step;
use crate::model::{CronPolicy, Job, JobId, Spec, Tick, is_manual};

/// Most instants of one schedule looked at in one step; the next tick goes on.
const CATCH_UP: usize = 10_000;

pub(in crate::decide) fn tick(step: &mut Step) {
    if step.live.cron_hold.is_some_and(|hold| step.now.wall < hold.until) {
        return;
    }
    for (_, id) in step.state.indexes().cron_due.range(..=(step.now.wall, JobId(u32::MAX))) {
        if step.is_full() {
            return;
        }
        let Some(job) = step.state.jobs.get(id) else { continue };
        let Some(spec) = step.state.current_spec(job) else { continue };
        if let Some(cron) = &spec.job.cron
            && !step.is_ended(job)
        {
            decide_due(step, job, spec, cron);
        }
    }
}

/// The latest instants that are due and undecided, oldest first; and whether there are more still. Of those long missed
/// only as many are looked at one by one as are kept.
fn due(step: &Step, job: &Job, cron: &CronPolicy) -> (VecDeque<Timestamp>, bool) {
    let kept = Job::KEPT_TICKS.max(cron.misfire_limit as usize);
    let jitter_ms = cron.jitter_of(&job.key);
    let (mut from, mut due) = (step.state.schedule_from(job).unwrap_or(step.now.wall), VecDeque::new());
    for _ in 0..CATCH_UP {
        match cron.schedule.next_after(from) {
            Some(next) if next.plus_ms(jitter_ms) <= step.now.wall => {
                due.push_back(next);
                from = next;
            }
            _ => return (due, false),
        }
        if due.len() > kept {
            due.pop_front();
        }
    }
    (due, true)
}

fn decide_due(step: &mut Step, job: &Job, spec: &Spec, cron: &CronPolicy) {
    let (due, more) = due(step, job, cron);
    let jitter_ms = cron.jitter_of(&job.key);
    let is_late = |at: &Timestamp| is_late(step, at.plus_ms(jitter_ms));
    let late = due.iter().filter(|at| is_late(at)).count();
    let first_run = match cron.misfire {
        // Not at the end yet: what is latest, and so what is to run, shows only there.
        _ if more => due.len(),
        Misfire::All => late.saturating_sub(cron.misfire_limit as usize),
        Misfire::Once => late.saturating_sub(1),
        _ => late,
    };
    let mut is_queued = job.queued().is_some();
    let mut made_up = false;
    // Runs that were missed wait beside those that are due in time, of which as many may wait as would be made up for.
    let is_all = cron.misfire == Misfire::All;
    let counts = |tick: &&Tick| {
        !is_all || tick.decided.since_ms(tick.scheduled.plus_ms(jitter_ms)) <= step.settings.cron_late_ms
    };
    let mut waiting = job.all_queued().filter(counts).count();
    let most_waiting = if is_all { cron.misfire_limit.max(1) as usize } else { 1 };
    for (position, at) in due.iter().enumerate() {
        if step.state.has_run(job, *at) {
            // Under a clock that was ahead, and was set right since.
            note(step, job, *at, TickOutcome::Launched);
            continue;
        }
        let outcome = if position < first_run || is_overdue(step, cron, *at) || !has_room(step, spec) {
            TickOutcome::Missed
        } else if cron.overlap == Overlap::KillExisting && position + 1 < due.len() {
            // The one after it would kill it at once.
            if position < late { TickOutcome::Missed } else { TickOutcome::SkippedOverlap }
        } else if position < late && is_all && !matches!(cron.overlap, Overlap::Allow | Overlap::KillExisting) {
            // Runs that were missed follow one another, whatever is made of one that is due while another lives.
            if step.living(job) == 0 && !is_queued { TickOutcome::Launched } else { TickOutcome::Queued }
        } else if position >= late
            && cron.overlap == Overlap::CancelNew
            && follows_made_up(step, job, cron, *at, made_up)
        {
            // It runs after what is made up for.
            if waiting < most_waiting { TickOutcome::Queued } else { TickOutcome::SkippedOverlap }
        } else {
            overlap(step, job, cron, waiting >= most_waiting)
        };
        made_up |= position < late && matches!(outcome, TickOutcome::Launched | TickOutcome::Queued);
        is_queued |= outcome == TickOutcome::Queued;
        waiting += usize::from(outcome == TickOutcome::Queued && (!is_all || position >= late));
        match outcome {
            TickOutcome::Launched => run(step, job, spec, *at),
            outcome => note(step, job, *at, outcome),
        }
        // A run is whole, but the next tick goes on with the next one.
        if step.is_full() {
            return;
        }
    }
}

/// Whether nothing lives but runs that are made up for, and began after this instant was due: while a new leader's cron waited.
/// No run lived at its time, so none cancels it. `made_up`: one of them was decided in this step.
fn follows_made_up(step: &Step, job: &Job, cron: &CronPolicy, at: Timestamp, made_up: bool) -> bool {
    let jitter_ms = cron.jitter_of(&job.key);
    let fires = at.plus_ms(jitter_ms);
    let began_later = |tick: &Tick| {
        let late_ms = tick.decided.since_ms(tick.scheduled.plus_ms(jitter_ms));
        tick.decided > fires && late_ms > step.settings.cron_late_ms && !is_manual(tick.scheduled)
    };
    let mut living = step.state.living(job).filter(|task| step.is_living(task)).peekable();
    (made_up || living.peek().is_some())
        && step.living(job) > 0
        && living.all(|task| job.ticks.iter().any(|tick| tick.scheduled == task.run_at && began_later(tick)))
}

/// Whether an instant is decided too late to count as in time. One that was due while a new leader's cron waited is not late
/// for that.
fn is_late(step: &Step, fires: Timestamp) -> bool {
    let late_ms = step.settings.cron_late_ms;
    let held = step.live.cron_hold.filter(|hold| fires.plus_ms(late_ms) >= hold.from);
    step.now.wall.since_ms(held.map_or(fires, |hold| hold.until.max(fires))) > late_ms
}

/// Whether it is too late to start the run of that instant.
pub(super) fn is_overdue(step: &Step, cron: &CronPolicy, scheduled: Timestamp) -> bool {
    cron.starting_deadline_ms.is_some_and(|deadline_ms| step.now.wall.since_ms(scheduled) > deadline_ms)
}
