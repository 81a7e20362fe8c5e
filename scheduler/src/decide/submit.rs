//! A job is submitted: made, scaled, its template replaced, run again, or refused.

use std::sync::Arc;

use dawn_proto::SpecId;
use dawn_proto::v1::{JobKind, SubmitOutcome};

use super::depend::{self, Verdict};
use super::numbers;
use super::quota;
use super::settle::{self, Aim};
use super::step::Step;
use super::update;
use crate::model::{
    Answer, FlowMutation, FlowRefusal, Job, JobId, JobMade, JobSpec, JobVersioned, Mutation, Refusal, Spec, answers,
};

/// Bounded by the slice: what doesn't fit is made by the next ticks.
pub(super) fn submit(step: &mut Step, spec: &JobSpec, author: &str, message: &str) -> Result<Answer, Refusal> {
    let job = step.state.job(&spec.key);
    let outcome = match job {
        None => SubmitOutcome::Created,
        Some(job) => outcome(step, job, spec)?,
    };
    if outcome == SubmitOutcome::Unchanged {
        let version = job.and_then(Job::current).map_or(0, |version| version.version);
        return Ok(Answer::Submitted(answers::Submitted { key: spec.key.clone(), version, outcome }));
    }
    if let (SubmitOutcome::Updating, Some(job)) = (outcome, job) {
        return update::submit(step, job, spec, (author, message));
    }
    has_room(step, job, spec)?;
    let keeps_release = job.is_some_and(|job| job.ended.is_none() && job.flow.released);
    let released = keeps_release || is_released(step, spec)?;
    quota::admit(step.state, job, spec)?;
    let id = job.map_or(step.state.next_job, |job| job.id);
    if job.is_none() {
        step.mutations.push(Mutation::JobMade(JobMade { job: id, key: spec.key.clone() }));
    }
    let version = job.map_or(1, next_version);
    let gaps = job.map(|job| numbers::gaps(step.state, job, spec, &[], step.now.wall)).unwrap_or_default();
    let spec = Arc::new(Spec { gaps, ..Spec::new(next_spec(step), version, spec.clone()) });
    let (author, message) = (author.into(), message.into());
    step.mutations.push(Mutation::JobVersioned(JobVersioned { job: id, spec: spec.clone(), author, message }));
    if released {
        if !spec.job.flow.after.is_empty() && !keeps_release {
            step.mutations.push(Mutation::Flow(FlowMutation::Released { job: id }));
        }
        settle::run(step, &Aim { id, spec: &spec, job, ended: false, stopped: &|_| false, pins: None, made: 0 });
    }
    Ok(Answer::Submitted(answers::Submitted { key: spec.job.key.clone(), version, outcome }))
}

/// Whether nothing is waited for any more. Refused when it would wait for ever.
fn is_released(step: &Step, spec: &JobSpec) -> Result<bool, FlowRefusal> {
    depend::circle(step.state, spec)?;
    match depend::verdict(step, &spec.flow) {
        Verdict::Released => Ok(true),
        Verdict::Waits => Ok(false),
        Verdict::Never(why) | Verdict::NotNeeded(why) => Err(FlowRefusal::Never { key: spec.key.clone(), why }),
    }
}

/// Whether there is room for it, and quota.
pub(super) fn admit(step: &Step, job: Option<&Job>, spec: &JobSpec) -> Result<(), Refusal> {
    has_room(step, job, spec)?;
    quota::admit(step.state, job, spec)
}

pub(super) fn next_version(job: &Job) -> u32 {
    job.versions.back().map_or(0, |version| version.version) + 1
}

fn next_spec(step: &Step) -> SpecId {
    step.state.next_spec
}

fn outcome(step: &Step, job: &Job, new: &JobSpec) -> Result<SubmitOutcome, Refusal> {
    let key = job.key.clone();
    if job.ended.is_some() {
        // Tasks of the ended version not yet told to stop would pass for the new one's.
        return match job.settled {
            Job::SETTLED => Ok(SubmitOutcome::Replaced),
            _ => Err(Refusal::StillEnding { key, tasks: step.state.tasks_of(job.id).living }),
        };
    }
    let Some(current) = step.state.current_spec(job) else { return Ok(SubmitOutcome::Replaced) };
    let is_service = new.kind.runs_for_ever();
    let same = current.job.same_as(new);
    if let Some(update) = job.changes.active() {
        // Sent twice, as a client does that got no answer.
        let again = same && !update.is_back();
        if current.job.kind != new.kind {
            update::not_updating(job)?;
        }
        // Refused there, unless nothing of the job ever was healthy.
        return Ok(if again { SubmitOutcome::Unchanged } else { SubmitOutcome::Updating });
    }
    let is_mixed = !job.changes.pins.is_empty();
    // Stopped instances of a service come back; those of a batch job when the whole is run again.
    if same && !is_mixed && (job.stopped.is_empty() || !is_service) {
        Ok(SubmitOutcome::Unchanged)
    } else if current.job.kind == new.kind
        && (new.kind == JobKind::Cron || current.job.flow.is_template && new.flow.is_template)
    {
        Ok(SubmitOutcome::Replaced)
    } else if same && !is_mixed {
        Ok(SubmitOutcome::StartedAgain)
    } else if is_service && current.job.kind == new.kind && !is_mixed && current.job.same_but_for_instances(new) {
        Ok(SubmitOutcome::Scaled)
    } else if is_service && current.job.kind == new.kind {
        // Nothing is made of a job that still waits for others, so nothing is to be updated.
        Ok(if job.waits_for_others(&current.job) { SubmitOutcome::Replaced } else { SubmitOutcome::Updating })
    } else {
        Err(Refusal::Differs { key, version: current.version })
    }
}

/// The state is bounded: a journal can't grow for ever.
fn has_room(step: &Step, job: Option<&Job>, spec: &JobSpec) -> Result<(), Refusal> {
    let (jobs, tasks) = (step.state.jobs.len(), step.state.tasks.len());
    if job.is_none() && (jobs >= step.settings.max_jobs || step.state.next_job == JobId(u32::MAX)) {
        return Err(Refusal::Full { what: "jobs", have: jobs });
    }
    let more = match spec.kind {
        JobKind::Cron => 0,
        JobKind::Daemon => step.state.agents.len(),
        _ if spec.flow.is_template => 0,
        _ => spec.instances as usize,
    };
    let more = more.saturating_sub(job.map_or(0, |job| step.state.tasks_of(job.id).living as usize));
    if tasks.saturating_add(more) > step.settings.max_tasks {
        return Err(Refusal::Full { what: "tasks", have: tasks });
    }
    Ok(())
}
