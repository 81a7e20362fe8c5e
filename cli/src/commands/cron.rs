//! `dawn cron …`: jobs that run by the clock.

mod pause;
mod show;

use clap::Subcommand;
use dawn_proto::v1::{self, TickOutcome};

use super::author;
use super::select::Selection;
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

#[derive(Subcommand)]
pub enum Cron {
    /// List cron jobs with their next and last runs
    List {
        /// Only jobs of this role
        role: Option<String>,
    },
    /// Show one cron job: its next ticks, and what became of the last ones
    Show { job: Selection },
    /// Let no tick fire until it is resumed; runs that live go on
    Pause { job: Selection },
    /// Let ticks fire again; those in between are neither run nor missed
    Resume { job: Selection },
    /// Run a cron job now, beside its schedule
    Start { job: Selection },
    /// Take a cron job off its schedule; runs that live go on
    Deschedule { job: Selection },
}

pub async fn run(cron: Cron, context: &mut Context) -> Result<Exit, Failure> {
    match cron {
        Cron::List { role } => list(role.unwrap_or_default(), context).await,
        Cron::Show { job } => show::run(&job, context).await,
        Cron::Pause { job } => pause::pause(&job, context).await,
        Cron::Resume { job } => pause::resume(&job, context).await,
        Cron::Start { job } => start(&job, context).await,
        Cron::Deschedule { job } => deschedule(&job, context).await,
    }
}

async fn list(role: String, context: &mut Context) -> Result<Exit, Failure> {
    let call = async |client: &mut Client, request| client.list_cron(request).await;
    let answer = context.scheduler.call(v1::ListCronRequest { role }, Repeat::Harmless, call).await?;
    if context.out.json {
        let jobs: Vec<_> = answer.jobs.iter().map(json::cron).collect();
        context.out.value(&json::object(serde_json::json!({ "jobs": jobs, "index": answer.index })));
    } else if answer.jobs.is_empty() {
        context.out.line("no cron jobs");
    } else {
        context.out.table(&table(&answer.jobs, time::now_ms()));
    }
    Ok(Exit::Done)
}

fn outcome(tick: &v1::Tick) -> &'static str {
    match tick.outcome() {
        TickOutcome::Unspecified => "unknown",
        TickOutcome::Launched => "launched",
        TickOutcome::SkippedOverlap => "skipped: the last run was still alive",
        TickOutcome::Missed => "missed",
        TickOutcome::Queued => "queued",
        TickOutcome::Manual => "started by hand",
    }
}

/// What was decided about a tick and, of one that ran, what became of it.
fn result(cron: &v1::CronStatus, tick: &v1::Tick) -> String {
    let run = cron.runs.iter().find(|run| run.run_at_ms == tick.scheduled_ms);
    let Some(run) = run else { return outcome(tick).to_string() };
    let counts = [(run.finished, "finished"), (run.failed, "failed"), (run.other, "stopped"), (run.living, "not done")];
    let counts: Vec<String> = match counts
        .iter()
        .find(|(count, _)| *count == run.finished + run.failed + run.other + run.living)
    {
        Some((_, what)) => vec![(*what).to_string()],
        None => counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect(),
    };
    let by_hand = if tick.outcome() == TickOutcome::Manual { "by hand: " } else { "" };
    let took = match run.ended_ms > 0 && run.started_ms > 0 {
        true => format!(" in {}", time::span(run.ended_ms - run.started_ms)),
        false => String::new(),
    };
    format!("{by_hand}{}{took}", counts.join(", "))
}

/// When the next tick is due, or that none is.
pub fn next_run(cron: &v1::CronStatus, now_ms: i64) -> String {
    match cron.paused_ms {
        0 => format!("{} ({})", time::local(cron.next_ms), time::relative(cron.next_ms, now_ms)),
        at_ms => format!("none: paused {} by {}", time::relative(at_ms, now_ms), cron.paused_by),
    }
}

fn table(jobs: &[v1::CronStatus], now_ms: i64) -> Table {
    let mut table = Table::new(&["JOB", "SCHEDULE", "TIME ZONE", "NEXT RUN", "", ">RUNNING", "LAST RUN", "OUTCOME"]);
    for job in jobs {
        let policy = job.policy.clone().unwrap_or_default();
        let last = job.ticks.last();
        table.row(vec![
            render::key(job.key.as_ref()),
            policy.schedule,
            policy.time_zone,
            if job.paused_ms > 0 { "paused".to_string() } else { time::local(job.next_ms) },
            time::relative(job.next_ms, now_ms),
            job.running.to_string(),
            last.map_or_else(String::new, |tick| time::relative(tick.scheduled_ms, now_ms)),
            last.map_or_else(String::new, |tick| result(job, tick)),
        ]);
    }
    table
}

/// The last ticks of one job, latest first.
pub fn ticks(cron: &v1::CronStatus, now_ms: i64) -> Table {
    let mut table = Table::new(&["TICK", "", "OUTCOME"]);
    for tick in cron.ticks.iter().rev() {
        let relative = time::relative(tick.scheduled_ms, now_ms);
        table.row(vec![time::local(tick.scheduled_ms), relative, result(cron, tick)]);
    }
    table
}

async fn start(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::StartCronRequest { key: Some((&job.key).into()), author: author() };
    let call = async |client: &mut Client, request| client.start_cron(request).await;
    let started = context.scheduler.call(request, Repeat::Never, call).await?;
    if context.out.json {
        let run_at = time::rfc3339(started.run_at_ms);
        let fields = serde_json::json!({ "job": job.key.to_string(), "run_at": run_at, "index": started.index });
        context.out.value(&json::object(fields));
    } else {
        context.out.line(&format!("{0}: started; see `dawn job status {0}`", job.key));
    }
    Ok(Exit::Done)
}

async fn deschedule(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::DescheduleCronRequest { key: Some((&job.key).into()), author: author() };
    let call = async |client: &mut Client, request| client.deschedule_cron(request).await;
    let done = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if context.out.json {
        let fields = serde_json::json!({ "job": job.key.to_string(), "index": done.index });
        context.out.value(&json::object(fields));
    } else {
        context.out.line(&format!("{0}: off its schedule; `dawn job run FILE` puts it back", job.key));
    }
    Ok(Exit::Done)
}
