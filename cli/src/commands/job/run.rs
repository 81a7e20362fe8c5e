//! `dawn job run`: submits the jobs of files and waits until they are where they should be.

use std::path::PathBuf;

use clap::Args;
use dawn_proto::v1::{self, JobKind, JobSpec, SubmitOutcome};

use super::submit;
use super::watch::{self, Waiting};
use crate::args::Context;
use crate::commands::update;
use crate::exit::{Exit, Failure};
use crate::jobfile::{self, Reading};
use crate::render::{self, json};

/// For people: the same spec once more, of a job some of whose instances were killed one by one.
pub(super) const STARTED_AGAIN: &str = "its killed instances are started again";

#[derive(Args)]
pub struct Run {
    /// Job files (YAML, JSON, .aurora, .star); - is standard input, YAML or JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Submit and don't wait
    #[arg(long)]
    detach: bool,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
    #[command(flatten)]
    reading: Reading,
}

pub async fn run(args: Run, context: &mut Context) -> Result<Exit, Failure> {
    let specs = jobfile::load(&args.files, &args.reading).map_err(|failure| failure.hint("nothing was submitted"))?;
    let responses = submit::submit_all(context, &specs, &args.message).await?;
    let submitted: Vec<(JobSpec, v1::SubmitJobResponse)> = specs.into_iter().zip(responses).collect();
    submitted.iter().for_each(|(spec, response)| announce(context, spec, response));
    let waiting = Waiting::new(&submitted).with_rollouts(&submitted);
    let (exit, waiting) = match args.detach {
        true => (Exit::Done, waiting),
        false => wait(context, waiting, &updates(&submitted)).await?,
    };
    if context.out.json {
        context.out.value(&json::object(result(&submitted, &waiting, exit)));
    }
    Ok(exit)
}

/// Waits for the ends of updates, and beside them for the jobs that are no update: each is told of when it is time.
async fn wait(
    context: &mut Context,
    waiting: Waiting,
    updates: &[(v1::JobKey, u32)],
) -> Result<(Exit, Waiting), Failure> {
    let interrupted = || async { _ = tokio::signal::ctrl_c().await };
    let (mut updated, mut others) = waiting.split(&updates.iter().map(|(key, _)| key).collect::<Vec<_>>());
    let mut beside =
        Context { scheduler: context.scheduler.again(), out: context.out.clone(), timeout: context.timeout };
    if !updated.is_empty() && !others.is_empty() {
        // Two that redraw lines of one terminal would erase each other's.
        (context.out.terminal, beside.out.terminal) = (false, false);
    }
    let (of_updates, of_others) = tokio::join!(update::wait_for(&mut beside, updates), async {
        match others.is_empty() && !updated.is_empty() {
            true => Ok(Exit::Done),
            false => watch::until_there(context, &mut others, interrupted()).await,
        }
    });
    let (update::Waited { mut exit, told }, of_others) = (of_updates?, of_others?);
    updated.know(told);
    match exit {
        Exit::Done if !updated.is_empty() => exit = watch::until_there(context, &mut updated, interrupted()).await?,
        _ => updated.leave_out(exit),
    }
    updated.join(others);
    Ok((worst(exit, of_others), updated))
}

/// A failure is worse than a wait that was given up: it stays.
fn worst(one: Exit, other: Exit) -> Exit {
    match [one, other].contains(&Exit::Failed) {
        true => Exit::Failed,
        false => std::cmp::max_by_key(one, other, |exit| *exit as i32),
    }
}

/// The updates that were started, or were under way already.
fn updates(submitted: &[(JobSpec, v1::SubmitJobResponse)]) -> Vec<(v1::JobKey, u32)> {
    let started = submitted.iter().filter(|(_, response)| response.update > 0);
    started.filter_map(|(spec, response)| Some((spec.key.clone()?, response.update))).collect()
}

fn outcome(response: &v1::SubmitJobResponse) -> &'static str {
    match response.outcome() {
        SubmitOutcome::Unspecified => "submitted",
        SubmitOutcome::Created => "created",
        SubmitOutcome::Unchanged => "unchanged",
        SubmitOutcome::Scaled => "scaled",
        SubmitOutcome::Replaced => "replaced",
        SubmitOutcome::Updating => "updating",
        SubmitOutcome::StartedAgain => "started_again",
    }
}

/// What came of it, for people.
fn told(response: &v1::SubmitJobResponse) -> &'static str {
    match response.outcome() {
        SubmitOutcome::StartedAgain => STARTED_AGAIN,
        _ => outcome(response),
    }
}

fn announce(context: &Context, spec: &JobSpec, response: &v1::SubmitJobResponse) {
    let key = render::key(spec.key.as_ref());
    for warning in response.warnings.iter().filter(|warning| !jobfile::was_noted(warning)) {
        eprintln!("dawn: warning: {key}: {}", render::safe(warning));
    }
    if context.out.json {
        return;
    }
    let amount = match spec.kind() {
        JobKind::Cron => format!("cron {}", spec.cron.as_ref().map_or("", |cron| &cron.schedule)),
        JobKind::Daemon => "daemon, one on each node that matches".to_string(),
        _ if spec.parameters.is_some() => "template".to_string(),
        kind => format!("{}, {}", render::kind(kind), render::count(spec.instances, "instance")),
    };
    context.out.line(&format!("{key}: {} (version {}, {amount})", told(response), response.version));
    if response.update > 0 {
        let is_under_way = response.outcome() == SubmitOutcome::Unchanged;
        let under_way = if is_under_way { " to it is under way" } else { "" };
        context.out.line(&format!("  update {}{under_way}; see `dawn update status {key}`", response.update));
    }
}

fn result(submitted: &[(JobSpec, v1::SubmitJobResponse)], waiting: &Waiting, exit: Exit) -> serde_json::Value {
    let jobs = submitted.iter().map(|(spec, response)| {
        let key = render::key(spec.key.as_ref());
        let status = waiting.status(&key).map(json::status);
        serde_json::json!({
            "job": key, "version": response.version, "outcome": outcome(response),
            "warnings": response.warnings, "update": response.update, "index": response.index, "status": status,
        })
    });
    serde_json::json!({ "jobs": jobs.collect::<Vec<_>>(), "exit": exit as i32 })
}
