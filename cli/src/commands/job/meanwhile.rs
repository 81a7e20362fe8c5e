//! What somebody did to a job while it was waited for: replaced its version, or killed instances. Pure: states of the job in,
//! words out.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1::{self, JobKind, Reason, SubmitOutcome, TaskState};

use super::tasks::newest;
use crate::render;

/// What was submitted, as far as it says what others did later.
pub struct Submitted {
    /// 0: not known.
    version: u32,
    /// It starts instances that were killed before.
    starts_killed: bool,
    /// Ids of the tasks that had been killed when the job was first looked at; None before that.
    killed_before: Option<BTreeSet<u64>>,
}

/// Why nobody need wait any more, and what leads on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meanwhile {
    pub what: String,
    pub ways_on: Vec<String>,
}

impl Submitted {
    pub fn of(response: &v1::SubmitJobResponse) -> Submitted {
        let starts_killed = response.outcome() == SubmitOutcome::StartedAgain;
        Submitted { version: response.version, starts_killed, killed_before: None }
    }

    /// What was done to the job since it was submitted, if that ends the wait.
    pub fn look(&mut self, key: &str, status: &v1::JobStatus) -> Option<Meanwhile> {
        let before = self.killed_before.get_or_insert_with(|| match self.starts_killed {
            true => killed(&status.tasks).map(|(task, _)| task.id).collect(),
            false => BTreeSet::new(),
        });
        let summary = status.summary.as_ref()?;
        if self.version > 0 && summary.version > 0 && summary.version != self.version {
            let what = replaced(self.version, summary.version, &status.versions);
            return Some(Meanwhile { what, ways_on: vec![format!("look:  dawn job history {key}")] });
        }
        if summary.ended {
            let by = Some(status.ended_by.as_str()).filter(|by| !by.is_empty())?;
            return Some(Meanwhile {
                what: by_whom(by, &status.ended_message),
                ways_on: vec![format!("look:  dawn job status {key}")],
            });
        }
        // A batch job goes on with the others, and ends.
        if !matches!(summary.kind(), JobKind::Service | JobKind::Daemon) {
            return None;
        }
        let since_ms = status.versions.last().map_or(0, |version| version.at_ms);
        let what = were_killed(status, |task, asked| !before.contains(&task.id) && asked.at_ms >= since_ms);
        let stays = "What was killed stays stopped until the job is submitted again: `dawn job run FILE` starts it, also with the \
             same file.";
        let ways_on = vec![stays.to_string(), format!("look:  dawn job status {key}")];
        what.map(|what| Meanwhile { what, ways_on })
    }
}

/// Instances whose newest task was killed since a user asked for it, and how that was asked.
pub fn killed(tasks: &[v1::Task]) -> impl Iterator<Item = (&v1::Task, &v1::Transition)> {
    let newest = newest(tasks).into_iter().filter(|task| task.state() == TaskState::Killed);
    newest.filter_map(|task| Some((task, asked(task)?)))
}

/// The step of a task's history in which a user had it killed.
pub fn asked(task: &v1::Task) -> Option<&v1::Transition> {
    task.history.iter().find(|step| step.reason() == Reason::UserRequest)
}

/// "killed by root: MESSAGE"; `ended_by` is who ended the whole job.
pub fn killed_by(asked: &v1::Transition, ended_by: &str) -> String {
    match (asked.message.as_str(), ended_by) {
        ("", "") => "killed by a user".to_string(),
        ("", by) => by_whom(by, ""),
        (said, _) => render::safe(said),
    }
}

/// "killed by root: MESSAGE".
pub fn by_whom(by: &str, message: &str) -> String {
    let by = render::safe(by);
    if message.is_empty() { format!("killed by {by}") } else { format!("killed by {by}: {}", render::safe(message)) }
}

