//! What follows in the same step from what it decided: for jobs that lost tasks, and for those that waited for a job's end.

use dawn_proto::v1::JobKind;

use super::settle::{self, Aim};
use super::step::Step;
use super::{cron, depend};
use crate::model::{Job, JobId, Spec};

/// The last part of a step's decision, in this order: an end of tasks may end their job, and that end releases others.
pub(super) fn decide_consequences(step: &mut Step) {
    for job in step.take_touched() {
        conclude(step, job);
    }
    while let Some(job) = step.next_ended() {
        depend::ended(step, job);
    }
}

/// What follows for a job that lost tasks: the run that waited for the last one's end, or its own end.
fn conclude(step: &mut Step, id: JobId) {
    let Some(job) = step.state.jobs.get(&id) else { return };
    if step.is_ended(job) {
        return;
    }
    if let Some(spec) = step.state.current_spec(job).filter(|spec| spec.job.flow.max_running.is_some()) {
        make_next(step, job, spec);
    }
    if step.living(job) > 0 || step.kind(job) == JobKind::Daemon {
        return;
    }
    if step.kind(job) == JobKind::Cron {
        return cron::start_queued(step, job);
    }
    if step.settled(job) != Job::SETTLED || job.changes.active().is_some() {
        return;
    }
    step.end_job(id, "", "");
    step.settle(id, Job::SETTLED);
}

/// Instances of a job that has room for more of them at once.
fn make_next(step: &mut Step, job: &Job, spec: &Spec) {
    let made = step.settled(job);
    if made != Job::SETTLED {
        let stopped = |instance| job.stopped.contains(&instance);
        let pins = Some(&job.changes.pins);
        settle::run(step, &Aim { id: job.id, spec, job: Some(job), ended: false, stopped: &stopped, pins, made });
    }
}
