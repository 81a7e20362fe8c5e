//! Why instances of a job fail: their last failures, and what their processes wrote last.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::render::failure::{Cause, causes};
use crate::render::{self, count, failure, time};

/// Failures that are told of one job; more are counted.
const MOST_FAILURES: usize = 5;

/// Of a job whose restart policy does not say it.
const STABLE_AFTER_MS: u64 = 60_000;

/// "… and 3 other reasons (of 7 instances)"; empty when all are shown.
fn left_out(causes: &[Cause]) -> String {
    let left = &causes[causes.len().min(MOST_FAILURES)..];
    let instances: usize = left.iter().map(|cause| cause.instances.len()).sum();
    match left.len() {
        0 => String::new(),
        1 => format!("… and another reason (of {})", count(instances as u64, "instance")),
        more => format!("… and {more} other reasons (of {})", count(instances as u64, "instance")),
    }
}

/// The tasks that wait or run again after a failed life, and have not been well for long since.
pub fn failing(status: &v1::JobStatus) -> Vec<v1::Task> {
    let restart = status.spec.as_ref().and_then(|spec| spec.restart).unwrap_or_default();
    let stable_ms = if restart.stable_after_ms > 0 { restart.stable_after_ms } else { STABLE_AFTER_MS };
    let is_failing = |task: &&v1::Task| {
        let since_ms = task.history.last().map_or(i64::MAX, |last| last.at_ms);
        let is_stable =
            task.state() == v1::TaskState::Running && since_ms.saturating_add_unsigned(stable_ms) <= time::now_ms();
        task.failures > 0 && !task.state().is_terminal() && !is_stable
    };
    status.tasks.iter().filter(is_failing).cloned().collect()
}

/// "  www/prod/web: instances 0-2 failed so far: exit code 3; others for another reason": of a job that goes on.
pub fn failed_so_far(key: &str, tasks: &[v1::Task]) -> Option<String> {
    let causes = causes(tasks);
    let first = causes.first()?;
    let others = match causes.len() - 1 {
        0 => String::new(),
        1 => "; others for another reason".to_string(),
        more => format!("; others for {more} other reasons"),
    };
    let one = if first.instances.len() == 1 { "instance" } else { "instances" };
    let who = format!("{one} {}", render::instances(&first.instances));
    Some(format!("  {key}: {who} failed so far: {}{others}", failure::cause(&first.failure)))
}

/// What failed tasks wrote last to standard error, by their ids. A scheduler that can't say it costs no command its end.
pub async fn last_words(context: &mut Context, task_ids: Vec<u64>) -> BTreeMap<u64, Vec<u8>> {
    if task_ids.is_empty() {
        return BTreeMap::new();
    }
    let call = async |client: &mut Client, request| client.tasks().get_last_words(request).await;
    let request = v1::GetLastWordsRequest { task_ids };
    let answer = context.scheduler.call(request, Repeat::Harmless, call).await;
    answer.map_or_else(|_| BTreeMap::new(), |answer| answer.tasks.into_iter().map(|of| (of.task_id, of.data)).collect())
}

/// The same of each of the tasks' last failures that [`describe_failures`] would tell of.
pub async fn words_of(context: &mut Context, tasks: &[v1::Task]) -> BTreeMap<u64, Vec<u8>> {
    let causes = causes(tasks);
    last_words(context, causes.iter().take(MOST_FAILURES).map(|cause| cause.failure.task_id).collect()).await
}

/// One line for each cause, and under it the end of standard error; empty when nothing failed.
pub async fn describe_failures(context: &mut Context, tasks: &[v1::Task]) -> String {
    let lines = describe_causes(context, tasks, &mut BTreeSet::new()).await;
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Every cause, with the end of standard error under those that were not told yet.
pub async fn describe_causes(context: &mut Context, tasks: &[v1::Task], told: &mut BTreeSet<String>) -> Vec<String> {
    let causes = causes(tasks);
    let shown = &causes[..causes.len().min(MOST_FAILURES)];
    let new: Vec<u64> = shown
        .iter()
        .filter(|cause| told.insert(failure::cause(&cause.failure)))
        .map(|cause| cause.failure.task_id)
        .collect();
    let words = last_words(context, new).await;
    let mut lines: Vec<String> = shown.iter().map(|cause| with_words(cause, &words)).collect();
    lines.extend(Some(left_out(&causes)).filter(|line| !line.is_empty()));
    lines
}

/// The causes that were not told yet, each with the end of standard error under it.
pub async fn describe_new_causes(
    context: &mut Context,
    tasks: &[v1::Task],
    told: &mut BTreeSet<String>,
) -> Vec<String> {
    let mut causes = causes(tasks);
    causes.retain(|cause| !told.contains(&failure::cause(&cause.failure)));
    causes.truncate(MOST_FAILURES);
    told.extend(causes.iter().map(|cause| failure::cause(&cause.failure)));
    let words = last_words(context, causes.iter().map(|cause| cause.failure.task_id).collect()).await;
    causes.iter().map(|cause| with_words(cause, &words)).collect()
}

fn with_words(cause: &Cause, words: &BTreeMap<u64, Vec<u8>>) -> String {
    let words = failure::last_words(words.get(&cause.failure.task_id).map_or(&[], Vec::as_slice));
    format!("{}\n{words}", cause.line(time::now_ms())).trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_failed_alike_are_told_together_those_of_most_instances_first() {
        let task = |id: u64, message: &str| v1::Task {
            id,
            instance: u32::try_from(id).unwrap(),
            last_failure: Some(v1::TaskFailure {
                task_id: id,
                at_ms: i64::try_from(id).unwrap(),
                message: message.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let tasks = [task(1, "one"), task(2, "two"), task(3, "one"), task(4, "three"), v1::Task::default()];
        let told: Vec<(u64, Vec<u32>)> =
            causes(&tasks).into_iter().map(|cause| (cause.task.id, cause.instances)).collect();
        assert_eq!(told, [(3, vec![1, 3]), (4, vec![4]), (2, vec![2])]);
        assert_eq!(left_out(&causes(&tasks)), "");
        let many: Vec<v1::Task> = (0..9).map(|id| task(id, &format!("reason {id}"))).collect();
        assert_eq!(left_out(&causes(&many)), "… and 4 other reasons (of 4 instances)");
        assert_eq!(left_out(&causes(&many[..6])), "… and another reason (of 1 instance)");
    }
}
