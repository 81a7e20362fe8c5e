//! The cron promise: one launch record per instant of the schedule, kept across failovers, written before what it is of;
//! runs beside each other and late ones only as the job's policy says.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{Misfire, Overlap, TickOutcome};
use dawn_proto::{Epoch, TaskId, Timestamp};
use dawn_scheduler::decide::clock::{STANDS_MS, STEP_MS};
use dawn_scheduler::model::{
    Batch, CronPolicy, JobEnded, JobId, JobVersioned, Mutation, Shift, State, TaskMade, TaskMoved, Ticked, is_manual,
};

use crate::simulator::settings::CRON_LATE_MS;

/// Ticks of one policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub launched: usize,
    pub missed: usize,
    /// Skipped for an overlap.
    pub overlapping: usize,
}

#[derive(Default)]
pub(in crate::simulator) struct Ledger {
    records: BTreeMap<(JobId, Timestamp), TickOutcome>,
    /// Living tasks with their runs.
    living: BTreeMap<JobId, BTreeMap<TaskId, Timestamp>>,
    jobs: BTreeMap<TaskId, JobId>,
    made: BTreeSet<(JobId, Timestamp, u32)>,
    /// Instants before it nobody could decide.
    since: BTreeMap<JobId, Timestamp>,
    /// The latest instant decided since then.
    last: BTreeMap<JobId, Timestamp>,
    policies: BTreeMap<JobId, CronPolicy>,
    /// Runs that launched under a clock that was ahead: recorded once more when their instant has come.
    ahead: BTreeSet<(JobId, Timestamp)>,
    /// What clocks were set over: of so many instants only the latest are recorded.
    skipped: Vec<(Timestamp, Timestamp)>,
    /// The epoch, and the first time noted under it.
    leader: (Epoch, Timestamp),
}

