//! `dawn cron …`: jobs that run by the clock.

mod pause;
mod show;

use std::collections::BTreeMap;

use clap::Subcommand;
use dawn_proto::v1::{self, TickOutcome};

use super::author;
use super::select::Selection;
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, failure, json, time};

#[derive(Subcommand)]
pub enum Cron {
    /// List cron jobs with their next and last runs
    List {
        /// Only jobs of this role
        role: Option<String>,
    },
    /// Show one cron job: its next ticks, and what became of the last ones
    Show {
        /// The cron job: ROLE/ENV/NAME
        job: Selection,
    },
    /// Let no tick fire until it is resumed; runs that live go on
    Pause {
        /// The cron job: ROLE/ENV/NAME
        job: Selection,
    },
    /// Let ticks fire again; ticks in between are dropped
    Resume {
        /// The cron job: ROLE/ENV/NAME
        job: Selection,
    },
    /// Run a cron job now, beside its schedule
    Start {
        /// The cron job: ROLE/ENV/NAME
        job: Selection,
    },
    /// Take a cron job off its schedule; runs that live go on
    Deschedule {
        /// The cron job: ROLE/ENV/NAME
        job: Selection,
    },
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
    let call = async |client: &mut Client, request| client.cron().list_cron(request).await;
    let answer = context.scheduler.call(v1::ListCronRequest { role }, Repeat::Harmless, call).await?;
    if context.out.json {
        let jobs: Vec<_> = answer.jobs.iter().map(json::cron).collect();
        context.out.value(&json::object(serde_json::json!({ "jobs": jobs, "index": answer.index })));
    } else if answer.jobs.is_empty() {
        context.out.line("no cron jobs");
    } else {
        let causes = causes(&answer.jobs, context).await;
        context.out.table(&table(&answer.jobs, &causes, time::now_ms()));
    }
    Ok(Exit::Done)
}

/// Most jobs that are asked why their last run failed.
const MAX_CAUSES: usize = 50;

/// Why the last run of each job failed, or waits, by key; of the others nothing.
async fn causes(jobs: &[v1::CronStatus], context: &mut Context) -> BTreeMap<String, String> {
    let failed = |job: &&v1::CronStatus| {
        let last = job.ticks.last().map(|tick| tick.scheduled_ms);
        job.runs.iter().any(|run| Some(run.run_at_ms) == last && run.failed > 0)
    };
    let mut causes = BTreeMap::new();
    for job in jobs.iter().filter(|job| waits_now(job, job.ticks.last())).take(MAX_CAUSES) {
        causes.insert(render::key(job.key.as_ref()), why_waits(context, job).await);
    }
    for job in jobs.iter().filter(failed).take(MAX_CAUSES) {
        let request = v1::GetJobRequest { key: job.key.clone(), version: 0 };
        let call = async |client: &mut Client, request| client.jobs().get_job(request).await;
        // The list is worth more than its last words.
        let Ok(status) = context.scheduler.call(request, Repeat::Harmless, call).await else { continue };
        let last = job.ticks.last().map_or(0, |tick| tick.scheduled_ms);
        causes.insert(render::key(job.key.as_ref()), cause(&status.tasks, last));
    }
    causes
}

/// The run of a tick, or else the one before it for which it was skipped.
fn run_behind<'a>(cron: &'a v1::CronStatus, tick: &v1::Tick) -> Option<&'a v1::CronRun> {
    let skipped = tick.outcome() == TickOutcome::SkippedOverlap;
    let is_it = |run: &&v1::CronRun| match skipped {
        true => run.run_at_ms < tick.scheduled_ms,
        false => run.run_at_ms == tick.scheduled_ms,
    };
    cron.runs.iter().filter(is_it).max_by_key(|run| run.run_at_ms)
}

/// Whether the run has begun nowhere yet.
fn is_waiting(run: &v1::CronRun) -> bool {
    run.living > 0 && run.started_ms == 0
}

/// Whether a run that waits for room is the reason of what is said of the tick.
fn waits_now(cron: &v1::CronStatus, tick: Option<&v1::Tick>) -> bool {
    tick.and_then(|tick| run_behind(cron, tick)).is_some_and(is_waiting)
}

/// ": none of 3 nodes fits" of a run that waits; empty when nobody can say it.
async fn why_waits(context: &mut Context, cron: &v1::CronStatus) -> String {
    let request = v1::WhyRequest { key: cron.key.clone() };
    let call = async |client: &mut Client, request| client.jobs().why(request).await;
    let why = context.scheduler.call(request, Repeat::Harmless, call).await.unwrap_or_default();
    let pending = why.classes.iter().find(|class| class.state() == v1::TaskState::Pending);
    pending.map_or_else(String::new, |class| format!(": {}", render::safe(&class.summary)))
}

