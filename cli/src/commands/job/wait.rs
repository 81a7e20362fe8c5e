//! Whether what a job was submitted for has come true, and how far it is. Pure: status in, text and verdict out.

use dawn_proto::v1::{self, JobKind};

use super::meanwhile::{by_whom, were_killed};
use crate::exit::Exit;
use crate::render;

/// The result of a job whose instances have all done their work.
pub const SUCCEEDED: &str = "succeeded";

/// The result of a job that was to follow a failure which did not come.
pub const NOT_NEEDED: &str = "not_needed";

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
        JobKind::Cron if summary.paused => ("paused".to_string(), Some(Exit::Done)),
        JobKind::Cron => ("scheduled".to_string(), Some(Exit::Done)),
        JobKind::Batch if summary.template && !summary.ended => ("kept as a template".to_string(), Some(Exit::Done)),
        JobKind::Batch if summary.result == NOT_NEEDED => {
            ("not needed: it was to follow a failure, and there was none".to_string(), Some(Exit::Done))
        }
        _ if !summary.waits_for.is_empty() && !summary.ended => {
            return Standing {
                text: format!("waits for {}", summary.waits_for.join(", ")),
                verdict: None,
                pending: false,
            };
        }
        _ if will_not_run(&summary) => {
            let text = format!("will not run: {}", why_ended(status));
            return Standing { text, verdict: Some(Exit::Failed), pending: false };
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
                () if summary.ended && summary.result == SUCCEEDED => Some(Exit::Done),
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

/// Whether the job has ended before any of its instances began.
fn will_not_run(summary: &v1::JobSummary) -> bool {
    let began = counts(summary).iter().any(|(count, _)| *count > 0);
    summary.ended && summary.result == "failed" && !began
}

/// How many instances are in which state, in the order in which people want to know it; zeros too.
pub fn counts(summary: &v1::JobSummary) -> [(u32, &'static str); 9] {
    [
        (summary.running, "running"),
        (summary.starting, "starting"),
        (summary.pending, "pending"),
        (summary.stopping, "stopping"),
        (summary.partitioned, "on nodes out of reach"),
        (summary.finished, "finished"),
        (summary.failed, "failed"),
        (summary.killed, "killed"),
        (summary.lost, "lost"),
    ]
}

/// " (1 failing, 2 restarts)": of instances that are among the counted ones; empty when all goes well.
pub fn failing_and_restarts(summary: &v1::JobSummary) -> String {
    let restarts = if summary.restarts == 1 { "restart" } else { "restarts" };
    let parts = [(summary.failing, "failing"), (summary.restarts, restarts)];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// What lives beside the counted instances; empty when nothing does.
pub fn beside(summary: &v1::JobSummary) -> String {
    match summary.beside {
        0 => String::new(),
        1 => "; an update has 1 more task beside them".to_string(),
        more => format!("; an update has {more} more tasks beside them"),
    }
}

/// The counts that are not zero, beside the one that is waited for.
fn others(summary: &v1::JobSummary) -> String {
    let said = if summary.kind() == JobKind::Batch { "finished" } else { "running" };
    let mut text = String::new();
    for (count, what) in counts(summary) {
        if count > 0 && what != said && summary.kind() != JobKind::Cron {
            text += &format!(", {count} {what}");
        }
    }
    text += &failing_and_restarts(summary);
    text += &beside(summary);
    if summary.ended { text + " (ended)" } else { text }
}

/// Why a job that has ended did not succeed, for people; empty when only its instances can say it.
pub fn why_ended(status: &v1::JobStatus) -> String {
    let summary = status.summary.clone().unwrap_or_default();
    let message = render::safe(&status.ended_message);
    let failed = summary.failed + summary.lost;
    let killed = were_killed(status, |_, _| true);
    match (status.ended_by.as_str(), message.as_str()) {
        ("", "" | NOTHING_LEFT) if failed == 0 && killed.is_some() => killed.unwrap_or_default(),
        ("", "" | NOTHING_LEFT) => match (failed, summary.killed, summary.instances) {
            (0, 0, _) => String::new(),
            (0, _, 1) => "its instance was killed".to_string(),
            (0, killed, all) => format!("{killed} of {} killed", render::count(all, "instance")),
            (_, _, 1) => "its instance failed".to_string(),
            (failed, _, all) => format!("{failed} of {} failed", render::count(all, "instance")),
        },
        ("", message) => message.to_string(),
        (by, _) => by_whom(by, &status.ended_message),
    }
}

/// What schedulers of the version before say when every instance has ended in some way.
const NOTHING_LEFT: &str = "no instance is left to run";

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
    fn every_state_is_shown_and_what_is_not_needed_is_well() {
        let summary = v1::JobSummary {
            kind: JobKind::Service.into(),
            instances: 9,
            running: 2,
            stopping: 1,
            partitioned: 2,
            killed: 1,
            lost: 3,
            failing: 1,
            restarts: 7,
            ..Default::default()
        };
        let shown = standing(&v1::JobStatus { summary: Some(summary), ..Default::default() }).text;
        let expected = "2 of 9 running, 1 stopping, 2 on nodes out of reach, 1 killed, 3 lost (1 failing, 7 restarts)";
        assert_eq!(shown, expected);
        let kind = JobKind::Batch.into();
        let summary =
            v1::JobSummary { kind, instances: 1, ended: true, result: NOT_NEEDED.into(), ..Default::default() };
        let skipped = standing(&v1::JobStatus { summary: Some(summary), ..Default::default() });
        assert_eq!(skipped.verdict, Some(Exit::Done));
        assert_eq!(skipped.text, "not needed: it was to follow a failure, and there was none (ended)");
    }

    #[test]
    fn why_a_job_ended_is_said_with_numbers() {
        let ended = |by: &str, message: &str, failed| {
            let summary = v1::JobSummary { instances: 20, failed, ended: true, ..Default::default() };
            let (ended_by, ended_message) = (by.to_string(), message.to_string());
            why_ended(&v1::JobStatus { summary: Some(summary), ended_by, ended_message, ..Default::default() })
        };
        assert_eq!(ended("", "no instance is left to run", 1), "1 of 20 instances failed");
        assert_eq!(ended("", "was not done by its deadline", 1), "was not done by its deadline");
        assert_eq!(ended("", "", 1), "1 of 20 instances failed");
        assert_eq!(ended("", "no instance is left to run", 0), "", "an old scheduler's words say nothing");
        assert_eq!(ended("root", "", 0), "killed by root");
        assert_eq!(ended("root", "not now", 0), "killed by root: not now");
        let killed = v1::JobSummary { instances: 1, killed: 1, ended: true, ..Default::default() };
        let status = v1::JobStatus { summary: Some(killed), ..Default::default() };
        assert_eq!(why_ended(&status), "its instance was killed");
    }

    #[test]
    fn a_job_of_any_kind_says_what_it_waits_for_and_that_it_will_not_run() {
        for kind in [JobKind::Service, JobKind::Batch, JobKind::Daemon] {
            let waits_for = vec!["www/prod/first (success)".to_string()];
            let mut summary = v1::JobSummary { kind: kind.into(), instances: 1, waits_for, ..Default::default() };
            let said = |summary: &v1::JobSummary, message: &str| {
                let (summary, ended_message) = (Some(summary.clone()), message.to_string());
                standing(&v1::JobStatus { summary, ended_message, ..Default::default() })
            };
            let waits = said(&summary, "");
            assert_eq!((waits.text.as_str(), waits.verdict), ("waits for www/prod/first (success)", None));
            (summary.waits_for, summary.ended, summary.result) = (Vec::new(), true, "failed".into());
            let never = said(&summary, "www/prod/first did not succeed, and this was to follow its success");
            let expected = "will not run: www/prod/first did not succeed, and this was to follow its success";
            assert_eq!((never.text.as_str(), never.verdict), (expected, Some(Exit::Failed)));
        }
    }
}
