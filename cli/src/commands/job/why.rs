//! `dawn job why`: why instances are pending, with how many nodes each reason ruled out.

use clap::Args;
use dawn_proto::{TaskState, v1};

use super::{cause, wait};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::commands::update;
use crate::exit::{Exit, Failure};
use crate::render::{self, json, time};

#[derive(Args)]
pub struct Why {
    /// ROLE/ENV/NAME
    job: Selection,
}

pub async fn get(context: &mut Context, job: &Selection) -> Result<v1::WhyResponse, Failure> {
    let request = v1::WhyRequest { key: Some((&job.key).into()) };
    let call = async |client: &mut Client, request| client.jobs().why(request).await;
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
    status.tasks.retain(|task| args.job.has(task.instance));
    let unchecked = unchecked(&status, time::now_ms());
    status.tasks.retain(waits_or_was_tried_again);
    if context.out.json {
        let summary = why.classes.is_empty().then(|| nothing_pending(&status));
        let words = cause::words_of(context, &status.tasks).await;
        let causes = render::failure::causes(&status.tasks);
        let last = update::given_up(context, &status).await;
        context.out.value(&json::object(json::why(&why, summary, &causes, &words, last.as_ref())));
        return Ok(Exit::Done);
    }
    context.out.write(text(&args.job.to_string(), &why, time::now_ms()).as_bytes());
    if why.classes.is_empty() {
        context.out.line(&format!("{}: {}", args.job, nothing_pending(&status)));
        unchecked.iter().for_each(|line| context.out.line(line));
    }
    let failed = cause::describe_failures(context, &status.tasks).await;
    if !failed.is_empty() {
        context.out.line("last failures");
        context.out.write(failed.as_bytes());
    }
    let last = update::given_up(context, &status).await;
    if let Some(last) = last.and_then(|last| update::describe_given_up(&last, time::now_ms())) {
        context.out.line(&format!("update {last}"));
    }
    Ok(Exit::Done)
}

/// Instances that are well are no answer to "why not", unless they failed before.
fn waits_or_was_tried_again(task: &v1::Task) -> bool {
    task.last_failure.is_some() || task.state() == TaskState::Failed
}

/// "instances 0-2: not checked yet: initial_delay is 1m": of instances that are started and not healthy yet.
fn unchecked(status: &v1::JobStatus, now_ms: i64) -> Vec<String> {
    let mut alike: std::collections::BTreeMap<String, Vec<u32>> = std::collections::BTreeMap::new();
    for task in &status.tasks {
        if let Some(said) = super::unchecked::describe(status.spec.as_ref(), task, now_ms) {
            alike.entry(said).or_default().push(task.instance);
        }
    }
    let line = |(said, instances): (String, Vec<u32>)| match instances.len() {
        1 => format!("instance {}: {said}", instances[0]),
        _ => format!("instances {}: {said}", render::instances(&instances)),
    };
    alike.into_iter().map(line).collect()
}

/// The whole truth where no instance is pending.
fn nothing_pending(status: &v1::JobStatus) -> String {
    let summary = status.summary.clone().unwrap_or_default();
    if summary.ended {
        let why = if summary.result == "succeeded" { String::new() } else { wait::why_ended(status) };
        let result = summary.result.replace('_', " ");
        let colon = if why.is_empty() { "" } else { ": " };
        return format!("the job has ended ({result}{colon}{why})");
    }
    if let Some(cron) = &status.cron {
        let (now_ms, key) = (time::now_ms(), render::key(summary.key.as_ref()));
        return match crate::commands::cron::paused(cron, now_ms) {
            None => format!("nothing is pending; the next run is {}", crate::commands::cron::next_run(cron, now_ms)),
            Some(paused) => format!("{paused}, so it starts no run until `dawn cron resume {key}`"),
        };
    }
    let counts = super::status::counts(&summary);
    match summary.failing {
        0 => format!("nothing is pending; instances {counts}"),
        _ => format!("nothing is pending, but instances have failed; instances {counts}"),
    }
}

/// What each class of instances waits for, for how long where that is known; what keeps the whole job back begins with its name.
pub fn text(job: &str, why: &v1::WhyResponse, now_ms: i64) -> String {
    let mut text = String::new();
    for class in &why.classes {
        let since = match class.pending_since_ms {
            0 => String::new(),
            since_ms => format!(" for {}", time::span(now_ms - since_ms)),
        };
        let mut summary = render::safe(&class.summary);
        if class.state() == TaskState::Throttled && class.ready_at_ms > 0 {
            summary += &format!("; {}", super::tasks::tries_again(class.ready_at_ms, now_ms));
        }
        let state = render::state(class.state());
        text += &match class.instances.len() {
            0 if since.is_empty() => format!("{job}: {summary}\n"),
            0 => format!("{job}: {summary},{since}\n"),
            // It names the instance itself.
            1 if summary.starts_with(&format!("instance {} ", class.instances[0])) => format!("{summary}\n"),
            1 => format!("instance {}: {state}{since}: {summary}\n", class.instances[0]),
            _ => format!("instances {}: {state}{since}: {summary}\n", render::instances(&class.instances)),
        };
        let mut vetoes = class.vetoes.clone();
        // Usually the summary says them all.
        vetoes.retain(|veto| !class.summary.contains(&veto.text));
        vetoes.sort_by(|a, b| b.agents.cmp(&a.agents).then_with(|| a.text.cmp(&b.text)));
        let width = vetoes.iter().map(|veto| veto.agents.to_string().len()).max().unwrap_or(0);
        for veto in vetoes {
            let counted = render::count(veto.agents, "node");
            let said = veto.text.strip_prefix(&counted).map(str::trim_start).unwrap_or(&veto.text);
            let of = render::count(class.agents_total, "node");
            text += &format!("  {:>width$} of {of} {}\n", veto.agents, render::safe(said));
        }
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
  312 of 352 nodes have less than 512 MiB of memory (most: node-3 with 384 MiB free)
   40 of 352 nodes lack rack=b
";
        assert_eq!(text("www/prod/web", &why, 61_000), expected);
    }

    #[test]
    fn what_waits_after_failing_says_in_one_line_how_often_it_failed_and_when_it_is_tried_again() {
        let class = v1::PendingClass {
            instances: vec![0],
            state: TaskState::Throttled.into(),
            summary: "waits after failing 2 times in a row".into(),
            pending_since_ms: 59_000,
            ready_at_ms: 66_000,
            ..Default::default()
        };
        let why = v1::WhyResponse { classes: vec![class], index: 1 };
        let expected = "instance 0: throttled for 2s: waits after failing 2 times in a row; tries again in 5s\n";
        assert_eq!(text("www/prod/web", &why, 61_000), expected);
    }

    #[test]
    fn what_keeps_a_whole_job_back_begins_with_its_name_and_says_for_how_long_where_that_matters() {
        let class = |summary: &str, pending_since_ms| v1::PendingClass {
            summary: summary.into(),
            pending_since_ms,
            ..Default::default()
        };
        let classes = vec![class("waits for www/prod/first to succeed", 1_000), class("is a template", 0)];
        let said = text("www/prod/web", &v1::WhyResponse { classes, index: 1 }, 61_000);
        assert_eq!(said, "www/prod/web: waits for www/prod/first to succeed, for 1m\nwww/prod/web: is a template\n");
    }
}
