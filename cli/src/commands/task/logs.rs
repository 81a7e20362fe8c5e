//! `dawn task logs`: one task's log, by its id; of an instance, as `dawn job logs` has it.

use clap::Args;
use dawn_proto::v1;

use super::target::Target;
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Args)]
pub struct Logs {
    /// t12, or ROLE/ENV/NAME/INSTANCE
    task: Target,
    /// Go on as more is written, until the task ends
    #[arg(long, short)]
    follow: bool,
    /// This process, where a task has several [default: the first]
    #[arg(long, short)]
    process: Option<String>,
    /// What was written to standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    /// Start this far from the end, such as 0, 500 or 64KiB [default: at the oldest byte kept]
    #[arg(long, value_name = "BYTES", value_parser = crate::spec::size)]
    tail: Option<u64>,
}

pub async fn run(args: Logs, context: &mut Context) -> Result<Exit, Failure> {
    let task = args.task.find(context).await?;
    let request = v1::ReadLogRequest {
        task_id: task.0,
        process: args.process.unwrap_or_default(),
        stderr: args.stderr,
        follow: args.follow,
        tail_bytes: args.tail.unwrap_or(0),
        tail: args.tail.is_some(),
        ..Default::default()
    };
    let call = async |client: &mut Client, request| client.read_log(request).await;
    let mut stream = context.scheduler.call(request, Repeat::Harmless, call).await?;
    loop {
        match stream.message().await {
            Ok(Some(chunk)) => context.out.write(&chunk.data),
            Ok(None) => return Ok(Exit::Done),
            Err(status) => {
                let message = format!("the log of {task} broke off: {}", render::safe(status.message()));
                return Err(Failure::new(Exit::Failed, message));
            }
        }
    }
}