/// ": process main ended with exit code 3" of a run of which a task failed; else empty.
fn cause(tasks: &[v1::Task], run_at_ms: i64) -> String {
    let of_run = tasks.iter().filter(|task| task.run_at_ms == run_at_ms);
    let failed = of_run.filter_map(failure::of).max_by_key(|failed| failed.at_ms);
    failed.map_or_else(String::new, |failed| format!(": {}", failure::cause(&failed)))
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
    let Some(run) = run else {
        let began_ms = began_ms(cron, tick);
        return match run_behind(cron, tick).filter(|_| tick.outcome() == TickOutcome::SkippedOverlap) {
            Some(last) if is_waiting(last) => "skipped: the last run still waits for room".to_string(),
            Some(last) if last.started_ms > began_ms => "skipped: the last run still waited for room".to_string(),
            _ => outcome(tick).to_string(),
        };
    };
    let counts = [
        (run.finished, "finished"),
        (run.failed, "failed"),
        (run.other, "stopped"),
        (run.living, if run.started_ms > 0 { "running" } else { "waits for room" }),
    ];
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
        0 if cron.next_ms == 0 => "none: off its schedule".to_string(),
        0 => at_and_in(cron, cron.next_ms, now_ms),
        _ => {
            let (paused, key) = (paused(cron, now_ms).unwrap_or_default(), render::key(cron.key.as_ref()));
            format!("none: {paused}; `dawn cron resume {key}` lets it fire again")
        }
    }
}

/// "paused 2m ago by ann"; None: it is not.
pub fn paused(cron: &v1::CronStatus, now_ms: i64) -> Option<String> {
    let by = if cron.paused_by.is_empty() { String::new() } else { format!(" by {}", render::safe(&cron.paused_by)) };
    (cron.paused_ms > 0).then(|| format!("paused {}{by}", time::relative(cron.paused_ms, now_ms)))
}

/// When the run of a tick begins: its jitter later. Zero stays: there is none.
fn begins_ms(cron: &v1::CronStatus, tick_ms: i64) -> i64 {
    match tick_ms {
        0 => 0,
        tick_ms => tick_ms.saturating_add(i64::try_from(cron.jitter_ms).unwrap_or(i64::MAX)),
    }
}

/// When a run began: its jitter after its tick, but for one that was started by hand.
fn began_ms(cron: &v1::CronStatus, tick: &v1::Tick) -> i64 {
    match tick.outcome() {
        TickOutcome::Manual => tick.scheduled_ms,
        _ => begins_ms(cron, tick.scheduled_ms),
    }
}

/// The time zone of a job's ticks by its IANA name; empty: UTC.
pub fn time_zone_of(cron: &v1::CronStatus) -> &str {
    cron.policy.as_ref().map_or("", |policy| policy.time_zone.as_str())
}

/// "2026-11-30 02:30:00 +01:00 (in 5h)": the run of a tick, in the zone of its job.
fn at_and_in(cron: &v1::CronStatus, tick_ms: i64, now_ms: i64) -> String {
    let begins_ms = begins_ms(cron, tick_ms);
    format!("{} ({})", time::in_named_zone(begins_ms, time_zone_of(cron)), time::relative(begins_ms, now_ms))
}

fn table(jobs: &[v1::CronStatus], causes: &BTreeMap<String, String>, now_ms: i64) -> Table {
    let mut table = Table::new(&["JOB", "SCHEDULE", "TIME ZONE", "NEXT RUN", "", ">LIVE RUNS", "LAST RUN", "OUTCOME"]);
    for job in jobs {
        let policy = job.policy.clone().unwrap_or_default();
        let last = job.ticks.last();
        let key = render::key(job.key.as_ref());
        let cause = causes.get(&key).map_or("", String::as_str);
        table.row(vec![
            key,
            policy.schedule,
            if policy.time_zone.is_empty() { "UTC".to_string() } else { policy.time_zone },
            match job.paused_ms {
                0 if job.next_ms == 0 => "off its schedule".to_string(),
                0 => time::in_named_zone(begins_ms(job, job.next_ms), time_zone_of(job)),
                _ => "paused".to_string(),
            },
            if job.paused_ms > 0 || job.next_ms == 0 {
                String::new()
            } else {
                time::relative(begins_ms(job, job.next_ms), now_ms)
            },
            job.running.to_string(),
            last.map_or_else(String::new, |tick| time::relative(began_ms(job, tick), now_ms)),
            last.map_or_else(String::new, |tick| format!("{}{cause}", result(job, tick))),
        ]);
    }
    table
}

/// The last ticks of one job, latest first.
pub fn ticks(cron: &v1::CronStatus, now_ms: i64) -> Table {
    ticks_with_causes(cron, &[], "", now_ms)
}

