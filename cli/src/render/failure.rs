//! How a life of an instance failed, as people read it. Not here: who is asked for the last words.

use std::collections::BTreeMap;

use dawn_proto::v1::{self, Reason, TaskState};

use super::{count, safe, time};

/// Lines of standard error that are shown of one failure; the newest.
const MAX_LINES: usize = 10;

/// The newest failure that came of one cause, and every instance whose last failure came of it.
pub struct Cause<'a> {
    pub task: &'a v1::Task,
    pub failure: v1::TaskFailure,
    pub instances: Vec<u32>,
}

impl Cause<'_> {
    /// The cause, with the name of the node where it is of that node.
    pub fn cause_with_node(&self) -> String {
        let (text, node) = (cause(&self.failure), safe(&self.failure.hostname));
        match self.instances.len() {
            _ if node.is_empty() => text,
            0 | 1 => text.replace("on this node", &format!("on {node}")),
            _ => text.replace("on this node", &format!("on its node (the last was {node})")),
        }
    }

    pub fn line(&self, now_ms: i64) -> String {
        line(&self.instances, self.task, &self.failure, now_ms)
    }
}

/// The causes of the instances' last failures: first that of most instances, of equal ones the newest.
pub fn causes(tasks: &[v1::Task]) -> Vec<Cause<'_>> {
    let mut failures: Vec<(&v1::Task, v1::TaskFailure)> =
        tasks.iter().filter_map(|task| Some((task, of(task)?))).collect();
    failures.sort_by_key(|(_, failure)| std::cmp::Reverse((failure.at_ms, failure.task_id)));
    let mut causes: Vec<Cause> = Vec::new();
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for (task, failed) in failures {
        match at.get(&cause(&failed)) {
            Some(at) => causes[*at].instances.push(task.instance),
            None => {
                at.insert(cause(&failed), causes.len());
                causes.push(Cause { task, failure: failed, instances: vec![task.instance] });
            }
        }
    }
    for one in &mut causes {
        one.instances.sort_unstable();
        one.instances.dedup();
    }
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.instances.len()));
    causes
}

/// The reason, what was said of it, and the exit code or signal where that does not say it already.
pub fn cause(failure: &v1::TaskFailure) -> String {
    let mut text = match dawn_proto::words::end(failure.reason(), &safe(&failure.message)) {
        nothing if nothing.is_empty() => "failed without a reason that is known".to_string(),
        words => words,
    };
    if let Some(code) = failure.exit_code.filter(|code| !text.contains(&format!("exit code {code}"))) {
        text += &format!(" (exit code {code})");
    }
    if let Some(signal) = failure.signal {
        let name = nix::sys::signal::Signal::try_from(signal).map_or("", nix::sys::signal::Signal::as_str);
        let named = !name.is_empty() && text.contains(name);
        if !named && !text.contains(&format!("signal {signal}")) {
            text += &format!(" (signal {signal}{}{name})", if name.is_empty() { "" } else { ", " });
        }
    }
    text
}

/// "instance 2: process main ended with exit code 3; attempt 4 on node-1, 3s ago; 4 failures in a row", of all instances that failed
/// alike; where there are several, `task` is the one of them that failed last.
pub fn line(instances: &[u32], task: &v1::Task, failure: &v1::TaskFailure, now_ms: i64) -> String {
    let several = instances.len() > 1;
    let who = match several {
        true => format!("instances {}", super::instances(instances)),
        false => format!("instance {}", task.instance),
    };
    let mut text = format!("{who}: {}", cause(failure));
    let whose = if several { format!("the last was instance {}", task.instance) } else { String::new() };
    let attempt = if failure.attempt > 0 { format!("attempt {}", failure.attempt) } else { String::new() };
    let is_other = failure.version > 0 && failure.version != task.version;
    let version = if is_other { format!("of version {}", failure.version) } else { String::new() };
    let attempt = [attempt, version].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let which: Vec<String> = [whose, attempt].into_iter().filter(|part| !part.is_empty()).collect();
    if !which.is_empty() {
        text += &format!("; {}", which.join(", "));
    }
    if !failure.hostname.is_empty() {
        text += &format!(" on {}", safe(&failure.hostname));
    }
    if failure.at_ms > 0 {
        text += &format!(", {}", time::relative(failure.at_ms, now_ms));
    }
    match task.failures {
        // The first says nothing, and the others of several may have failed more or less often.
        failures if failures > 1 && !several => format!("{text}; {} in a row", count(failures, "failure")),
        _ => text,
    }
}

