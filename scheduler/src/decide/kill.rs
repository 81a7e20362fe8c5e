//! A user stops a job, or instances of it.
//! A whole job ends. Instances of a service or batch job stay away until the job is submitted again; of a cron job those
//! of its living runs are stopped, and the next run has them again.

use dawn_proto::v1::{JobKind, Reason};
use dawn_proto::{JobKey, TaskState};

use super::numbers::numbers_of;
use super::settle::{self, Aim};
use super::step::Step;
use super::update::{are_there, is_chosen};
use crate::model::{Answer, Instances, InstancesStopped, Job, Mutation, Refusal, Spec, Task, answers};

/// Answers with how many tasks this stops; those beyond a slice are told by the next ticks.
pub(super) fn kill(
    step: &mut Step,
    key: &JobKey,
    instances: &[(u32, u32)],
    author: &str,
    message: &str,
) -> Result<Answer, Refusal> {
    let job = step.state.job(key).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    let Some(spec) = step.state.current_spec(job) else { return Err(Refusal::NoSuchJob { key: key.clone() }) };
    if job.ended.is_some() && step.state.tasks_of(job.id).living == 0 {
        return Err(Refusal::JobEnded { key: key.clone() });
    }
    are_there(key, instances, numbers_of(step.state, job).into_iter().collect())?;
    let chosen = |instance: u32| is_chosen(instances, instance);
    let stops = |task: &&Task| task.state() != TaskState::Killing && chosen(task.instance);
    let tasks = u32::try_from(step.state.living(job).filter(stops).count()).unwrap_or(u32::MAX);
    if instances.is_empty() {
        step.end_job(job.id, author, message);
        settle::run(
            step,
            &Aim { id: job.id, spec, job: Some(job), ended: true, stopped: &|_| false, pins: None, made: 0 },
        );
    } else {
        let words =
            if message.is_empty() { format!("killed by {author}") } else { format!("killed by {author}: {message}") };
        stop_instances(step, job, spec, &chosen, &words);
    }
    Ok(Answer::Killed(answers::Killed { tasks }))
}

fn stop_instances(step: &mut Step, job: &Job, spec: &Spec, chosen: &dyn Fn(u32) -> bool, words: &str) {
    if spec.job.kind == JobKind::Cron || job.ended.is_some() {
        // Not in slices: at most the living runs' instances.
        for task in step.state.living(job).filter(|task| chosen(task.instance)) {
            step.stop(task, Reason::UserRequest, words);
        }
        return;
    }
    let stopped = numbers_of(step.state, job).into_iter().filter(|at| chosen(*at)).collect::<Instances>();
    step.mutations
        .push(Mutation::InstancesStopped(InstancesStopped { job: job.id, instances: stopped.ranges().to_vec() }));
    // Those beyond a slice are stopped by the next ticks, which don't know who asked for it.
    for task in step.state.living(job).filter(|task| chosen(task.instance)) {
        if step.is_full() {
            break;
        }
        step.stop(task, Reason::UserRequest, words);
    }
    let stopped = |instance: u32| chosen(instance) || job.stopped.contains(&instance);
    let made = job.settled.min(step.state.wanted_bound(job));
    let pins = Some(&job.changes.pins);
    settle::run(step, &Aim { id: job.id, spec, job: Some(job), ended: false, stopped: &stopped, pins, made });
}
