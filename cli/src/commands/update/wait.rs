//! Waits for the end of updates, showing how far they are; leaving it leaves the updates.

use std::time::Duration;

use dawn_proto::v1::{self, UpdateState};
use tokio::time::{Instant, sleep};

use super::{get, short};
use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::commands::job::cause;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render::{Progress, json};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

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
    let exit = wait_for(context, &[(key.clone(), latest.number)]).await?;
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
pub async fn wait_for(context: &mut Context, updates: &[(v1::JobKey, u32)]) -> Result<Exit, Failure> {
    let deadline = context.timeout.map(|timeout| Instant::now() + timeout);
    let mut progress = Progress::new(&context.out);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let (mut open, mut worst) = (updates.to_vec(), Exit::Done);
    loop {
        let (mut lines, mut ended, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (key, number) in std::mem::take(&mut open) {
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
                Some(exit) => ended.push((key, line, exit)),
                None => {
                    lines.push(line);
                    left.push((key, number));
                }
            }
        }
        open = left;
        if !lines.is_empty() || !ended.is_empty() {
            progress.show(&lines.join("\n"));
        }
        for (key, line, exit) in ended {
            progress.say(&line);
            if exit == Exit::Failed {
                why_failed(context, &key).await.iter().for_each(|line| progress.say(line));
            }
            worst = std::cmp::max_by_key(worst, exit, |exit| *exit as i32);
        }
        if open.is_empty() {
            return Ok(worst);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            eprintln!("dawn: timed out; {}", goes_on(&open));
            ways_on(&open);
            return Ok(given_up(worst));
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = &mut interrupted => {
                eprintln!("dawn: not waiting any more; {}", goes_on(&open));
                ways_on(&open);
                return Ok(given_up(worst));
            }
        }
    }
}

fn goes_on(open: &[(v1::JobKey, u32)]) -> &'static str {
    if open.len() == 1 { "the update goes on" } else { "the updates go on" }
}

/// A wait that is given up after something failed is a failure.
fn given_up(worst: Exit) -> Exit {
    if worst == Exit::Failed { worst } else { Exit::Waited }
}

/// What can be done with updates that go on unwatched.
fn ways_on(updates: &[(v1::JobKey, u32)]) {
    for (key, _) in updates {
        let key = crate::render::key(Some(key));
        eprintln!("  look:  dawn update status {key}\n  end:   dawn update abort {key}");
    }
}

/// How instances failed while a job was updated, and what leads on.
async fn why_failed(context: &mut Context, key: &v1::JobKey) -> Vec<String> {
    if context.out.json {
        return Vec::new();
    }
    let causes = causes(context, key).await;
    let look = format!("  look:  dawn update status {}", crate::render::key(Some(key)));
    causes.lines().map(indented).chain([look]).collect()
}

/// Causes stand below their update; last words where they stand everywhere.
fn indented(line: &str) -> String {
    if line.starts_with("    | ") { line.to_string() } else { format!("  {line}") }
}

/// How instances of the job failed last, for people; empty when none did, or nobody can say it.
pub async fn causes(context: &mut Context, key: &v1::JobKey) -> String {
    let request = v1::GetJobRequest { key: Some(key.clone()), version: 0 };
    let call = async |client: &mut Client, request| client.get_job(request).await;
    match context.scheduler.call(request, Repeat::Harmless, call).await {
        Ok(status) => cause::describe_failures(context, &status.tasks).await,
        Err(_) => String::new(),
    }
}

/// What the last event said, as the end of a line.
fn said(events: &[v1::UpdateEvent]) -> String {
    match events {
        [_, .., last] if !last.message.is_empty() => format!(": {}", crate::render::safe(&last.message)),
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
