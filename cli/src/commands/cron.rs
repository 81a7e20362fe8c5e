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
    /// Let ticks fire again; ticks in between are dropped
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
        0 => at_and_in(cron, cron.next_ms, now_ms),
        at_ms => format!("none: paused {} by {}", time::relative(at_ms, now_ms), cron.paused_by),
    }
}

/// When the run of a tick begins: its jitter later. Zero stays: there is none.
fn begins_ms(cron: &v1::CronStatus, tick_ms: i64) -> i64 {
    match tick_ms {
        0 => 0,
        tick_ms => tick_ms.saturating_add(i64::try_from(cron.jitter_ms).unwrap_or(i64::MAX)),
    }
}

/// The time zone of a job's ticks by its IANA name; empty: UTC.
pub fn zone(cron: &v1::CronStatus) -> &str {
    cron.policy.as_ref().map_or("", |policy| policy.time_zone.as_str())
}

/// "2026-11-30 02:30:00 +01:00 (in 5h)": the run of a tick, in the zone of its job.
fn at_and_in(cron: &v1::CronStatus, tick_ms: i64, now_ms: i64) -> String {
    let begins_ms = begins_ms(cron, tick_ms);
    format!("{} ({})", time::in_named_zone(begins_ms, zone(cron)), time::relative(begins_ms, now_ms))
}

fn table(jobs: &[v1::CronStatus], now_ms: i64) -> Table {
    let mut table = Table::new(&["JOB", "SCHEDULE", "TIME ZONE", "NEXT RUN", "", ">RUNNING", "LAST RUN", "OUTCOME"]);
    for job in jobs {
        let policy = job.policy.clone().unwrap_or_default();
        let last = job.ticks.last();
        table.row(vec![
            render::key(job.key.as_ref()),
            policy.schedule,
            if policy.time_zone.is_empty() { "UTC".to_string() } else { policy.time_zone },
            match job.paused_ms {
                0 => time::in_named_zone(begins_ms(job, job.next_ms), zone(job)),
                _ => "paused".to_string(),
            },
            if job.paused_ms > 0 { String::new() } else { time::relative(begins_ms(job, job.next_ms), now_ms) },
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
        table.row(vec![time::in_named_zone(tick.scheduled_ms, zone(cron)), relative, result(cron, tick)]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_in_the_zone_of_the_job_and_later_by_its_jitter() {
        let policy =
            v1::CronPolicy { schedule: "30 2 * * *".into(), time_zone: "Europe/Berlin".into(), ..Default::default() };
        // 2026-11-30 02:30 in Berlin.
        let next_ms = 1_796_002_200_000;
        let tick = v1::Tick { scheduled_ms: next_ms, outcome: TickOutcome::Missed.into(), ..Default::default() };
        let key = v1::JobKey { role: "www".into(), env: "prod".into(), name: "backup".into() };
        let jitter_ms = 116_760;
        let mut cron = v1::CronStatus {
            key: Some(key),
            policy: Some(policy),
            next_ms,
            jitter_ms,
            ticks: vec![tick],
            ..Default::default()
        };
        assert_eq!(next_run(&cron, next_ms - 3_600_000), "2026-11-30 02:31:56 +01:00 (in 1h1m)");
        let text = table(std::slice::from_ref(&cron), next_ms - 3_600_000).text();
        assert!(text.contains("Europe/Berlin  2026-11-30 02:31:56 +01:00  in 1h1m"), "{text}");
        assert!(
            ticks(&cron, next_ms).text().contains("2026-11-30 02:30:00 +01:00"),
            "{}",
            ticks(&cron, next_ms).text()
        );
        cron.paused_ms = 1;
        assert!(table(&[cron], next_ms).text().contains("Europe/Berlin  paused"));
    }
}
