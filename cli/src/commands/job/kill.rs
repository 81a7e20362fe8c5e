//! `dawn job kill`: stops a job or some of its instances, and waits until they are gone.

use std::time::Duration;

use clap::Args;
use dawn_proto::v1::{self, JobKind};

use super::tasks;
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::asking::agreed;
use crate::commands::author;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Progress, json};

const POLL: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Kill {
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances; those stay stopped until the job is submitted or scaled; with the
    /// last of them the job ends, and is to be submitted again
    job: Selection,
    /// Don't ask before killing a whole job; needed where there is no terminal to ask on
    #[arg(long, short)]
    yes: bool,
    /// Don't wait until the tasks are gone
    #[arg(long)]
    detach: bool,
    /// Why, for the job's history
    #[arg(long, short, default_value = "")]
    message: String,
}

pub async fn run(args: Kill, context: &mut Context) -> Result<Exit, Failure> {
    let living = tasks::list(context, &args.job, false).await?;
    if living.is_empty() && has_ended(context, &args.job).await {
        return Ok(ended_already(context, &args.job));
    }
    if args.job.instances.is_empty() {
        let question = format!("Kill {} ({})?", args.job.key, render::count(living.len() as u64, "task"));
        if !agreed(&question, args.yes)? {
            eprintln!("dawn: nothing was killed");
            return Ok(Exit::Failed);
        }
    }
    let request = v1::KillJobRequest {
        key: Some((&args.job.key).into()),
        instances: args.job.instances.clone(),
        author: author(),
        message: args.message.clone(),
    };
    let call = async |client: &mut Client, request| client.jobs().kill_job(request).await;
    let killed = match context.scheduler.call(request, Repeat::Harmless, call).await {
        // It ended meanwhile.
        Err(failure) if failure.exit == Exit::Refused && has_ended(context, &args.job).await => {
            return Ok(ended_already(context, &args.job));
        }
        done => done?,
    };
    let mut left: Vec<u64> = living.iter().map(|task| task.id).collect();
    let done = if args.detach { Exit::Done } else { gone(context, &args.job, &mut left).await? };
    if context.out.json {
        let fields = serde_json::json!({
            "job": args.job.key.to_string(), "tasks": killed.tasks, "left": left.len(), "index": killed.index,
        });
        context.out.value(&json::object(fields));
    } else if args.detach {
        context.out.line(&format!("{}: killing {}", args.job.key, render::count(killed.tasks, "task")));
    } else if done == Exit::Done && killed.tasks == 0 && args.job.instances.is_empty() {
        context.out.line(&format!("{}: ended; nothing was running", args.job.key));
    } else if done == Exit::Done {
        context.out.line(&format!("{}: killed {}", args.job.key, render::count(killed.tasks, "task")));
    } else {
        let are = if left.len() == 1 { "is" } else { "are" };
        eprintln!("dawn: {} {are} still there; the kill goes on", render::count(left.len() as u64, "task"));
    }
    if !context.out.json && !args.job.instances.is_empty() {
        let summary = super::status::get(context, &args.job).await.ok().and_then(|status| status.summary);
        let words = summary.map_or("", |summary| for_how_long(&summary));
        if !words.is_empty() {
            context.out.line(&format!("{}: {words}", args.job.key));
        }
    }
    Ok(done)
}

/// Killing an instance is no restart; what undoes it.
fn for_how_long(summary: &v1::JobSummary) -> &'static str {
    let is_left = summary.running + summary.starting + summary.pending + summary.partitioned > 0;
    match summary.kind() {
        JobKind::Service if summary.ended || !is_left => {
            "with its last instance the job has ended; `dawn job run FILE` runs it again, also with the same file"
        }
        JobKind::Service | JobKind::Daemon => {
            "killed instances stay stopped until the job is submitted or scaled: `dawn job run FILE` starts them, also with \
             the same file"
        }
        JobKind::Batch => {
            "killed instances are not run again; a new run of the job, `dawn job run FILE`, has them again"
        }
        JobKind::Cron => "the next run of the job has killed instances again",
        JobKind::Unspecified => "",
    }
}

async fn has_ended(context: &mut Context, job: &Selection) -> bool {
    let status = super::status::get(context, job).await;
    status.is_ok_and(|status| status.summary.is_some_and(|summary| summary.ended))
}

/// What was to be has been: scripts that clean up need no look before.
fn ended_already(context: &Context, job: &Selection) -> Exit {
    if context.out.json {
        let fields = serde_json::json!({ "job": job.key.to_string(), "tasks": 0, "left": 0 });
        context.out.value(&json::object(fields));
    } else {
        context.out.line(&format!("{}: has ended already; nothing was to be killed", job.key));
    }
    Exit::Done
}

/// Waits until none of the tasks in `left` lives; those that still do stay in it.
pub async fn gone(context: &mut Context, selection: &Selection, left: &mut Vec<u64>) -> Result<Exit, Failure> {
    let deadline = context.timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    let mut progress = Progress::new(&context.out);
    loop {
        let living = match tasks::list(context, selection, false).await {
            Err(failure) if failure.exit == Exit::NotFound => Vec::new(),
            other => other?,
        };
        left.retain(|id| living.iter().any(|task| task.id == *id));
        if left.is_empty() {
            return Ok(Exit::Done);
        }
        if deadline.is_some_and(|deadline| tokio::time::Instant::now() >= deadline) {
            return Ok(Exit::Waited);
        }
        progress.show(&format!("{}: stopping {}", selection.key, render::count(left.len() as u64, "task")));
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Waited),
        }
    }
}
