//! `dawn job kill`: stops a job or some of its instances, and waits until they are gone.

use std::time::Duration;

use clap::Args;
use dawn_proto::v1;

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
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances
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
    let call = async |client: &mut Client, request| client.kill_job(request).await;
    let killed = context.scheduler.call(request, Repeat::Harmless, call).await?;
    let mut left: Vec<u64> = living.iter().map(|task| task.id).collect();
    let done = if args.detach { Exit::Done } else { gone(context, &args.job, &mut left).await? };
    if context.out.json {
        let fields = serde_json::json!({
            "job": args.job.key.to_string(), "tasks": killed.tasks, "left": left.len(), "index": killed.index,
        });
        context.out.value(&json::object(fields));
    } else if args.detach {
        context.out.line(&format!("{}: killing {}", args.job.key, render::count(killed.tasks, "task")));
    } else if done == Exit::Done {
        context.out.line(&format!("{}: killed {}", args.job.key, render::count(killed.tasks, "task")));
    } else {
        eprintln!("dawn: {} are still there; the kill goes on", render::count(left.len() as u64, "task"));
    }
    Ok(done)
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
        progress.show(&format!("{}: {} left", selection.key, render::count(left.len() as u64, "task")));
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Waited),
        }
    }
}
