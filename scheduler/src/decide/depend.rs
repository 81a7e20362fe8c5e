//! Jobs that wait for others to end: released when each has ended as it should, ended when one has not; and deadlines.
//! What counts as what: `model/flow.rs`.

use std::collections::BTreeSet;

use dawn_proto::v1::DependsOn;
use dawn_proto::{JobKey, amounts};

use super::settle::{self, Aim};
use super::step::Step;
use crate::model::{FlowMutation, FlowRefusal, FlowSpec, Job, JobId, JobSpec, Mutation, Spec, State};

/// What becomes of a job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Released,
    Waits,
    /// Why it can't be released any more: what it was to follow failed.
    Never(String),
    /// The failure that it was to follow did not come, and why.
    NotNeeded(String),
}

/// What the jobs that a spec names have come to.
pub(super) fn verdict(step: &Step, flow: &FlowSpec) -> Verdict {
    let (mut waits, mut not_needed) = (false, None);
    for dependency in &flow.after {
        let Some(job) = step.state.job(&dependency.job).filter(|job| step.is_ended(job)) else {
            waits = true;
            continue;
        };
        let name = &dependency.job;
        if dependency.on != DependsOn::AnyEnd && step.was_not_needed(job) {
            not_needed = Some(format!("{name} was not needed, and this was to follow it"));
            continue;
        }
        match (step.state.succeeded(job, |task| step.state_of(task)), dependency.on) {
            (false, DependsOn::Success) => {
                return Verdict::Never(format!("{name} did not succeed, and this was to follow its success"));
            }
            (true, DependsOn::Failure) => {
                not_needed = Some(format!("{name} succeeded, and this was to follow its failure"));
            }
            _ => {}
        }
    }
    match not_needed {
        Some(why) => Verdict::NotNeeded(why),
        None if waits => Verdict::Waits,
        None => Verdict::Released,
    }
}

/// A job has ended in this step: those that wait for it are released, or end with it.
pub(super) fn ended(step: &mut Step, id: JobId) {
    let state = step.state;
    let Some(job) = state.jobs.get(&id) else { return };
    for id in state.indexes().dependents.get(&job.key).into_iter().flatten() {
        let Some(waiting) = state.jobs.get(id).filter(|job| !step.is_ended(job)) else { continue };
        let Some(spec) = state.current_spec(waiting) else { continue };
        match verdict(step, &spec.job.flow) {
            Verdict::Waits => {}
            Verdict::Released => release(step, waiting, spec),
            Verdict::Never(why) => {
                step.end_job(*id, "", &why);
                step.settle(*id, Job::SETTLED);
            }
            Verdict::NotNeeded(why) => {
                step.end_not_needed(*id, &why);
                step.settle(*id, Job::SETTLED);
            }
        }
    }
}

fn release(step: &mut Step, job: &Job, spec: &Spec) {
    if step.released.insert(job.id) {
        step.mutations.push(Mutation::Flow(FlowMutation::Released { job: job.id }));
        let stopped = |instance| job.stopped.contains(&instance);
        let aim =
            Aim { id: job.id, spec, job: Some(job), ended: false, stopped: &stopped, pins: None, made: job.settled };
        settle::run(step, &aim);
    }
}

/// Refuses a spec that would wait for itself by way of others.
pub(super) fn circle(state: &State, spec: &JobSpec) -> Result<(), FlowRefusal> {
    let mut seen: BTreeSet<&JobKey> = BTreeSet::new();
    // Ways still to go, each with the jobs on it.
    let mut ways: Vec<Vec<&JobKey>> = spec.flow.after.iter().map(|dependency| vec![&dependency.job]).collect();
    while let Some(way) = ways.pop() {
        let Some(last) = way.last().copied() else { continue };
        if *last == spec.key {
            let circle = [&spec.key].into_iter().chain(way).map(ToString::to_string).collect();
            return Err(FlowRefusal::Circle { key: spec.key.clone(), circle });
        }
        let job = state.job(last).filter(|job| job.ended.is_none() && seen.insert(last));
        let next = job.and_then(|job| state.current_spec(job)).map_or(&[][..], |spec| &spec.job.flow.after);
        ways.extend(next.iter().map(|dependency| [&way[..], &[&dependency.job]].concat()));
    }
    Ok(())
}

/// Jobs that are not done by their deadline end; what lives of them is killed.
pub(super) fn tick(step: &mut Step) {
    let state = step.state;
    for (_, id) in state.indexes().job_deadlines.range(..=(step.now.wall, JobId(u32::MAX))) {
        if step.is_full() {
            return;
        }
        let Some(job) = state.jobs.get(id).filter(|job| !step.is_ended(job)) else { continue };
        let Some(spec) = state.current_spec(job) else { continue };
        let allowed = spec.job.flow.deadline_ms.unwrap_or_default();
        let words = format!("its deadline of {} has passed", amounts::duration(allowed));
        step.end_job(*id, "", &words);
        settle::run(
            step,
            &Aim { id: *id, spec, job: Some(job), ended: true, stopped: &|_| false, pins: None, made: 0 },
        );
    }
}
