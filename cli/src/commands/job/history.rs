//! `dawn job history`: a job's versions, and every step of its tasks.

use clap::Args;
use dawn_proto::{TaskId, v1};

use super::{status, tasks};
use crate::args::Context;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

#[derive(Args)]
pub struct History {
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances
    job: Selection,
    /// Show the steps of at most COUNT tasks, the newest
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = crate::args::at_least_one)]
    limit: u32,
    /// Only tasks that failed or were lost
    #[arg(long)]
    failed: bool,
}

fn has_failed(task: &v1::Task) -> bool {
    matches!(task.state(), v1::TaskState::Failed | v1::TaskState::Lost)
}

pub async fn run(args: History, context: &mut Context) -> Result<Exit, Failure> {
    let status = status::get(context, &args.job).await?;
    let mut tasks = tasks::list(context, &args.job, true).await?;
    tasks.retain(|task| !args.failed || has_failed(task));
    let left_out = tasks.len().saturating_sub(args.limit as usize);
    tasks.drain(..left_out);
    if context.out.json {
        let versions: Vec<_> = status.versions.iter().map(json::version).collect();
        let fields = serde_json::json!({
            "job": args.job.key.to_string(), "versions": versions, "tasks": json::tasks(&tasks), "index": status.index,
        });
        context.out.value(&json::object(fields));
        return Ok(Exit::Done);
    }
    let now_ms = time::now_ms();
    if args.job.instances.is_empty() {
        context.out.table(&versions(&status.versions, now_ms));
        context.out.line("");
    }
    if left_out > 0 {
        let key = &args.job.key;
        let more = "give --limit for more, or ask for one instance with";
        context.out.line(&format!("… {left_out} older tasks left out; {more} {key}/0"));
    }
    match tasks.is_empty() && args.failed {
        true => context.out.line("no task that is kept has failed"),
        false => context.out.table(&steps(&tasks)),
    }
    Ok(Exit::Done)
}

fn versions(versions: &[v1::JobVersion], now_ms: i64) -> Table {
    let mut table = Table::new(&[">VERSION", "WHEN", "", "BY", "MESSAGE"]);
    for version in versions {
        let mark = if version.current { "*" } else { "" };
        table.row(vec![
            format!("{}{mark}", version.version),
            time::local(version.at_ms),
            time::relative(version.at_ms, now_ms),
            version.author.clone(),
            version.message.clone(),
        ]);
    }
    table
}

/// The exit code, or the signal, of the process that decided an end.
fn exit(step: &v1::Transition) -> String {
    match (step.exit_code, step.signal) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => String::new(),
    }
}

fn steps(tasks: &[v1::Task]) -> Table {
    let mut table =
        Table::new(&["TASK", ">INSTANCE", ">VERSION", "NODE", "WHEN", "STATE", "REASON", "EXIT", "MESSAGE"]);
    for task in tasks {
        let node = if task.hostname.is_empty() { &task.agent_id } else { &task.hostname };
        for (i, step) in task.history.iter().enumerate() {
            let first = |text: String| if i == 0 { text } else { String::new() };
            table.row(vec![
                first(TaskId(task.id).to_string()),
                first(task.instance.to_string()),
                first(task.version.to_string()),
                first(node.clone()),
                time::local(step.at_ms),
                render::state(step.state()),
                render::reason(step.reason()),
                exit(step),
                step.message.clone(),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_is_named_once_and_then_its_steps() {
        let step = |state: v1::TaskState, reason: v1::Reason, message: &str| v1::Transition {
            state: state.into(),
            reason: reason.into(),
            message: message.into(),
            ..Default::default()
        };
        let history = vec![
            step(v1::TaskState::Running, v1::Reason::None, ""),
            step(v1::TaskState::Failed, v1::Reason::OutOfMemory, "limit 64 MiB"),
        ];
        let task =
            v1::Task { id: 7, instance: 2, version: 1, hostname: "node-1".into(), history, ..Default::default() };
        let expected = "\
TASK  INSTANCE  VERSION  NODE    WHEN  STATE    REASON         MESSAGE
t7           2        1  node-1  -     running
                                 -     failed   out of memory  limit 64 MiB
";
        assert_eq!(steps(&[task]).text(), expected);
    }
}
