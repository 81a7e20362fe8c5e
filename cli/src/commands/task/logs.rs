//! `dawn task logs`: one task's log, by its id or as the newest of an instance that ran.

use clap::Args;

use super::target::Target;
use crate::args::Context;
use crate::commands::job::logs::{Reading, What, describe_silence, with_log};
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
    let task = args.task.find(context).await?;
    let found = with_log(context, task).await?;
    // Unnamed is the agent's word for the first of its processes.
    let request = args.what.request(task.0, args.what.process.clone().unwrap_or_default());
    let follows = request.follow;
    let reading = Reading::new(context.scheduler.again(), args.what.lines(context, String::new()), request);
    until_timeout(context.timeout.filter(|_| follows), async {
        if !reading.read().await? {
            describe_silence(&args.what, &[&found]).iter().for_each(|line| eprintln!("--- {line}"));
        }
        Ok(Exit::Done)
    })
    .await
}
