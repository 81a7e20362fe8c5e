//! `dawn task logs`: one task's log, by its id or as the newest of an instance that ran.

use clap::Args;

use super::target::Target;
use crate::args::Context;
use crate::commands::job::logs::{Reading, What, asked_for, describe_silence, names_of_processes};
use crate::commands::job::status;
use crate::commands::select::Selection;
use crate::commands::until_timeout;
use crate::exit::{Exit, Failure};

#[derive(Args)]
pub struct Logs {
    /// t12, or ROLE/ENV/NAME/INSTANCE
    task: Target,
    #[command(flatten)]
    what: What,
}

pub async fn run(args: Logs, context: &mut Context) -> Result<Exit, Failure> {
    let task = args.task.find_task(context).await?;
    let mut process = args.what.process.clone().unwrap_or_default();
    if let Some(job) = task.job.as_ref().filter(|_| !process.is_empty()) {
        let job: Selection =
            crate::render::key(Some(job)).parse().map_err(|why: String| Failure::new(Exit::Failed, why))?;
        let there = match status::get(context, &job).await {
            Ok(status) => names_of_processes(context, &job, &status, task.version).await?,
            // Its agent says it too.
            Err(_) => Vec::new(),
        };
        process = asked_for(&args.what, there, Some(&task))?.remove(0);
    }
    // Unnamed is the agent's word for the first of its processes.
    let request = args.what.request(task.id, process);
    let follows = request.follow;
    let reading = Reading::new(context.scheduler.again(), args.what.lines(context, String::new()), request);
    until_timeout(context.timeout.filter(|_| follows), async {
        if !reading.read().await? {
            describe_silence(&args.what, &[(&task, false)]).iter().for_each(|line| eprintln!("--- {line}"));
        }
        Ok(Exit::Done)
    })
    .await
}
