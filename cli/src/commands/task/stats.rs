//! `dawn task stats`: what a task uses, once or as it changes.

use std::time::Duration;

use clap::Args;
use dawn_proto::TaskId;
use dawn_proto::v1;
use dawn_proto::v1::reach_down::Message as Down;
use dawn_proto::v1::reach_open::What;

use super::target::{Target, about};
use crate::args::{Context, duration};
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

#[derive(Args)]
pub struct Stats {
    /// t12, or ROLE/ENV/NAME/INSTANCE
    task: Target,
    /// Show it again and again, this often, until interrupted
    #[arg(long, short, value_name = "DURATION", value_parser = every, num_args = 0..=1, default_missing_value = "2s")]
    watch: Option<Duration>,
}

/// A duration; a task behind the flag is one that was to stand before it.
fn every(text: &str) -> Result<Duration, String> {
    let hint = |why: String| match text.parse::<Target>() {
        Ok(_) => format!("{why}; a task stands before it: `dawn task stats {text} --watch`"),
        Err(_) => why,
    };
    duration(text).map_err(hint)
}

impl Stats {
    /// It ends only when it is told to.
    pub fn goes_on(&self) -> bool {
        self.watch.is_some()
    }
}

pub async fn run(args: Stats, context: &mut Context) -> Result<Exit, Failure> {
    let task = args.task.find(context).await?;
    let interval_ms = args.watch.map_or(0, |every| u32::try_from(every.as_millis()).unwrap_or(u32::MAX).max(1));
    let what = What::Usage(v1::WatchUsage { interval_ms });
    let mut session = context.scheduler.reach(about(task, what)).await?;
    let mut said = false;
    while let Some(message) = session.next().await? {
        match message {
            Down::Usage(list) => {
                let Some(usage) = list.tasks.first() else {
                    let message = format!("{task} has no cgroup to be measured (any more)");
                    return Err(Failure::new(Exit::Failed, message));
                };
                said = true;
                show(context, usage);
            }
            Down::Done(_) => return Ok(Exit::Done),
            _ => {}
        }
    }
    if said { Ok(Exit::Done) } else { Err(Failure::new(Exit::Failed, format!("nothing came about {task}"))) }
}

fn show(context: &Context, usage: &v1::Usage) {
    if context.out.json {
        return context.out.value(&json::object(serde_json::json!({ "usage": usage_json(usage) })));
    }
    let mut table = Table::bare(2);
    let mut row = |name: &str, value: Option<String>| {
        table.row(vec![name.to_string(), value.unwrap_or_else(|| "not counted on this node".to_string())]);
    };
    let of = |limit: u64, text: String| if limit > 0 { format!(" of {text}") } else { String::new() };
    let cores = |milli: u64| format!("{}.{:02}", milli / 1_000, milli % 1_000 / 10);
    let limit = of(usage.cpu_limit_milli, cores(usage.cpu_limit_milli));
    row("cpu", usage.cpu_milli.map(|milli| format!("{}{limit} cores", cores(milli))));
    row("cpu time", usage.cpu_usec.map(|usec| time::span(i64::try_from(usec / 1_000).unwrap_or(i64::MAX))));
    let throttled = usage.throttled_usec.map(|usec| time::span(i64::try_from(usec / 1_000).unwrap_or(i64::MAX)));
    let periods = usage.throttled_periods.unwrap_or(0);
    row("throttled", throttled.map(|span| format!("{span} in {}", render::count(periods, "period"))));
    let limit = of(usage.memory_limit_bytes, render::bytes(usage.memory_limit_bytes));
    row("memory", usage.memory_bytes.map(|bytes| format!("{}{limit}", render::bytes(bytes))));
    row("memory peak", usage.memory_peak_bytes.map(render::bytes));
    let limit = of(usage.pids_limit, usage.pids_limit.to_string());
    row("processes", usage.pids.map(|pids| format!("{pids}{limit}")));
    let limit = of(usage.disk_limit_bytes, render::bytes(usage.disk_limit_bytes));
    let least = if usage.disk_cut { "at least " } else { "" };
    row("disk", usage.disk_bytes.map(|bytes| format!("{least}{}{limit}", render::bytes(bytes))));
    row("read", usage.read_bytes.map(render::bytes));
    row("written", usage.written_bytes.map(render::bytes));
    context.out.table(&table);
}

pub fn usage_json(usage: &v1::Usage) -> serde_json::Value {
    serde_json::json!({
        "task": TaskId(usage.task_id).to_string(), "job": usage.job, "instance": usage.instance, "at": time::rfc3339(usage.at_ms),
        "cpu_usec": usage.cpu_usec, "cpu_milli": usage.cpu_milli, "cpu_limit_milli": usage.cpu_limit_milli,
        "throttled_usec": usage.throttled_usec, "throttled_periods": usage.throttled_periods,
        "memory_bytes": usage.memory_bytes, "memory_peak_bytes": usage.memory_peak_bytes,
        "memory_limit_bytes": usage.memory_limit_bytes, "pids": usage.pids, "pids_limit": usage.pids_limit, "disk_bytes": usage.disk_bytes,
        "disk_cut": usage.disk_cut, "disk_limit_bytes": usage.disk_limit_bytes,
        "read_bytes": usage.read_bytes, "written_bytes": usage.written_bytes,
    })
}