/// The same, with why runs failed, as far as their tasks are kept, and why one waits.
fn ticks_with_causes(cron: &v1::CronStatus, tasks: &[v1::Task], waits: &str, now_ms: i64) -> Table {
    let mut table = Table::new(&["TICK", "", "OUTCOME"]);
    for tick in cron.ticks.iter().rev() {
        let relative = time::relative(tick.scheduled_ms, now_ms);
        table.row(vec![
            time::in_named_zone(tick.scheduled_ms, time_zone_of(cron)),
            relative,
            match waits_now(cron, Some(tick)) {
                true => format!("{}{waits}", result(cron, tick)),
                false => format!("{}{}", result(cron, tick), cause(tasks, tick.scheduled_ms)),
            },
        ]);
    }
    table
}

async fn start(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::StartCronRequest { key: Some((&job.key).into()), author: author() };
    let call = async |client: &mut Client, request| client.cron().start_cron(request).await;
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
    let call = async |client: &mut Client, request| client.cron().deschedule_cron(request).await;
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
        let none = BTreeMap::new();
        let text = table(std::slice::from_ref(&cron), &none, next_ms - 3_600_000).text();
        assert!(text.contains("Europe/Berlin  2026-11-30 02:31:56 +01:00  in 1h1m"), "{text}");
        assert!(
            ticks(&cron, next_ms).text().contains("2026-11-30 02:30:00 +01:00"),
            "{}",
            ticks(&cron, next_ms).text()
        );
        cron.paused_ms = 1;
        assert!(table(std::slice::from_ref(&cron), &none, next_ms).text().contains("Europe/Berlin  paused"));
        let told = "none: paused 30m ago; `dawn cron resume www/prod/backup` lets it fire again";
        assert_eq!(next_run(&cron, 1_800_001), told);
        (cron.paused_ms, cron.next_ms) = (0, 0);
        assert_eq!(next_run(&cron, next_ms), "none: off its schedule");
        assert!(table(&[cron], &none, next_ms).text().contains("Europe/Berlin  off its schedule  "));
    }

    #[test]
    fn a_run_that_failed_is_told_with_its_cause_and_began_its_jitter_after_its_tick() {
        let key = v1::JobKey { role: "www".into(), env: "prod".into(), name: "backup".into() };
        let tick = v1::Tick { scheduled_ms: 60_000, outcome: TickOutcome::Launched.into(), ..Default::default() };
        let run =
            v1::CronRun { run_at_ms: 60_000, failed: 1, started_ms: 70_000, ended_ms: 72_000, ..Default::default() };
        let failed = v1::TaskFailure {
            reason: v1::Reason::Exited.into(),
            message: "process main ended with exit code 3".into(),
            at_ms: 72_000,
            ..Default::default()
        };
        let tasks = [v1::Task { run_at_ms: 60_000, last_failure: Some(failed), ..Default::default() }];
        let cron = v1::CronStatus {
            key: Some(key),
            jitter_ms: 10_000,
            ticks: vec![tick],
            runs: vec![run],
            next_ms: 120_000,
            ..Default::default()
        };
        let told = "failed in 2s: process main ended with exit code 3";
        assert!(ticks_with_causes(&cron, &tasks, "", 80_000).text().contains(told));
        let causes = [("www/prod/backup".to_string(), cause(&tasks, 60_000))].into();
        let text = table(std::slice::from_ref(&cron), &causes, 80_000).text();
        assert!(text.contains(told) && text.contains("  10s ago  "), "{text}");
        assert_eq!(cause(&tasks, 120_000), "", "another run");
    }

    #[test]
    fn a_run_that_waits_for_room_is_no_run_that_was_alive() {
        let tick = |scheduled_ms, outcome: TickOutcome| v1::Tick {
            scheduled_ms,
            outcome: outcome.into(),
            ..Default::default()
        };
        let ticks = vec![tick(60_000, TickOutcome::Launched), tick(120_000, TickOutcome::SkippedOverlap)];
        let run = v1::CronRun { run_at_ms: 60_000, living: 1, ..Default::default() };
        let mut cron = v1::CronStatus { ticks, runs: vec![run], ..Default::default() };
        let text = |cron: &v1::CronStatus| ticks_with_causes(cron, &[], ": none of 3 nodes fits", 130_000).text();
        let waits = text(&cron);
        assert!(waits.contains("  waits for room: none of 3 nodes fits"), "{waits}");
        assert!(waits.contains("  skipped: the last run still waits for room: none of 3 nodes fits"), "{waits}");
        cron.runs[0].started_ms = 125_000;
        assert!(text(&cron).contains("  skipped: the last run still waited for room\n"), "{}", text(&cron));
        cron.runs[0].started_ms = 61_000;
        assert!(text(&cron).contains("  skipped: the last run was still alive\n"), "{}", text(&cron));
    }
}
