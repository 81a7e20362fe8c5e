//! `dawn job why`: why instances are pending, with how many nodes each reason ruled out.

use clap::Args;
use dawn_proto::{TaskState, v1};

use super::{cause, wait};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

#[derive(Args)]
pub struct Why {
    /// ROLE/ENV/NAME
    job: Selection,
}

pub async fn get(context: &mut Context, job: &Selection) -> Result<v1::WhyResponse, Failure> {
    let request = v1::WhyRequest { key: Some((&job.key).into()) };
    let call = async |client: &mut Client, request| client.why(request).await;
    context.scheduler.call(request, Repeat::Harmless, call).await
}

pub async fn run(args: Why, context: &mut Context) -> Result<Exit, Failure> {
    let mut why = get(context, &args.job).await?;
    for class in &mut why.classes {
        let of_whole_job = class.instances.is_empty();
        class.instances.retain(|instance| args.job.has(*instance));
        // What keeps the whole job back keeps each of its instances back.
        if class.instances.is_empty() && !of_whole_job {
            class.state = TaskState::Unspecified.into();
        }
    }
    why.classes.retain(|class| class.state() != TaskState::Unspecified);
    let mut status = super::status::get(context, &args.job).await?;
    args.job.must_be_there(&status)?;
    status.tasks.retain(|task| args.job.has(task.instance) && waits_or_was_tried_again(task));
    if context.out.json {
        let summary = why.classes.is_empty().then(|| nothing_pending(&status));
        let words = cause::words_of(context, &status.tasks).await;
        let causes = render::failure::causes(&status.tasks);
        context.out.value(&json::object(json::why(&why, summary, &causes, &words)));
        return Ok(Exit::Done);
    }
    context.out.write(text(&why, time::now_ms()).as_bytes());
    let failed = cause::describe_failures(context, &status.tasks).await;
    if !failed.is_empty() {
        context.out.line("last failures");
        context.out.write(failed.as_bytes());
    }
    if why.classes.is_empty() {
        context.out.line(&format!("{}: {}", args.job, nothing_pending(&status)));
    }
    Ok(Exit::Done)
}

/// Instances that are well are no answer to "why not", unless they failed before.
fn waits_or_was_tried_again(task: &v1::Task) -> bool {
    task.last_failure.is_some() || task.state() == TaskState::Failed
}

/// The whole truth where no instance is pending.
fn nothing_pending(status: &v1::JobStatus) -> String {
    let summary = status.summary.clone().unwrap_or_default();
    if summary.ended {
        let why = if summary.result == "succeeded" { String::new() } else { wait::why_ended(status) };
        let result = summary.result.replace('_', " ");
        let colon = if why.is_empty() { "" } else { ": " };
        return format!("nothing is pending; the job has ended ({result}{colon}{why})");
    }
    if let Some(cron) = &status.cron {
        return match cron.paused_ms {
            0 => {
                format!("nothing is pending; the next run is {}", crate::commands::cron::next_run(cron, time::now_ms()))
            }
            paused => {
                let (since, by) = (time::relative(paused, time::now_ms()), render::safe(&cron.paused_by));
                let key = render::key(summary.key.as_ref());
                format!("is paused since {since} by {by}, so it starts no run; `dawn cron resume {key}` ends that")
            }
        };
    }
    let counts = super::status::counts(&summary);
    match summary.failing {
        0 => format!("nothing is pending; instances {counts}"),
        _ => format!("nothing is pending, but instances have failed; instances {counts}"),
    }
}

pub fn text(why: &v1::WhyResponse, now_ms: i64) -> String {
    let mut text = String::new();
    for class in &why.classes {
        let since = time::span(now_ms - class.pending_since_ms);
        let summary = render::safe(&class.summary);
        let state = render::state(class.state());
        text += &match class.instances.len() {
            0 => format!("{summary} (for {since})\n"),
            1 => format!("instance {}: {state} for {since}: {summary}\n", class.instances[0]),
            _ => format!("instances {}: {state} for {since}: {summary}\n", render::instances(&class.instances)),
        };
        if class.state() == TaskState::Throttled && class.ready_at_ms > 0 {
            text += &format!("  tries again {}\n", time::relative(class.ready_at_ms, now_ms));
        }
        let mut table = Table::new(&[">", "", ""]);
        let mut vetoes = class.vetoes.clone();
        // Usually the summary says them all.
        vetoes.retain(|veto| !class.summary.contains(&veto.text));
        vetoes.sort_by(|a, b| b.agents.cmp(&a.agents).then_with(|| a.text.cmp(&b.text)));
        for veto in vetoes {
            let counted = render::count(veto.agents, "node");
            let text = veto.text.strip_prefix(&counted).map(str::trim_start).unwrap_or(&veto.text).to_string();
            table.row(vec![format!("  {}", veto.agents), format!("of {}", class.agents_total), text]);
        }
        text += table.text().trim_start_matches('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_with_their_counts_the_most_frequent_first() {
        let veto = |agents, text: &str| v1::VetoCount { agents, text: text.into(), ..Default::default() };
        let class = v1::PendingClass {
            instances: vec![0, 1, 2, 5],
            state: TaskState::Pending.into(),
            agents_total: 352,
            vetoes: vec![
                veto(40, "40 nodes lack rack=b"),
                veto(312, "312 nodes have less than 512 MiB of memory (most: node-3 with 384 MiB free)"),
                veto(2, "2 nodes are cordoned"),
            ],
            summary: "none of 352 nodes fits; 2 nodes are cordoned".into(),
            pending_since_ms: 1_000,
            ..Default::default()
        };
        let why = v1::WhyResponse { classes: vec![class], index: 1 };
        let expected = "\
instances 0-2, 5: pending for 1m: none of 352 nodes fits; 2 nodes are cordoned
  312  of 352  have less than 512 MiB of memory (most: node-3 with 384 MiB free)
   40  of 352  lack rack=b
";
        assert_eq!(text(&why, 61_000), expected);
    }
}
