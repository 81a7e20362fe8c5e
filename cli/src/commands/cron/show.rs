//! `dawn cron show`: one cron job, when it runs next, and what became of its last ticks.

use dawn_proto::amounts;
use dawn_proto::v1::{self, Misfire, Overlap};

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Table, json, time};

pub async fn run(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let request = v1::GetJobRequest { key: Some((&job.key).into()), version: 0 };
    let call = async |client: &mut Client, request| client.jobs().get_job(request).await;
    let status = context.scheduler.call(request, Repeat::Harmless, call).await?;
    let none = || {
        let hint = format!("see `dawn job status {}`; `dawn cron list` names cron jobs", job.key);
        Failure::new(Exit::NotFound, format!("{} is no cron job", job.key)).hint(hint)
    };
    let cron = status.cron.as_ref().ok_or_else(none)?;
    if context.out.json {
        context.out.value(&json::object(serde_json::json!({ "cron": json::cron(cron), "index": status.index })));
        return Ok(Exit::Done);
    }
    let now_ms = time::now_ms();
    context.out.table(&head(cron, now_ms));
    if !cron.ticks.is_empty() {
        context.out.line("");
        let waits = match cron.ticks.iter().any(|tick| super::waits_now(cron, Some(tick))) {
            true => super::why_waits(context, cron).await,
            false => String::new(),
        };
        context.out.table(&super::ticks_with_causes(cron, &status.tasks, &waits, now_ms));
    }
    Ok(Exit::Done)
}

/// The policy and the next ticks, name and value in each line.
fn head(cron: &v1::CronStatus, now_ms: i64) -> Table {
    let policy = cron.policy.clone().unwrap_or_default();
    let mut table = Table::bare(2);
    let mut row = |name: &str, value: String| table.row(vec![name.to_string(), value]);
    row("job", render::key(cron.key.as_ref()));
    let zone = if policy.time_zone.is_empty() { "UTC" } else { &policy.time_zone };
    row("schedule", format!("{} in {zone}", policy.schedule));
    let overlap = match policy.overlap() {
        Overlap::KillExisting => "the last run is killed",
        Overlap::Allow => "runs beside the last one",
        Overlap::Queue => "waits for the last one's end",
        Overlap::CancelNew | Overlap::Unspecified => "skipped while the last run lives",
    };
    row("overlap", overlap.to_string());
    let misfire = match policy.misfire() {
        Misfire::Once => "the latest is run".to_string(),
        Misfire::All => format!("the latest {} are run", policy.misfire_limit),
        Misfire::Skip | Misfire::Unspecified => "not run".to_string(),
    };
    row("missed ticks", misfire);
    if policy.starting_deadline_ms > 0 {
        row("start within", amounts::duration(policy.starting_deadline_ms));
    }
    if cron.jitter_ms > 0 {
        row("jitter", format!("each run begins {} after its tick", amounts::duration(cron.jitter_ms)));
    }
    row("next run", super::next_run(cron, now_ms));
    for at_ms in cron.upcoming_ms.iter().skip(1).filter(|_| cron.paused_ms == 0) {
        row("", super::at_and_in(cron, *at_ms, now_ms));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_next_ticks_and_pause_are_told() {
        let policy = v1::CronPolicy {
            schedule: "0 3 * * *".into(),
            time_zone: "UTC".into(),
            misfire: Misfire::All.into(),
            misfire_limit: 3,
            ..Default::default()
        };
        let mut cron = v1::CronStatus { policy: Some(policy), jitter_ms: 90_000, ..Default::default() };
        (cron.paused_ms, cron.paused_by) = (1_000, "ann".into());
        let expected = "\
job
schedule      0 3 * * * in UTC
overlap       skipped while the last run lives
missed ticks  the latest 3 are run
jitter        each run begins 1m30s after its tick
next run      none: paused 2m ago by ann; `dawn cron resume ` lets it fire again
";
        assert_eq!(head(&cron, 121_000).text(), expected);
    }
}