impl Ledger {
    pub fn batch(&mut self, batch: &Batch) -> Result<(), String> {
        if batch.epoch != self.leader.0 {
            self.leader = (batch.epoch, batch.at);
        }
        let mut recorded = BTreeSet::new();
        let ended = |job: JobId| {
            batch
                .mutations
                .iter()
                .any(|mutation| matches!(mutation, Mutation::JobEnded(JobEnded { job: of, .. }) if *of == job))
        };
        for mutation in &batch.mutations {
            match mutation {
                Mutation::JobVersioned(JobVersioned { job, spec, .. }) => {
                    if let Some(cron) = &spec.job.cron {
                        self.since.entry(*job).or_insert(batch.at);
                        self.policies.insert(*job, cron.clone());
                    }
                }
                Mutation::ClockShifted(shift) => self.shifted(*shift, batch.at),
                Mutation::Ticked(Ticked { job, scheduled, outcome }) => {
                    self.ticked(*job, *scheduled, *outcome, (batch.at, ended(*job)))?;
                    recorded.insert((*job, *scheduled));
                }
                Mutation::TaskMade(TaskMade { task, job, instance, attempt, run_at, .. }) if run_at.0 != 0 => {
                    let first = *attempt == 1;
                    if first && !recorded.contains(&(*job, *run_at)) {
                        return Err(format!("cron: {task} of the run of {run_at:?} is made before its record"));
                    }
                    if first && !self.made.insert((*job, *run_at, *instance)) {
                        return Err(format!("cron: the run of {run_at:?} begins twice"));
                    }
                    self.living.entry(*job).or_default().insert(*task, *run_at);
                    self.jobs.insert(*task, *job);
                }
                Mutation::TaskMoved(TaskMoved { task, to, .. }) if to.is_terminal() => {
                    if let Some(living) = self.jobs.get(task).and_then(|job| self.living.get_mut(job)) {
                        living.remove(task);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What lies ahead now is decided anew, but for what launched.
    fn shifted(&mut self, shift: Shift, now: Timestamp) {
        self.leader.1 = shift.moved(self.leader.1);
        let before = Timestamp(now.0 - shift.by_ms);
        if before < now {
            return self.skipped.push((before, now));
        }
        // What passed while the clock was far ahead is asked for no more.
        let is_far = before.since_ms(now) > STEP_MS;
        self.since.values_mut().for_each(|since| *since = if is_far { now } else { (*since).min(now) });
        if is_far {
            self.last.clear();
        }
        self.last.values_mut().for_each(|last| *last = (*last).min(now));
        self.records.retain(|(_, at), outcome| *at <= now || *outcome == TickOutcome::Launched || is_manual(*at));
        let launched = self.records.iter().filter(|((_, at), outcome)| *at > now && **outcome == TickOutcome::Launched);
        self.ahead.extend(launched.map(|(record, _)| *record));
    }

    /// A new leader may have waited to learn whether its clock is right: then an instant is not late for that.
    fn may_be_held(&self, at: Timestamp, now: Timestamp) -> bool {
        let waited = |since: Timestamp| now.since_ms(since) <= STANDS_MS + CRON_LATE_MS;
        waited(self.leader.1) && waited(at)
    }

    /// Whether the job's late runs follow one another, and that instant's is surely late.
    pub fn follows_late(&self, job: JobId, at: Timestamp, by: &Batch) -> bool {
        let follows = |cron: &CronPolicy| {
            cron.misfire == Misfire::All && matches!(cron.overlap, Overlap::CancelNew | Overlap::Queue)
        };
        let is_late = by.at.since_ms(at) > CRON_LATE_MS && by.epoch == self.leader.0 && !self.may_be_held(at, by.at);
        is_late && self.policies.get(&job).is_some_and(follows)
    }

    /// `ended`: the job ends in the same batch, and with it what waits.
    fn ticked(
        &mut self,
        job: JobId,
        at: Timestamp,
        outcome: TickOutcome,
        (now, ended): (Timestamp, bool),
    ) -> Result<(), String> {
        let before = self.records.insert((job, at), outcome);
        if !is_manual(at) {
            let last = self.last.entry(job).or_default();
            *last = at.max(*last);
        }
        let was_queued = before == Some(TickOutcome::Queued);
        if self.ahead.remove(&(job, at)) && outcome == TickOutcome::Launched {
            return Ok(());
        }
        if before.is_some() && !was_queued {
            return Err(format!("cron: {job} at {at:?} is decided twice: {before:?}, then {outcome:?}"));
        }
        let Some(cron) = self.policies.get(&job) else { return Err(format!("cron: {job} has no schedule")) };
        let others = self.living.get(&job).is_some_and(|living| living.values().any(|run_at| *run_at != at));
        let is_late = now.since_ms(at) > CRON_LATE_MS;
        let may_be_held = |at: Timestamp| self.may_be_held(at, now);
        let was_held = may_be_held(at);
        let after = || std::iter::successors(cron.schedule.next_after(at), |last| cron.schedule.next_after(*last));
        let later_due = || after().take_while(|later| *later <= now).count();
        let later_late = || after().take_while(|later| now.since_ms(*later) > CRON_LATE_MS);
        let surely_late = || later_late().take_while(|later| !may_be_held(*later)).count();
        // Each would kill the one before it: only the latest of those that are due is run.
        let gives_way = cron.overlap == Overlap::KillExisting && (was_queued || later_due() > 0);
        let wrong = match outcome {
            TickOutcome::Missed | TickOutcome::SkippedOverlap
                if cron.misfire == Misfire::All
                    && is_late
                    && !was_held
                    && !gives_way
                    && !ended
                    && later_late().count() < cron.misfire_limit as usize =>
            {
                "was missed within the limit, and is not run"
            }
            TickOutcome::Launched if others && cron.overlap != Overlap::Allow => "runs beside another",
            TickOutcome::Launched if is_late && !was_queued && !was_held => match cron.misfire {
                Misfire::Once if surely_late() > 0 => "is run late, and is not the latest",
                Misfire::All if surely_late() >= cron.misfire_limit as usize => "is run late beyond the limit",
                Misfire::Skip | Misfire::Unspecified => "is run late",
                _ => return Ok(()),
            },
            TickOutcome::Missed if !is_late && !was_queued => "counts as missed in time",
            TickOutcome::SkippedOverlap if cron.overlap == Overlap::Allow => "is skipped where runs may overlap",
            // Runs that were missed follow one another.
            TickOutcome::Queued if cron.misfire == Misfire::All && is_late && cron.overlap != Overlap::Allow => {
                return Ok(());
            }
            // It was due before what was missed began, and follows that.
            TickOutcome::Queued
                if cron.overlap == Overlap::CancelNew
                    && matches!(cron.misfire, Misfire::Once | Misfire::All)
                    && others
                    && (!is_late || was_held) =>
            {
                return Ok(());
            }
            TickOutcome::Queued if !matches!(cron.overlap, Overlap::Queue | Overlap::KillExisting) => "waits",
            _ => return Ok(()),
        };
        Err(format!("cron: {job} at {at:?} {wrong} ({:?}, {:?})", cron.overlap, cron.misfire))
    }

    /// A record for each instant, and no run without one.
    pub fn end(&self, state: &State) -> Result<(), String> {
        for (job, cron) in &self.policies {
            let (Some(known), Some(since)) = (state.jobs.get(job), self.since.get(job)) else { continue };
            if let Some(waits) =
                known.queued().filter(|_| known.ended.is_none() && state.tasks_of(known.id).living == 0)
            {
                return Err(format!(
                    "cron: {} at {:?} waits, and no run is there before it",
                    known.key, waits.scheduled
                ));
            }
            // What was due when a job ended, and nobody had led for a while, was asked for no more.
            let last = self.last.get(job).copied().unwrap_or(*since);
            let ended = if known.ended.is_some() { last } else { state.at };
            let mut at = *since;
            // The latest may not be decided yet.
            while let Some(next) = cron.schedule.next_after(at).filter(|next| next.plus_ms(2_000) < ended) {
                at = next;
                let was_skipped = self.skipped.iter().any(|(from, to)| (*from..=*to).contains(&at));
                if !was_skipped && !self.records.contains_key(&(*job, at)) {
                    return Err(format!("cron: {} has no record of {at:?}", known.key));
                }
            }
        }
        Ok(())
    }

    /// By policy.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
        for ((job, _), outcome) in &self.records {
            let Some(cron) = self.policies.get(job) else { continue };
            let (overlap, misfire) = (cron.overlap.plain_name(), cron.misfire.plain_name());
            let count = counts.entry(format!("{overlap}/{misfire}").to_lowercase()).or_default();
            match outcome {
                TickOutcome::Launched => count.launched += 1,
                TickOutcome::Missed => count.missed += 1,
                TickOutcome::SkippedOverlap => count.overlapping += 1,
                _ => {}
            }
        }
        counts
    }
}
