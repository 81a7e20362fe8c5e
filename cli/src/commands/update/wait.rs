//! Waits for the end of updates, showing how far they are; leaving it leaves the updates.

use std::collections::BTreeSet;
use std::time::Duration;

use dawn_proto::v1::{self, UpdateState};
use tokio::time::{Instant, sleep};

use super::{get, short};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::job::cause;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{self, Progress, json};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Nobody who has given up waits longer than this for what has failed so far.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How a wait ended, and of which jobs which causes of failures were told.
pub struct Waited {
    pub exit: Exit,
    pub told: Vec<(v1::JobKey, BTreeSet<String>)>,
}

/// How the wait for an update in this state ends; none: not yet.
fn verdict(state: UpdateState) -> Option<Exit> {
    use UpdateState::*;
    match state {
        RolledForward => Some(Exit::Done),
        RolledBack | Aborted | UpdateState::Failed | UpdateState::Error => Some(Exit::Failed),
        _ => None,
    }
}

pub async fn run(job: &Selection, context: &mut Context) -> Result<Exit, Failure> {
    let key = v1::JobKey::from(&job.key);
    let latest = get(context, &key, 0).await?;
    let exit = wait_for(context, &[(key.clone(), latest.number)]).await?.exit;
    if context.out.json {
        let update = get(context, &key, latest.number).await?;
        let fields = serde_json::json!({
            "update": json::update(&update), "index": update.index, "exit": exit as i32,
        });
        context.out.value(&json::object(fields));
    }
    Ok(exit)
}

/// Until all have ended, or the patience has. Each is told of when it ends. An update that waits for a person is said, and
/// waited for.
///
/// # Errors
/// When the schedulers can't be asked any more.
pub async fn wait_for(context: &mut Context, updates: &[(v1::JobKey, u32)]) -> Result<Waited, Failure> {
    let deadline = context.timeout.map(|timeout| Instant::now() + timeout);
    let mut progress = Progress::new(&context.out);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let (mut open, mut worst, mut told) = (updates.to_vec(), Exit::Done, Vec::new());
    loop {
        let (lines, ended) = look(context, &mut open).await?;
        if !lines.is_empty() || !ended.is_empty() {
            progress.show(&lines.join("\n"));
        }
        for Ended { key, update, line, exit } in ended {
            progress.say(&line);
            let mut causes = BTreeSet::new();
            why_failed(context, &key, &update, exit, &mut causes).await.iter().for_each(|line| progress.say(line));
            told.push((key, causes));
            worst = std::cmp::max_by_key(worst, exit, |exit| *exit as i32);
        }
        if open.is_empty() {
            return Ok(Waited { exit: worst, told });
        }
        let given_up = tokio::select! {
            () = sleep(LOOK) => deadline.filter(|deadline| Instant::now() >= *deadline).map(|_| "timed out"),
            _ = &mut interrupted => Some("not waiting any more"),
        };
        if let Some(why) = given_up {
            eprintln!("dawn: {why}; {}", goes_on(&open));
            ways_on(context, &open).await;
            return Ok(Waited { exit: self::given_up(worst), told });
        }
    }
}

/// An update that has ended, with the line that says so.
struct Ended {
    key: v1::JobKey,
    update: v1::UpdateInfo,
    line: String,
    exit: Exit,
}

