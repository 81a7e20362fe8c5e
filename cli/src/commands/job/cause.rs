//! Why instances of a job fail: their last failures, and what their processes wrote last.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1;

use crate::args::Context;
use crate::client::{Client, Repeat};
use crate::render::{failure, time};

/// Failures that are told of one job; more are counted.
const MOST_FAILURES: usize = 5;

/// The newest failures of the instances, one of each cause: instances that failed alike are told of once.
pub fn newest_of_each_cause(tasks: &[v1::Task]) -> Vec<(&v1::Task, v1::TaskFailure)> {
    let mut failures: Vec<(&v1::Task, v1::TaskFailure)> =
        tasks.iter().filter_map(|task| Some((task, failure::of(task)?))).collect();
    failures.sort_by_key(|(_, failure)| std::cmp::Reverse((failure.at_ms, failure.task_id)));
    let mut seen = BTreeSet::new();
    failures.retain(|(_, failure)| seen.insert(failure::cause(failure)));
    failures
}

/// What failed tasks wrote last to standard error, by their ids. A scheduler that can't say it costs no command its end.
pub async fn last_words(context: &mut Context, task_ids: Vec<u64>) -> BTreeMap<u64, Vec<u8>> {
    if task_ids.is_empty() {
        return BTreeMap::new();
    }
    let call = async |client: &mut Client, request| client.get_last_words(request).await;
    let request = v1::GetLastWordsRequest { task_ids };
    let answer = context.scheduler.call(request, Repeat::Harmless, call).await;
    answer.map_or_else(|_| BTreeMap::new(), |answer| answer.tasks.into_iter().map(|of| (of.task_id, of.data)).collect())
}

/// The same of each of the tasks' last failures that [`describe_failures`] would tell of.
pub async fn words_of(context: &mut Context, tasks: &[v1::Task]) -> BTreeMap<u64, Vec<u8>> {
    let failures = newest_of_each_cause(tasks);
    last_words(context, failures.iter().take(MOST_FAILURES).map(|(_, failure)| failure.task_id).collect()).await
}

/// One line for each cause, and under it the end of standard error; empty when nothing failed.
pub async fn describe_failures(context: &mut Context, tasks: &[v1::Task]) -> String {
    let failures = newest_of_each_cause(tasks);
    let shown = &failures[..failures.len().min(MOST_FAILURES)];
    let words = last_words(context, shown.iter().map(|(_, failure)| failure.task_id).collect()).await;
    let now_ms = time::now_ms();
    let mut text = String::new();
    for (task, failed) in shown {
        text += &format!("{}\n", failure::line(task, failed, now_ms));
        text += &failure::last_words(words.get(&failed.task_id).map_or(&[], Vec::as_slice));
    }
    if failures.len() > MOST_FAILURES {
        text += &format!("… and {} other causes\n", failures.len() - MOST_FAILURES);
    }
    text
}

/// The failures whose causes were not told yet, each with the end of standard error under it.
pub async fn describe_new_causes(
    context: &mut Context,
    tasks: &[v1::Task],
    told: &mut BTreeSet<String>,
) -> Vec<String> {
    let mut failures = newest_of_each_cause(tasks);
    failures.retain(|(_, failed)| told.insert(failure::cause(failed)));
    failures.truncate(MOST_FAILURES);
    let words = last_words(context, failures.iter().map(|(_, failed)| failed.task_id).collect()).await;
    let now_ms = time::now_ms();
    let line = |(task, failed): &(&v1::Task, v1::TaskFailure)| {
        let words = failure::last_words(words.get(&failed.task_id).map_or(&[], Vec::as_slice));
        format!("{}\n{words}", failure::line(task, failed, now_ms)).trim_end().to_string()
    };
    failures.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_failed_alike_are_told_of_once_the_newest_first() {
        let task = |id: u64, message: &str| v1::Task {
            id,
            last_failure: Some(v1::TaskFailure {
                task_id: id,
                at_ms: i64::try_from(id).unwrap(),
                message: message.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let tasks = [task(1, "one"), task(2, "two"), task(3, "one"), v1::Task::default()];
        let told: Vec<u64> = newest_of_each_cause(&tasks).iter().map(|(task, _)| task.id).collect();
        assert_eq!(told, [3, 2]);
    }
}