/// The latest failed life of the task's instance. A scheduler of the version before says it of ended tasks alone.
pub fn of(task: &v1::Task) -> Option<v1::TaskFailure> {
    if task.last_failure.is_some() {
        return task.last_failure.clone();
    }
    let failed = matches!(task.state(), TaskState::Failed | TaskState::Lost);
    let end = task.history.last().filter(|end| failed && (end.reason() != Reason::None || !end.message.is_empty()))?;
    Some(v1::TaskFailure {
        task_id: task.id,
        attempt: task.attempt,
        hostname: task.hostname.clone(),
        at_ms: end.at_ms,
        reason: end.reason,
        message: end.message.clone(),
        exit_code: end.exit_code,
        signal: end.signal,
        version: task.version,
    })
}

/// The end of what a process wrote to standard error, each line behind a bar; empty when there is nothing to show.
pub fn last_words(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(MAX_LINES)..];
    if shown.iter().all(|line| line.trim().is_empty()) {
        return String::new();
    }
    shown.iter().map(|line| format!("    | {}\n", safe(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_says_each_thing_once() {
        let exited = v1::TaskFailure {
            attempt: 4,
            hostname: "node-1".into(),
            at_ms: 1_000,
            reason: Reason::Exited.into(),
            message: "process main ended with exit code 3".into(),
            exit_code: Some(3),
            ..Default::default()
        };
        let task = v1::Task { instance: 2, failures: 4, ..Default::default() };
        let said = "instance 2: process main ended with exit code 3; attempt 4 on node-1, 3s ago; 4 failures in a row";
        assert_eq!(line(&[2], &task, &exited, 4_000), said);
        let once = v1::Task { failures: 1, ..task.clone() };
        let alike =
            "instances 0-2: process main ended with exit code 3; the last was instance 2, attempt 4 on node-1, 3s ago";
        assert_eq!(line(&[0, 1, 2], &task, &exited, 4_000), alike);
        assert!(!line(&[2], &once, &exited, 4_000).contains("in a row"), "one is no row");
        let cause_of = |reason: Reason, message: &str, exit_code, signal| {
            cause(&v1::TaskFailure {
                reason: reason.into(),
                message: message.into(),
                exit_code,
                signal,
                ..Default::default()
            })
        };
        assert_eq!(cause_of(Reason::UnknownUser, "there is no user ghost", None, None), "there is no user ghost");
        assert_eq!(cause_of(Reason::HealthCheck, "health check: refused", None, None), "health check: refused");
        assert_eq!(cause_of(Reason::Exited, "", Some(7), None), "exited (exit code 7)");
        assert_eq!(cause_of(Reason::Signaled, "", None, Some(9)), "signaled (signal 9, SIGKILL)");
        assert_eq!(cause_of(Reason::Signaled, "ended by SIGSEGV", None, Some(11)), "ended by SIGSEGV");
        assert_eq!(cause_of(Reason::None, "", None, None), "failed without a reason that is known");
        assert_eq!(cause_of(Reason::Exited, "a\u{1b}b", None, None), "a\\u{1b}b");
    }

    #[test]
    fn a_cause_that_is_of_a_node_names_it() {
        let failure = v1::TaskFailure {
            hostname: "node-1".into(),
            reason: Reason::UnknownUser.into(),
            message: "user www does not exist on this node".into(),
            ..Default::default()
        };
        let task = v1::Task::default();
        let said = |instances: &[u32]| {
            Cause { task: &task, failure: failure.clone(), instances: instances.to_vec() }.cause_with_node()
        };
        assert_eq!(said(&[0]), "user www does not exist on node-1");
        assert_eq!(said(&[0, 1]), "user www does not exist on its node (the last was node-1)");
    }

    #[test]
    fn the_last_lines_of_standard_error_stand_behind_bars() {
        let words: String = (1..=12).map(|n| format!("line {n}\n")).collect();
        let shown = last_words(words.as_bytes());
        assert!(shown.starts_with("    | line 3\n") && shown.ends_with("    | line 12\n"), "{shown}");
        assert_eq!(last_words(b"\x1b[2J\xff"), "    | \\u{1b}[2J\u{fffd}\n");
        assert_eq!((last_words(b"").as_str(), last_words(b"\n\n").as_str()), ("", ""));
    }

    #[test]
    fn an_old_scheduler_s_failed_tasks_say_it_themselves() {
        let end = v1::Transition {
            reason: Reason::Exited.into(),
            message: "exit code 1".into(),
            at_ms: 5,
            ..Default::default()
        };
        let mut task =
            v1::Task { id: 7, attempt: 2, state: TaskState::Failed.into(), history: vec![end], ..Default::default() };
        assert_eq!(of(&task).map(|failure| (failure.task_id, failure.at_ms)), Some((7, 5)));
        task.state = TaskState::Running.into();
        assert_eq!(of(&task), None);
    }
}