/// One look at every open update: a line for each of them that goes on, and those that have ended, which are open no more.
async fn look(context: &mut Context, open: &mut Vec<(v1::JobKey, u32)>) -> Result<(Vec<String>, Vec<Ended>), Failure> {
    let (mut lines, mut ended, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for (key, number) in std::mem::take(open) {
        let update = match get(context, &key, number).await {
            Ok(update) => update,
            // A scheduler that comes back is worth waiting for: the update goes on.
            Err(failure) if failure.exit == Exit::Unreachable => {
                left.push((key, number));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let line = format!("{}{}", short(&update), said(&update.events));
        match verdict(update.state()) {
            Some(exit) => ended.push(Ended { key, update, line, exit }),
            None => {
                lines.push(line);
                left.push((key, number));
            }
        }
    }
    *open = left;
    Ok((lines, ended))
}

fn goes_on(open: &[(v1::JobKey, u32)]) -> &'static str {
    if open.len() == 1 { "the update goes on" } else { "the updates go on" }
}

/// A wait that is given up after something failed is a failure.
fn given_up(worst: Exit) -> Exit {
    if worst == Exit::Failed { worst } else { Exit::Waited }
}

/// What has failed so far of updates that go on unwatched, and what can be done with them.
async fn ways_on(context: &mut Context, updates: &[(v1::JobKey, u32)]) {
    for (key, _) in updates {
        let name = render::key(Some(key));
        let status = tokio::time::timeout(LAST_LOOK, job(context, key)).await.ok().flatten();
        let failing = status.map(|status| cause::failing(&status)).unwrap_or_default();
        if let Some(line) = cause::failed_so_far(&name, &failing) {
            eprintln!("{line}");
        }
        eprintln!("  look:  dawn update status {name}\n  end:   dawn update abort {name}");
    }
}

/// How instances failed while a job was updated, and what leads on. Of an update that went through: those that fail although it did.
async fn why_failed(
    context: &mut Context,
    key: &v1::JobKey,
    update: &v1::UpdateInfo,
    exit: Exit,
    told: &mut BTreeSet<String>,
) -> Vec<String> {
    let Some(status) = job(context, key).await.filter(|_| !context.out.json) else { return Vec::new() };
    if exit == Exit::Failed {
        let causes = cause::describe_causes(context, &status.tasks, told).await;
        let look = format!("look:  dawn update status {}", render::key(Some(key)));
        return causes.iter().flat_map(|cause| cause.lines()).chain([&*look]).map(indented).collect();
    }
    let failed =
        |task: &v1::Task| update.failed.iter().any(|range| (range.first..=range.last).contains(&task.instance));
    let (of_update, others): (Vec<v1::Task>, Vec<v1::Task>) = status.tasks.iter().cloned().partition(failed);
    let others = cause::failing(&v1::JobStatus { tasks: others, ..status });
    let causes = cause::describe_causes(context, &[of_update, others].concat(), told).await;
    causes.iter().flat_map(|cause| cause.lines()).map(indented).collect()
}

/// Causes stand below their update; last words where they stand everywhere.
fn indented(line: &str) -> String {
    if line.starts_with("    | ") { line.to_string() } else { format!("  {line}") }
}

/// How instances of the job failed last, for people; empty when none did, or nobody can say it.
pub async fn causes(context: &mut Context, key: &v1::JobKey) -> String {
    match job(context, key).await {
        Some(status) => cause::describe_failures(context, &status.tasks).await,
        None => String::new(),
    }
}

async fn job(context: &mut Context, key: &v1::JobKey) -> Option<v1::JobStatus> {
    let request = v1::GetJobRequest { key: Some(key.clone()), version: 0 };
    let call = async |client: &mut Client, request| client.jobs().get_job(request).await;
    context.scheduler.call(request, Repeat::Harmless, call).await.ok()
}

/// What the last event said, as the end of a line.
fn said(events: &[v1::UpdateEvent]) -> String {
    match events {
        [_, .., last] if !last.message.is_empty() => format!(": {}", render::safe(&last.message)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_stand_where_they_stand_everywhere() {
        assert_eq!(indented("instance 0: exit code 3"), "  instance 0: exit code 3");
        let words = crate::render::failure::last_words(b"config is missing\n");
        assert_eq!(indented(words.trim_end()), "    | config is missing");
    }

    #[test]
    fn only_what_rolled_forward_is_well() {
        let all = (1..=12).filter_map(|state| UpdateState::try_from(state).ok());
        let ended: Vec<_> = all.filter_map(|state| Some((state, verdict(state)?))).collect();
        assert_eq!(ended.len(), 5);
        assert!(ended.iter().all(|(state, exit)| (*exit == Exit::Done) == (*state == UpdateState::RolledForward)));
    }
}
