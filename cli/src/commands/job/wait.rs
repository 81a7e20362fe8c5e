//! Whether what a job was submitted for has come true, and how far it is. Pure: status in, text and verdict out.

use dawn_proto::v1::{self, JobKind};

use crate::exit::Exit;
use crate::render;

/// Where a submitted job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// For people: "2 of 3 running, 1 pending".
    pub text: String,
    /// What the wait ends with; none: not yet.
    pub verdict: Option<Exit>,
    /// Some instance has no place: `why` has more to say.
    pub pending: bool,
}

/// A service must run with all instances, a batch job must end well, a cron job must only be there.
pub fn standing(status: &v1::JobStatus) -> Standing {
    let summary = status.summary.clone().unwrap_or_default();
    let all = summary.instances;
    let (text, verdict) = match summary.kind() {
        JobKind::Cron => ("scheduled".to_string(), Some(Exit::Done)),
        JobKind::Batch if summary.template && !summary.ended => ("kept as a template".to_string(), Some(Exit::Done)),
        JobKind::Batch if !summary.waits_for.is_empty() => {
            return Standing {
                text: format!("waits for {}", summary.waits_for.join(", ")),
                verdict: None,
                pending: false,
            };
        }
        // How many there are to be is not known here: nodes come and go.
        JobKind::Daemon => {
            let verdict = match summary.pending + summary.starting {
                _ if summary.ended => Some(Exit::Failed),
                0 if summary.failed > 0 => Some(Exit::Failed),
                0 => Some(Exit::Done),
                _ => None,
            };
            (format!("{} of {all} running", summary.running), verdict)
        }
        JobKind::Batch => {
            let settled = summary.finished + summary.failed;
            let verdict = match settled >= all || summary.ended {
                true if summary.finished >= all => Some(Exit::Done),
                true => Some(Exit::Failed),
                false => None,
            };
            (format!("{} of {all} finished", summary.finished), verdict)
        }
        JobKind::Service | JobKind::Unspecified => {
            let verdict = match () {
                () if summary.ended => Some(Exit::Failed),
                () if summary.running >= all => Some(Exit::Done),
                // A service that restarts on failure only may end, instance by instance.
                () if summary.running + summary.finished >= all => Some(Exit::Done),
                () if summary.running + summary.finished + summary.failed >= all => Some(Exit::Failed),
                () => None,
            };
            (format!("{} of {all} running", summary.running), verdict)
        }
    };
    Standing { text: text + &others(&summary), verdict, pending: summary.pending > 0 }
}

/// The counts that are not zero, beside the one that is waited for.
fn others(summary: &v1::JobSummary) -> String {
    let batch = summary.kind() == JobKind::Batch;
    let mut text = String::new();
    for (count, what, said) in [
        (summary.running, "running", !batch),
        (summary.starting, "starting", false),
        (summary.pending, "pending", false),
        (summary.finished, "finished", batch),
        (summary.failed, "failed", false),
    ] {
        if count > 0 && !said && summary.kind() != JobKind::Cron {
            text += &format!(", {count} {what}");
        }
    }
    if summary.ended { text + " (ended)" } else { text }
}

/// The newest thing that went wrong with a living instance, so that a job that never gets there says why.
pub fn trouble(status: &v1::JobStatus) -> Option<String> {
    let task = status.tasks.iter().filter(|task| task.failures > 0 || task.state() == v1::TaskState::Failed);
    let task = task.max_by_key(|task| task.id)?;
    let ends = task.history.iter().rev().find(|step| !step.message.is_empty() || step.reason() != v1::Reason::None)?;
    let said = if ends.message.is_empty() { render::reason(ends.reason()) } else { render::safe(&ends.message) };
    let times = match task.failures {
        0 => String::new(),
        n => format!(" ({} in a row)", render::count(n, "failure")),
    };
    Some(format!("instance {}: {said}{times}", task.instance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(kind: JobKind, counts: [u32; 5], ended: bool) -> Standing {
        let [pending, starting, running, finished, failed] = counts;
        let summary = v1::JobSummary {
            kind: kind.into(),
            instances: 3,
            pending,
            starting,
            running,
            finished,
            failed,
            ended,
            ..Default::default()
        };
        standing(&v1::JobStatus { summary: Some(summary), ..Default::default() })
    }

    #[test]
    fn each_kind_is_waited_for_in_its_own_way() {
        use JobKind::{Batch, Cron, Service};
        let table = [
            (Service, [3, 0, 0, 0, 0], false, "0 of 3 running, 3 pending", None),
            (Service, [1, 1, 1, 0, 0], false, "1 of 3 running, 1 starting, 1 pending", None),
            (Service, [0, 0, 3, 0, 0], false, "3 of 3 running", Some(Exit::Done)),
            (Service, [0, 0, 2, 1, 0], false, "2 of 3 running, 1 finished", Some(Exit::Done)),
            (Service, [0, 0, 2, 0, 1], false, "2 of 3 running, 1 failed", Some(Exit::Failed)),
            (Service, [0, 0, 0, 0, 0], true, "0 of 3 running (ended)", Some(Exit::Failed)),
            (Batch, [1, 0, 1, 1, 0], false, "1 of 3 finished, 1 running, 1 pending", None),
            (Batch, [0, 0, 0, 3, 0], true, "3 of 3 finished (ended)", Some(Exit::Done)),
            (Batch, [0, 0, 0, 2, 1], true, "2 of 3 finished, 1 failed (ended)", Some(Exit::Failed)),
            (Batch, [0, 0, 0, 1, 0], true, "1 of 3 finished (ended)", Some(Exit::Failed)),
            (Cron, [0, 0, 0, 0, 0], false, "scheduled", Some(Exit::Done)),
        ];
        for (kind, counts, ended, text, verdict) in table {
            let standing = at(kind, counts, ended);
            assert_eq!((standing.text.as_str(), standing.verdict), (text, verdict), "{kind:?} {counts:?} {ended}");
            assert_eq!(standing.pending, counts[0] > 0);
        }
    }

    #[test]
    fn what_keeps_failing_says_so() {
        let step = |message: &str, reason: v1::Reason| v1::Transition {
            message: message.into(),
            reason: reason.into(),
            ..Default::default()
        };
        let task = v1::Task {
            instance: 1,
            failures: 3,
            history: vec![step("process web: exit code 3", v1::Reason::Exited), step("", v1::Reason::None)],
            ..Default::default()
        };
        let status = v1::JobStatus { tasks: vec![task, v1::Task::default()], ..Default::default() };
        let said = trouble(&status);
        assert_eq!(said.as_deref(), Some("instance 1: process web: exit code 3 (3 failures in a row)"));
        assert_eq!(trouble(&v1::JobStatus::default()), None);
    }
}
