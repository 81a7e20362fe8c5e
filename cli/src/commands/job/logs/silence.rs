//! What is said where a log has nothing to show: that nothing was written, and how the task failed. Pure.

use dawn_proto::{TaskId, v1};

use super::What;
use crate::render::failure;

/// Instances that are named at most.
const MOST_NAMED: usize = 10;

/// For people, a line each; nothing when no byte was asked for. Of each task it is known whether an attempt before it has a log.
pub fn describe_silence(what: &What, tasks: &[(&v1::Task, bool)]) -> Vec<String> {
    if what.tail == Some(0) {
        return Vec::new();
    }
    let mut lines: Vec<String> =
        tasks.iter().take(MOST_NAMED).map(|(task, has_previous)| of_task(what, task, *has_previous)).collect();
    if tasks.len() > MOST_NAMED {
        lines.push(format!("the tasks of {} more instances wrote nothing either", tasks.len() - MOST_NAMED));
    }
    lines
}

fn of_task(what: &What, task: &v1::Task, has_previous: bool) -> String {
    let (job, id) = (crate::render::key(task.job.as_ref()), TaskId(task.id));
    let process = what.process.as_ref().map_or_else(String::new, |process| format!("process {process} of "));
    let stream = match (what.stdout, what.stderr) {
        (true, _) => " to standard output",
        (false, true) => " to standard error",
        (false, false) => "",
    };
    let since = if what.since.is_some() { " since then" } else { "" };
    let failed = failure::of(task).filter(|failed| failed.task_id == task.id);
    let failed = failed.map_or_else(String::new, |failed| format!("; it failed: {}", failure::cause(&failed)));
    let instance = format!("{job}/{}", task.instance);
    if task.state().is_terminal() {
        return format!("{instance}: {process}{id} wrote nothing{stream}{since}{failed}");
    }
    let before = match has_previous {
        true => format!("; `dawn job logs {instance} --previous` shows the attempt before"),
        false => String::new(),
    };
    format!("{instance}: {process}{id} has written nothing yet{stream}{since}{before}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        what: What,
    }

    #[test]
    fn it_says_what_was_asked_for_and_how_the_task_failed() {
        let key = v1::JobKey { role: "www".into(), env: "prod".into(), name: "web".into() };
        let end = v1::Transition {
            state: v1::TaskState::Failed.into(),
            reason: v1::Reason::Exited.into(),
            message: "process main ended with exit code 3".into(),
            ..Default::default()
        };
        let state = v1::TaskState::Failed.into();
        let failed =
            v1::Task { id: 7, instance: 2, job: Some(key.clone()), state, history: vec![end], ..Default::default() };
        let state = v1::TaskState::Running.into();
        let runs = v1::Task { id: 8, instance: 3, job: Some(key), state, ..Default::default() };
        let again = v1::Task { id: 9, ..runs.clone() };
        let said = |line: &[&str], tasks: &[&v1::Task]| {
            let tasks: Vec<(&v1::Task, bool)> = tasks.iter().map(|task| (*task, task.id == 9)).collect();
            describe_silence(&Line::parse_from(["logs"].iter().chain(line)).what, &tasks)
        };
        assert_eq!(
            said(&[], &[&failed, &runs]),
            [
                "www/prod/web/2: t7 wrote nothing; it failed: process main ended with exit code 3",
                "www/prod/web/3: t8 has written nothing yet"
            ]
        );
        assert_eq!(
            said(&["--stdout", "--since", "1h", "--process", "a"], &[&runs]),
            ["www/prod/web/3: process a of t8 has written nothing yet to standard output since then"]
        );
        assert_eq!(said(&["--stderr"], &[&runs]), ["www/prod/web/3: t8 has written nothing yet to standard error"]);
        assert_eq!(
            said(&[], &[&again]),
            [
                "www/prod/web/3: t9 has written nothing yet; `dawn job logs www/prod/web/3 --previous` shows the attempt before"
            ]
        );
        assert!(said(&["--tail", "0"], &[&runs]).is_empty());
        assert_eq!(said(&[], &[&runs; 12])[10], "the tasks of 2 more instances wrote nothing either");
    }
}
