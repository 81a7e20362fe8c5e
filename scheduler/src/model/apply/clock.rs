//! Applies a shift of Dawn's clock. Every field is named, so that a new instant can't be forgotten here: each moves along,
//! but those of a schedule (`run_at`, `scheduled`), which are the wall clock's.

use dawn_proto::v1::TickOutcome;
use dawn_proto::{TaskId, Timestamp};

use super::super::{
    Agent, Changes, Ended, Flow, Job, JobId, KeptOff, Paused, Shift, State, Status, Task, Transition, Update, Waiting,
};
use super::super::{BrakeRelease, DeclaredDown, Upkeep, Version, index::Entries};

/// What became due so shortly before a shift may not have been decided yet.
const JUST_DUE_MS: i64 = 1_000;

impl State {
    pub(super) fn shift_clock(&mut self, shift: Shift, at: Timestamp) {
        self.shift_tasks(shift, at);
        let jobs: Vec<JobId> = self.truth.jobs.keys().copied().collect();
        for id in jobs {
            self.indexes.keep_off(&self.truth, id, false);
            self.change_job(id, |job| {
                shift_job(job, shift, at);
                strike(job, at);
            });
            self.indexes.keep_off(&self.truth, id, true);
            self.indexes.recount(&self.truth, id);
        }
        let agents: Vec<_> = self.truth.agents.keys().copied().collect();
        for no in agents {
            shift_agent(self.agent_mut(no), shift, at);
        }
        if let Some(BrakeRelease { until, for_ms, by: _ }) = &mut self.truth.brake_release {
            let base = Timestamp(until.0.saturating_sub_unsigned(*for_ms));
            *until = awaited(*until, base, shift, at);
        }
        for restored in &mut self.truth.restores.kept {
            restored.at = noted(restored.at, shift, at);
        }
    }

    fn shift_tasks(&mut self, shift: Shift, at: Timestamp) {
        let tasks: Vec<TaskId> = self.truth.tasks.keys().copied().collect();
        for id in tasks {
            let Some(task) = self.truth.tasks.get_mut(&id) else { continue };
            let spec = self.truth.specs.get(&task.spec).unwrap_or_else(|| panic!("{} of {id} is gone", task.spec));
            let (before, job) = (Entries::of(task, spec), task.job);
            shift_task(task, shift, at);
            let after = Entries::of(task, spec);
            self.indexes.change_task(&self.truth, id, job, before, after);
        }
    }
}

/// An instant at which something was noted: never later than now, whoever noted it by whatever clock.
fn noted(instant: Timestamp, shift: Shift, at: Timestamp) -> Timestamp {
    shift.moved(instant).min(at)
}

/// An instant that was reckoned from one at which it was noted: as far from that as before.
fn awaited(instant: Timestamp, base: Timestamp, shift: Shift, at: Timestamp) -> Timestamp {
    let wrong_ms = shift.moved(base).since_ms(at);
    let moved = shift.moved_with(instant, base);
    Timestamp(moved.0.saturating_sub_unsigned(wrong_ms))
}

fn shift_task(task: &mut Task, shift: Shift, at: Timestamp) {
    let Task { id: _, job: _, spec: _, instance: _, attempt: _, failures: _, restarts: _, run_at: _, status, history } =
        task;
    let since = history.last().map_or(Timestamp(0), |transition| transition.at);
    match status {
        Status::Waiting(Waiting::Throttled { ready_at }) => *ready_at = awaited(*ready_at, since, shift, at),
        Status::Waiting(Waiting::Pending { nominated: Some((_, until)) }) => *until = shift.moved(*until),
        _ => {}
    }
    for Transition { to: _, at: moved_at, reason: _, message: _, exit: _ } in history {
        *moved_at = noted(*moved_at, shift, at);
    }
}

fn shift_job(job: &mut Job, shift: Shift, at: Timestamp) {
    let Job { created, versions, ended, flow, changes, kept_off, .. } = job;
    // The rest of a job: its key, its tasks and what is counted of them; `ticks` are the schedule's (`strike`).
    let move_ = |instant: &mut Timestamp| *instant = noted(*instant, shift, at);
    for KeptOff { agent: _, spec: _, reason: _, fault_of: _, failures: _, until } in kept_off {
        // What it was reckoned from is not kept.
        *until = if shift.after == Timestamp(0) { shift.moved(*until) } else { *until };
    }
    move_(created);
    for Version { version: _, spec: _, at, author: _, message: _, was_healthy: _, replaces: _ } in versions {
        move_(at);
    }
    if let Some(Ended { at, by: _, message: _, not_needed: _ }) = ended {
        move_(at);
    }
    let Flow { released: _, paused, resumed_at, dispatches: _ } = flow;
    if let Some(Paused { at, by: _ }) = paused {
        move_(at);
    }
    move_(resumed_at);
    let Changes { restored: _, pins: _, updates } = changes;
    for Update { began, pulsed, progress, events, .. } in updates {
        [began, pulsed, progress].into_iter().for_each(move_);
        events.iter_mut().for_each(|event| move_(&mut event.at));
    }
}

fn shift_agent(agent: &mut Agent, shift: Shift, at: Timestamp) {
    agent.since = noted(agent.since, shift, at);
    agent.registered_at = noted(agent.registered_at, shift, at);
    if let Some(DeclaredDown { at: declared_at, by: _ }) = &mut agent.declared_down {
        *declared_at = noted(*declared_at, shift, at);
    }
    if let Some(avoided) = &mut agent.avoided {
        // What it was reckoned from is not kept.
        avoided.until = if shift.after == Timestamp(0) { shift.moved(avoided.until) } else { avoided.until };
    }
    if let Some(Upkeep { mode: _, since, start, deadline, heed_ms, author: _, message: _ }) = &mut agent.upkeep {
        let drains = Timestamp(deadline.0.saturating_sub_unsigned(*heed_ms));
        for (end, base) in [(start, *since), (deadline, drains)] {
            if end.0 != 0 {
                *end = awaited(*end, base, shift, at);
            }
        }
        *since = noted(*since, shift, at);
    }
}

/// What was decided of a schedule's instants that now lie ahead is struck, to be decided anew when they are due. Those that
/// launched count as run: their records stay, decided before their time, by which they are known (`Tick::is_ahead`). Where
/// all that is kept lies ahead, nobody knows any more what was decided before: all of it counts as decided.
fn strike(job: &mut Job, at: Timestamp) {
    if !job.ticks.iter().any(|tick| tick.is_struck(at)) {
        return;
    }
    job.ticks.retain(|tick| !tick.is_struck(at) || tick.outcome == TickOutcome::Launched);
    for tick in job.ticks.iter_mut().filter(|tick| tick.is_struck(at)) {
        tick.decided = at;
    }
    if job.last_scheduled().is_none() {
        job.flow.resumed_at = job.flow.resumed_at.max(Timestamp(at.0.saturating_sub(JUST_DUE_MS)));
    }
}
