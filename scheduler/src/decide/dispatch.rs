//! Jobs made of templates, and cron jobs that pause. Not here: how a template and arguments make a spec (the door's).

use dawn_proto::{JobKey, SpecId};

use super::step::Step;
use super::submit;
use crate::model::{Answer, FlowCommand, FlowMutation, FlowRefusal, Job, JobSpec, Mutation, Refusal, answers};

pub(super) fn decide(step: &mut Step, command: &FlowCommand) -> Result<Answer, Refusal> {
    match command {
        FlowCommand::PauseCron { key, author } => {
            let job = cron_job(step, key)?;
            if job.flow.paused.is_none() {
                step.mutations.push(Mutation::Flow(FlowMutation::CronPaused { job: job.id, author: author.clone() }));
            }
            Ok(Answer::CronPaused(answers::CronPaused))
        }
        FlowCommand::ResumeCron { key } => {
            let job = cron_job(step, key)?;
            if job.flow.paused.is_some() {
                step.mutations.push(Mutation::Flow(FlowMutation::CronResumed { job: job.id }));
            }
            Ok(Answer::CronResumed(answers::CronResumed))
        }
        FlowCommand::Dispatch { template, template_spec, content_hash, spec, author, message } => {
            let job = template_job(step, template, *template_spec)?;
            dispatch(step, job, (*content_hash, spec), author, message)
        }
    }
}

fn cron_job<'a>(step: &Step<'a>, key: &JobKey) -> Result<&'a Job, Refusal> {
    let job = step.state.job(key).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    let spec = step.state.current_spec(job).filter(|spec| spec.job.cron.is_some());
    match (spec, &job.ended) {
        (None, _) => Err(Refusal::NotCron { key: key.clone() }),
        (_, Some(_)) => Err(Refusal::JobEnded { key: key.clone() }),
        _ => Ok(job),
    }
}

fn template_job<'a>(step: &Step<'a>, key: &JobKey, made_of: SpecId) -> Result<&'a Job, Refusal> {
    let job = step.state.job(key).ok_or_else(|| Refusal::NoSuchJob { key: key.clone() })?;
    let Some(spec) = step.state.current_spec(job) else { return Err(Refusal::NoSuchJob { key: key.clone() }) };
    if job.ended.is_some() {
        Err(Refusal::JobEnded { key: key.clone() })
    } else if !spec.job.flow.is_template {
        Err(FlowRefusal::NoTemplate { key: key.clone() }.into())
    } else if spec.id != made_of {
        Err(FlowRefusal::Changed { key: key.clone() }.into())
    } else {
        Ok(job)
    }
}

/// The job of a name is made once; a repetition is answered with it, whatever became of it.
fn dispatch(
    step: &mut Step,
    template: &Job,
    (content_hash, spec): (u64, &JobSpec),
    author: &str,
    message: &str,
) -> Result<Answer, Refusal> {
    let key = spec.key.clone();
    if let Some(before) = template.flow.dispatches.iter().find(|dispatch| dispatch.name == key.name()) {
        return match before.content_hash == content_hash {
            true => Ok(Answer::Dispatched(answers::Dispatched { key, existing: true })),
            false => Err(FlowRefusal::OtherContent { made: key }.into()),
        };
    }
    // A job of that name that no dispatch made is somebody's own.
    if let Some(job) = step.state.job(&key).filter(|job| job.ended.is_none()) {
        return Err(Refusal::Differs { key, version: job.current().map_or(0, |version| version.version) });
    }
    let (job, name) = (template.id, key.name().to_string());
    submit::submit(step, spec, author, message)?;
    step.mutations.push(Mutation::Flow(FlowMutation::Dispatched { job, name, content_hash }));
    Ok(Answer::Dispatched(answers::Dispatched { key, existing: false }))
}
