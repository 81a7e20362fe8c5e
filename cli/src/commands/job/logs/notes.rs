//! What is said, to people, of the logs that are shown: whose they are where that is not what one would expect. Pure.

use dawn_proto::v1::{self, JobKind};
use dawn_proto::{JobKey, TaskId};

use super::attempts::{describe_not_started, has_run};
use crate::commands::job::wait;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render;

/// Whether the instance no longer belongs to the job, since the job was scaled to fewer instances.
pub fn was_scaled_away(status: &v1::JobStatus, instance: u32) -> bool {
    let summary = status.summary.clone().unwrap_or_default();
    let is_there = status.tasks.iter().any(|task| task.instance == instance);
    summary.kind() == JobKind::Service && !summary.ended && !status.tasks.is_empty() && !is_there
}

/// Says that instances which were scaled away, and not asked for by their numbers, are left out.
pub fn describe_left_out(key: &JobKey, instances: &[u32]) -> String {
    let (numbers, was) = (render::instances(instances), if instances.len() == 1 { "was" } else { "were" });
    let one = if instances.len() == 1 { "instance" } else { "instances" };
    format!("{one} {numbers} {was} scaled away; `dawn job logs {key}/{}` shows what is kept", numbers.replace(' ', ""))
}

/// Of a log that is shown: that it is not of the instance's newest task, or not of the job's version, or of an instance that
/// is no more. `own` are the tasks of the instance, oldest first.
pub fn describe_choice(key: &JobKey, chosen: &v1::Task, own: &[&v1::Task], status: &v1::JobStatus) -> Option<String> {
    let (instance, id, version) = (chosen.instance, TaskId(chosen.id), chosen.version);
    let summary = status.summary.clone().unwrap_or_default();
    if was_scaled_away(status, instance) {
        return Some(format!("{key}/{instance} was scaled away; the log is of {id}"));
    }
    let newer = own.last().filter(|newest| newest.id > chosen.id && !has_run(newest));
    if chosen.state().is_terminal() && version > 0 && version < summary.version && summary.kind() == JobKind::Batch {
        let yet = if summary.ended { "" } else { " yet" };
        let now = summary.version;
        return Some(format!(
            "{key}/{instance}: no task of version {now} ran{yet}; the log is of version {version} ({id})"
        ));
    }
    Some(format!("{}; the log is of {id}", describe_not_started(newer?)))
}

/// Why no task of the job can have a log.
pub fn describe_none(job: &Selection, status: &v1::JobStatus) -> Failure {
    let summary = status.summary.clone().unwrap_or_default();
    let (message, look) = match summary.waits_for[..] {
        _ if summary.ended => {
            let why = wait::why_ended(status);
            let colon = if why.is_empty() { "" } else { ": " };
            (format!("no task of {job} was started, and the job has ended{colon}{why}"), "status")
        }
        _ if summary.template => {
            (format!("{job} is a template and has no tasks; `dawn job dispatch {}` runs it", job.key), "status")
        }
        [] => (format!("no task of {job} was started yet"), "why"),
        _ => (format!("no task of {job} was started yet: it waits for {}", summary.waits_for.join(", ")), "why"),
    };
    Failure::new(Exit::Failed, message).hint(format!("see `dawn job {look} {}`", job.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_proto::v1::{JobStatus, JobSummary, Task, TaskState};

    fn key() -> JobKey {
        "www/prod/web".parse().unwrap()
    }

    fn task(id: u64, instance: u32, version: u32, state: TaskState) -> Task {
        Task { id, instance, version, state: state.into(), job: Some((&key()).into()), ..Default::default() }
    }

    fn status(kind: JobKind, version: u32, tasks: &[Task]) -> JobStatus {
        let summary = JobSummary { kind: kind.into(), instances: 2, version, running: 2, ..Default::default() };
        JobStatus { summary: Some(summary), tasks: tasks.to_vec(), ..Default::default() }
    }

    #[test]
    fn the_log_of_an_earlier_version_of_a_batch_job_says_so() {
        let old = task(12, 0, 4, TaskState::Finished);
        let mut status = status(JobKind::Batch, 5, &[]);
        let said = |status: &JobStatus, chosen: &Task| describe_choice(&key(), chosen, &[&old], status);
        let expected = "www/prod/web/0: no task of version 5 ran yet; the log is of version 4 (t12)";
        assert_eq!(said(&status, &old).as_deref(), Some(expected));
        status.summary.as_mut().unwrap().ended = true;
        let expected = "www/prod/web/0: no task of version 5 ran; the log is of version 4 (t12)";
        assert_eq!(said(&status, &old).as_deref(), Some(expected));
        assert_eq!(said(&status, &task(13, 0, 5, TaskState::Finished)), None);
    }

    #[test]
    fn the_log_of_a_life_before_the_newest_says_so() {
        let (failed, waits) = (task(3, 1, 1, TaskState::Failed), task(4, 1, 1, TaskState::Throttled));
        let status = status(JobKind::Service, 1, &[task(1, 0, 1, TaskState::Running), waits.clone()]);
        let said = describe_choice(&key(), &failed, &[&failed, &waits], &status);
        let expected = "www/prod/web/1: t4 is not started yet (throttled); the log is of t3";
        assert_eq!(said.as_deref(), Some(expected));
        assert_eq!(describe_choice(&key(), &waits, &[&failed, &waits], &status), None);
    }

    #[test]
    fn instances_that_were_scaled_away_are_named() {
        let gone = task(9, 5, 1, TaskState::Killed);
        let mut status = status(JobKind::Service, 2, &[task(1, 0, 1, TaskState::Running)]);
        assert!(was_scaled_away(&status, 5) && !was_scaled_away(&status, 0));
        let said = describe_choice(&key(), &gone, &[&gone], &status);
        assert_eq!(said.as_deref(), Some("www/prod/web/5 was scaled away; the log is of t9"));
        let expected = "instances 3-5, 7 were scaled away; `dawn job logs www/prod/web/3-5,7` shows what is kept";
        assert_eq!(describe_left_out(&key(), &[3, 4, 5, 7]), expected);
        status.summary.as_mut().unwrap().ended = true;
        assert!(!was_scaled_away(&status, 5), "of a job that has ended every instance is kept");
    }
}
