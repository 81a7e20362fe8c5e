//! `dawn job status`: a job and where its instances stand.

use clap::Args;
use dawn_proto::v1::{self, TaskState};

use super::{cause, tasks, wait};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::commands::update;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

/// Longer lists of instances are cut, unless they were asked for.
const MAX_ROWS: usize = 200;

#[derive(Args)]
pub struct Status {
    /// ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances
    job: Selection,
}

pub async fn get(context: &mut Context, selection: &Selection) -> Result<v1::JobStatus, Failure> {
    let request = v1::GetJobRequest { key: Some((&selection.key).into()), version: 0 };
    let call = async |client: &mut Client, request| client.jobs().get_job(request).await;
    context.scheduler.call(request, Repeat::Harmless, call).await
}

pub async fn run(args: Status, context: &mut Context) -> Result<Exit, Failure> {
    let mut status = get(context, &args.job).await?;
    args.job.must_be_there(&status)?;
    status.tasks.retain(|task| args.job.has(task.instance));
    if context.out.json {
        let words = cause::words_of(context, &status.tasks).await;
        let last = update::given_up(context, &status).await;
        context.out.value(&json::object(json::status_with_words(&status, &words, last.as_ref())));
        return Ok(Exit::Done);
    }
    let now_ms = time::now_ms();
    context.out.table(&head(&status, now_ms));
    if let Some(line) = updating(context, &status).await {
        context.out.line(&line);
    }
    let last = update::given_up(context, &status).await;
    if let Some(last) = last.and_then(|last| update::describe_given_up(&last, now_ms)) {
        context.out.line(&format!("update     {last}"));
    }
    if let Some(cron) = status.cron.as_ref().filter(|cron| !cron.ticks.is_empty()) {
        context.out.line("");
        context.out.table(&crate::commands::cron::ticks(cron, now_ms));
    }
    let why = match status.tasks.iter().any(|task| task.state() == TaskState::Pending) {
        true => super::why::get(context, &args.job).await.unwrap_or_default(),
        false => v1::WhyResponse::default(),
    };
    let shown = tasks::newest(&status.tasks);
    if !shown.is_empty() {
        let zone = status.cron.as_ref().map_or("", crate::commands::cron::time_zone_of);
        context.out.line("");
        let beside = tasks::Beside { why: &why, spec: status.spec.as_ref(), ended_by: &status.ended_by };
        context.out.table(&tasks::table(&shown[..shown.len().min(MAX_ROWS)], &beside, zone, now_ms));
    }
    if shown.len() > MAX_ROWS {
        let key = &args.job.key;
        context.out.line(&format!("… and {} more; ask for some with {key}/0-99", shown.len() - MAX_ROWS));
    }
    let failed = cause::describe_failures(context, &status.tasks).await;
    if !failed.is_empty() {
        context.out.line("\nlast failures");
        context.out.write(failed.as_bytes());
    }
    Ok(Exit::Done)
}

/// The update under way, and what it waits for.
async fn updating(context: &mut Context, status: &v1::JobStatus) -> Option<String> {
    let key = status.summary.as_ref()?.key.clone()?;
    if status.update == 0 {
        return None;
    }
    let update = update::get(context, &key, status.update).await.ok()?;
    let waits =
        if update.waits.is_empty() { String::new() } else { format!("; waits for {}", render::safe(&update.waits)) };
    let (from, to) = (update.from_version, update.to_version);
    Some(format!("update     {} from version {from} to {to}{waits}", update::stands(&update)))
}

/// The job itself, name and value in each line.
fn head(status: &v1::JobStatus, now_ms: i64) -> Table {
    let summary = status.summary.clone().unwrap_or_default();
    let mut table = Table::bare(2);
    let mut row = |name: &str, value: String| table.row(vec![name.to_string(), value]);
    row("job", render::key(summary.key.as_ref()));
    let (kind, tier) = (render::kind(summary.kind()), render::tier(summary.tier()));
    row("kind", format!("{kind}, tier {tier}, priority {}", summary.priority));
    let in_force = status.versions.iter().find(|version| version.version == summary.version);
    let version = in_force.or(status.versions.last()).cloned().unwrap_or_default();
    let mut said = format!("{}, {} by {}", summary.version, time::relative(version.at_ms, now_ms), version.author);
    if !version.message.is_empty() {
        said = format!("{said}: {}", version.message);
    }
    row("version", said);
    row("instances", if summary.template { "none: a template".to_string() } else { counts(&summary) });
    if !summary.waits_for.is_empty() {
        row("waits for", summary.waits_for.join(", "));
    }
    if summary.ended {
        row("result", result(status, now_ms));
    }
    if let Some(cron) = &status.cron {
        let policy = cron.policy.clone().unwrap_or_default();
        let zone = if policy.time_zone.is_empty() { "UTC" } else { &policy.time_zone };
        row("schedule", format!("{} in {zone}", policy.schedule));
        row("next run", crate::commands::cron::next_run(cron, now_ms));
    }
    table
}

/// "succeeded 2m ago, ran for 3m20s", or how and why not.
fn result(status: &v1::JobStatus, now_ms: i64) -> String {
    let summary = status.summary.clone().unwrap_or_default();
    let word = render::safe(&summary.result).replace('_', " ");
    let when = time::relative(status.ended_ms, now_ms);
    // Who killed it stands behind the word and is not said again.
    let (by, message) = (render::safe(&status.ended_by), render::safe(&status.ended_message));
    let killed = summary.result == "killed" && !by.is_empty();
    let mut text = if killed { format!("{word} by {by} {when}") } else { format!("{word} {when}") };
    let (started, ended) = tasks::ran(&status.tasks);
    if started > 0 {
        text += &format!(", ran for {}", time::span(ended - started));
    }
    let why = match summary.result.as_str() {
        "succeeded" => String::new(),
        "killed" if killed => message,
        wait::NOT_NEEDED => "it was to follow a failure, and there was none".to_string(),
        _ => wait::why_ended(status),
    };
    if why.is_empty() { text } else { format!("{text}: {why}") }
}

/// "3: 2 running, 1 pending", and that it has ended.
pub fn counts(summary: &v1::JobSummary) -> String {
    let counts = wait::counts(summary).into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    let more = wait::failing_and_restarts(summary) + &wait::beside(summary);
    let ended = more + if summary.ended { " (ended)" } else { "" };
    match parts.is_empty() {
        true => format!("{}{ended}", summary.instances),
        false => format!("{}: {}{ended}", summary.instances, parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_what_the_job_is() {
        let key = v1::JobKey { role: "www".into(), env: "prod".into(), name: "web".into() };
        let summary = v1::JobSummary {
            key: Some(key),
            kind: v1::JobKind::Service.into(),
            tier: v1::Tier::Production.into(),
            priority: 100,
            version: 3,
            instances: 3,
            running: 2,
            pending: 1,
            ..Default::default()
        };
        let version =
            v1::JobVersion { version: 3, at_ms: 1_000, author: "root".into(), message: "more".into(), current: true };
        let status = v1::JobStatus { summary: Some(summary), versions: vec![version], ..Default::default() };
        let expected = "\
job        www/prod/web
kind       service, tier production, priority 100
version    3, 2m ago by root: more
instances  3: 2 running, 1 pending
";
        assert_eq!(head(&status, 121_000).text(), expected);
        let updated = v1::JobSummary { instances: 3, running: 3, beside: 2, ..Default::default() };
        assert_eq!(counts(&updated), "3: 3 running; an update has 2 more tasks beside them");
    }
}
