//! `dawn job list`: the cluster's jobs.

use clap::Args;
use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

#[derive(Args)]
pub struct List {
    /// Only jobs of this role, or of this role and environment
    #[arg(value_name = "ROLE[/ENV]")]
    prefix: Option<String>,
    /// Also jobs that have ended
    #[arg(long)]
    all: bool,
}

pub async fn run(args: List, context: &mut Context) -> Result<Exit, Failure> {
    let prefix = args.prefix.unwrap_or_default();
    let (role, env) = prefix.split_once('/').unwrap_or((&prefix, ""));
    if env.contains('/') {
        let message = format!("`{}` is a job; `dawn job status` shows one job", render::safe(&prefix));
        return Err(Failure::new(Exit::Usage, message));
    }
    let request = v1::ListJobsRequest { role: role.into(), env: env.into(), all: args.all, ..Default::default() };
    let jobs = all(context, request).await?;
    if context.out.json {
        let jobs: Vec<_> = jobs.iter().map(json::summary).collect();
        context.out.value(&json::object(serde_json::json!({ "jobs": jobs })));
    } else if jobs.is_empty() {
        let ended = if args.all { "" } else { " (ended ones are shown with --all)" };
        context.out.line(&format!("no jobs{ended}; submit one with `dawn job run FILE`"));
    } else {
        context.out.table(&table(&jobs, time::now_ms()));
    }
    Ok(Exit::Done)
}

/// Every page.
pub async fn all(context: &mut Context, mut request: v1::ListJobsRequest) -> Result<Vec<v1::JobSummary>, Failure> {
    let mut jobs = Vec::new();
    loop {
        let call = async |client: &mut Client, request| client.jobs().list_jobs(request).await;
        let page = context.scheduler.call(request.clone(), Repeat::Harmless, call).await?;
        jobs.extend(page.jobs);
        if page.next_page_token.is_empty() {
            return Ok(jobs);
        }
        request.page_token = page.next_page_token;
    }
}

/// What the counts don't show: that it has ended or is paused, that instances keep failing, or stop, or can't be seen.
fn note(job: &v1::JobSummary) -> String {
    if job.ended {
        return "ended".to_string();
    }
    let after = match job.waits_for.as_slice() {
        [] => None,
        [one] => Some(format!("waits for {}", render::safe(one))),
        [one, more @ ..] => Some(format!("waits for {} and {} more", render::safe(one), more.len())),
    };
    let notes = [(job.failing, "failing"), (job.stopping, "stopping"), (job.partitioned, "on nodes out of reach")];
    let notes = notes.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let paused = job.paused.then(|| "paused".to_string());
    let notes = paused.into_iter().chain(after).chain(notes);
    notes.collect::<Vec<_>>().join(", ")
}

pub fn table(jobs: &[v1::JobSummary], now_ms: i64) -> Table {
    let names = [
        "JOB",
        "KIND",
        "TIER",
        ">PRIORITY",
        ">INSTANCES",
        ">RUNNING",
        ">PENDING",
        ">FINISHED",
        ">FAILED",
        ">AGE",
        "NOTE",
    ];
    let mut table = Table::new(&names);
    for job in jobs {
        table.row(vec![
            render::key(job.key.as_ref()),
            render::kind(job.kind()).to_string(),
            render::tier(job.tier()).to_string(),
            job.priority.to_string(),
            job.instances.to_string(),
            job.running.to_string(),
            (job.pending + job.starting).to_string(),
            job.finished.to_string(),
            job.failed.to_string(),
            time::span(now_ms - job.created_ms),
            note(job),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_line_up() {
        let job = |name: &str, kind: v1::JobKind, running| v1::JobSummary {
            key: Some(v1::JobKey { role: "www".into(), env: "prod".into(), name: name.into() }),
            kind: kind.into(),
            tier: v1::Tier::Production.into(),
            priority: 100,
            instances: 12,
            running,
            pending: 1,
            starting: 1,
            created_ms: 1_000,
            ended: running == 0,
            ..Default::default()
        };
        let crashes = v1::JobSummary { failing: 2, stopping: 1, ..job("crash", v1::JobKind::Service, 1) };
        let waits = v1::JobSummary {
            waits_for: vec!["www/prod/web (success)".into(), "www/prod/db (any end)".into()],
            ..job("last", v1::JobKind::Batch, 1)
        };
        let paused = v1::JobSummary { paused: true, ..job("tick", v1::JobKind::Cron, 1) };
        let jobs = [job("web", v1::JobKind::Service, 10), job("primes", v1::JobKind::Batch, 0), crashes, waits, paused];
        let expected = "\
JOB              KIND     TIER        PRIORITY  INSTANCES  RUNNING  PENDING  FINISHED  FAILED  AGE  NOTE
www/prod/web     service  production       100         12       10        2         0       0   9s
www/prod/primes  batch    production       100         12        0        2         0       0   9s  ended
www/prod/crash   service  production       100         12        1        2         0       0   9s  2 failing, 1 stopping
www/prod/last    batch    production       100         12        1        2         0       0   9s  waits for www/prod/web (success) and 1 more
www/prod/tick    cron     production       100         12        1        2         0       0   9s  paused
";
        assert_eq!(table(&jobs, 10_000).text(), expected);
    }
}