/// "instances 0-1 were killed by root": those that users killed and that count; None: there are none.
pub fn were_killed(status: &v1::JobStatus, counts: impl Fn(&v1::Task, &v1::Transition) -> bool) -> Option<String> {
    let mut instances: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (task, asked) in killed(&status.tasks).filter(|(task, asked)| counts(task, asked)) {
        instances.entry(killed_by(asked, "")).or_default().push(task.instance);
    }
    let words = |(by, instances): (String, Vec<u32>)| match &instances[..] {
        [only] => format!("instance {only} was {by}"),
        several => format!("instances {} were {by}", render::instances(several)),
    };
    let words: Vec<String> = instances.into_iter().map(words).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn replaced(ours: u32, current: u32, versions: &[v1::JobVersion]) -> String {
    if current < ours {
        return format!("version {ours} is no longer in force; version {current} is again");
    }
    let by = versions.iter().find(|version| version.version == current);
    let author = by.map(|version| render::safe(&version.author)).filter(|author| !author.is_empty());
    let author = author.map_or_else(String::new, |author| format!(" of {author}"));
    let message = by.map(|version| render::safe(&version.message)).filter(|message| !message.is_empty());
    let message = message.map_or_else(String::new, |message| format!(" ({message})"));
    format!("version {ours} was replaced by version {current}{author}{message} before it was known to be good")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: u32, tasks: Vec<v1::Task>) -> v1::JobStatus {
        let kind = JobKind::Service.into();
        let summary = v1::JobSummary { kind, version, instances: 2, ..Default::default() };
        let versions = [(1, "root", ""), (2, "ann", "more")].map(|(version, author, message)| v1::JobVersion {
            version,
            author: author.into(),
            message: message.into(),
            at_ms: i64::from(version) * 1_000,
            ..Default::default()
        });
        let versions = versions.into_iter().filter(|one| one.version <= version).collect();
        v1::JobStatus { summary: Some(summary), versions, tasks, ..Default::default() }
    }

    fn killed_task(id: u64, instance: u32, message: &str, at_ms: i64) -> v1::Task {
        let step = |state: TaskState, message: &str| v1::Transition {
            state: state.into(),
            reason: Reason::UserRequest.into(),
            message: message.into(),
            at_ms,
            ..Default::default()
        };
        let history = vec![step(TaskState::Killing, message), step(TaskState::Killed, "")];
        v1::Task { id, instance, state: TaskState::Killed.into(), history, ..Default::default() }
    }

    fn submitted(version: u32, outcome: SubmitOutcome) -> Submitted {
        Submitted::of(&v1::SubmitJobResponse { version, outcome: outcome.into(), ..Default::default() })
    }

    #[test]
    fn another_version_ends_the_wait_and_is_named_with_its_author() {
        let mut of_first = submitted(1, SubmitOutcome::Created);
        assert_eq!(of_first.look("www/prod/web", &status(1, vec![])), None);
        let said = of_first.look("www/prod/web", &status(2, vec![])).unwrap();
        assert_eq!(said.what, "version 1 was replaced by version 2 of ann (more) before it was known to be good");
        let back = submitted(2, SubmitOutcome::Updating).look("www/prod/web", &status(1, vec![])).unwrap();
        assert_eq!(back.what, "version 2 is no longer in force; version 1 is again");
        assert_eq!(submitted(0, SubmitOutcome::Unspecified).look("x", &status(2, vec![])), None, "not known");
    }

    #[test]
    fn killed_instances_end_the_wait_and_it_is_said_who_killed_them() {
        let tasks = vec![killed_task(1, 0, "killed by ann: enough", 5_000), killed_task(2, 1, "", 5_000)];
        let said = submitted(1, SubmitOutcome::Created).look("x", &status(1, tasks)).unwrap();
        assert_eq!(said.what, "instance 1 was killed by a user; instance 0 was killed by ann: enough");
        let tasks = || vec![killed_task(1, 0, "killed by ann", 500), killed_task(2, 1, "killed by ann", 500)];
        let before = submitted(1, SubmitOutcome::Replaced).look("x", &status(1, tasks()));
        assert_eq!(before, None, "that was before the job was submitted again");
        // The same file starts again what was killed.
        let late = |id, instance| killed_task(id, instance, "killed by ann", 9_000);
        let mut again = submitted(1, SubmitOutcome::StartedAgain);
        assert_eq!(again.look("x", &status(1, vec![late(1, 0)])), None);
        let said = again.look("x", &status(1, vec![late(3, 0)])).unwrap();
        assert_eq!(said.what, "instance 0 was killed by ann");
        let mut batch = status(1, vec![late(1, 0)]);
        batch.summary.as_mut().unwrap().kind = JobKind::Batch.into();
        assert_eq!(submitted(1, SubmitOutcome::Created).look("x", &batch), None, "it ends by itself");
    }

    #[test]
    fn a_job_that_was_killed_is_said_to_be() {
        let mut ended = status(1, vec![]);
        ended.summary.as_mut().unwrap().ended = true;
        assert_eq!(submitted(1, SubmitOutcome::Created).look("x", &ended), None, "it ended by itself");
        (ended.ended_by, ended.ended_message) = ("root".into(), "not now".into());
        let said = submitted(1, SubmitOutcome::Created).look("x", &ended).unwrap();
        assert_eq!(said.what, "killed by root: not now");
    }
}
