//! `dawn admin journal`: the journal as text, from a scheduler or straight from where it lies.

use clap::{Args, Subcommand};
use dawn_proto::{JobKey, v1};

use super::{cut, record};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::until_timeout;
use crate::daemon::{self, Home};
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Journal {
    #[command(subcommand)]
    change: Option<Change>,
    /// First index [default: as far back as the journal is kept]
    #[arg(long, value_name = "INDEX", default_value_t = 0, hide_default_value = true)]
    from: u64,
    /// Last index [default: the end as of now]
    #[arg(long, value_name = "INDEX", default_value_t = 0, hide_default_value = true)]
    to: u64,
    /// Only records about this job and its tasks: ROLE/ENV/NAME
    #[arg(long, value_name = "JOB")]
    job: Option<JobKey>,
    /// Only records about this task, such as t5
    #[arg(long, value_name = "TASK", value_parser = task)]
    task: Option<u64>,
    #[command(flatten)]
    home: Home,
}

#[derive(Subcommand)]
enum Change {
    /// Give up all that came after an index, while no scheduler runs on it; then go on as after a restore
    Cut(cut::Cut),
}

fn task(text: &str) -> Result<u64, String> {
    text.strip_prefix('t').unwrap_or(text).parse().map_err(|_| "write a task's id, as in t5".to_string())
}

impl Journal {
    fn wants(&self, entry: &v1::JournalEntry) -> bool {
        let job = self.job.as_ref().is_none_or(|job| entry.job == job.to_string());
        job && self.task.is_none_or(|task| entry.task_id == Some(task))
    }

    fn print(&self, entries: &v1::JournalEntries, context: &Context) {
        let mut text = String::new();
        for entry in entries.entries.iter().filter(|entry| self.wants(entry)) {
            match context.out.json {
                true => text += &record::value(entry).to_string(),
                false => text += &record::line(entry),
            }
            text.push('\n');
        }
        context.out.write(text.as_bytes());
    }
}

pub async fn run(args: Journal, context: &mut Context) -> Result<Exit, Failure> {
    until_timeout(context.timeout, read(args, context)).await
}

async fn read(mut args: Journal, context: &mut Context) -> Result<Exit, Failure> {
    if let Some(Change::Cut(cut)) = args.change {
        return cut::run(cut, context).await;
    }
    if args.to > 0 && args.from > args.to {
        return Err(Failure::new(Exit::Usage, format!("--from {} is after --to {}", args.from, args.to)));
    }
    let damaged =
        |words: &str| Failure::new(Exit::Failed, format!("reading the journal: {}", render::safe_lines(words)));
    if args.home.is_given() {
        let home = std::mem::take(&mut args.home);
        let mut entries = daemon::journal(home, args.from, args.to).await?;
        while let Some(portion) = entries.recv().await {
            args.print(&portion.map_err(|words| damaged(&words))?, context);
        }
        return Ok(Exit::Done);
    }
    let request = v1::ReadJournalRequest { from: args.from, to: args.to };
    let call = async |client: &mut Client, request| client.admin().read_journal(request).await;
    let mut entries = context.scheduler.call(request, Repeat::Harmless, call).await?;
    while let Some(portion) = entries.message().await.map_err(|status| damaged(status.message()))? {
        args.print(&portion, context);
    }
    Ok(Exit::Done)
}
