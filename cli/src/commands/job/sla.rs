//! `dawn job sla`: how well jobs do, from what the scheduler keeps of their tasks.

use std::time::Duration;

use clap::Args;
use dawn_proto::v1;

use crate::args::{self, Context};
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

#[derive(Args)]
pub struct Sla {
    /// ROLE/ENV/NAME; all jobs without it
    job: Option<Selection>,
    /// Only jobs of this role
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "job")]
    role: String,
    /// How far back
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "24h")]
    window: Duration,
}

pub async fn run(args: Sla, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::GetSlaRequest {
        key: args.job.as_ref().map(|job| (&job.key).into()),
        role: args.role,
        window_ms: args.window.as_millis() as u64,
    };
    let call = async |client: &mut Client, request| client.jobs().get_sla(request).await;
    let report = context.scheduler.call(request, Repeat::Harmless, call).await?;
    if context.out.json {
        let jobs: Vec<_> = report.jobs.iter().map(value).collect();
        context.out.value(&json::object(serde_json::json!({ "jobs": jobs, "index": report.index })));
    } else if report.jobs.is_empty() {
        context.out.line("no jobs");
    } else {
        context.out.table(&table(&report.jobs));
    }
    Ok(Exit::Done)
}

fn percent(hundredths: u32) -> String {
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn table(jobs: &[v1::JobSla]) -> Table {
    let names = ["JOB", ">RUNNING", ">TO ASSIGNED", ">TO RUNNING", ">UP P50", ">UP P95", ">PLATFORM UPTIME", "POLICY"];
    let mut table = Table::new(&names);
    let span = |ms: Option<u64>| ms.map_or("-".to_string(), |ms| time::span(ms as i64));
    for job in jobs {
        let uptime = |percentile: u32| {
            let found = job.uptime.iter().find(|one| one.percentile == percentile);
            span(found.map(|one| one.uptime_ms))
        };
        let violated = if job.violated { " VIOLATED" } else { "" };
        table.row(vec![
            render::key(job.key.as_ref()),
            format!("{}/{}", job.running, job.instances),
            span(job.median_to_assigned_ms),
            span(job.median_to_running_ms),
            uptime(50),
            uptime(95),
            percent(job.platform_uptime),
            format!("{}{violated}", job.policy),
        ]);
    }
    table
}

fn value(job: &v1::JobSla) -> serde_json::Value {
    let uptime =
        job.uptime.iter().map(|one| serde_json::json!({ "percentile": one.percentile, "uptime_ms": one.uptime_ms }));
    serde_json::json!({
        "job": json::key(job.key.as_ref()), "instances": job.instances, "running": job.running,
        "median_to_assigned_ms": job.median_to_assigned_ms, "median_to_running_ms": job.median_to_running_ms,
        "uptime": uptime.collect::<Vec<_>>(), "platform_uptime_percent": f64::from(job.platform_uptime) / 100.0,
        "from": time::rfc3339(job.from_ms), "policy": job.policy, "violated": job.violated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_a_broken_policy_is_loud() {
        let job = v1::JobSla {
            key: Some(v1::JobKey { role: "a".into(), env: "b".into(), name: "c".into() }),
            instances: 3,
            running: 2,
            median_to_running_ms: Some(1_500),
            uptime: vec![v1::UptimePercentile { percentile: 50, uptime_ms: 60_000 }],
            platform_uptime: 9_995,
            policy: "2 up, 3 must be".into(),
            violated: true,
            ..Default::default()
        };
        let text = table(&[job]).text();
        assert!(
            text.contains("2/3") && text.contains("99.95 %") && text.contains("2 up, 3 must be VIOLATED"),
            "{text}"
        );
    }
}
