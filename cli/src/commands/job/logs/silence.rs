//! What is said where a log has nothing to show: that nothing was written, and how the task failed. Pure.

use dawn_proto::{TaskId, v1};

use super::What;
use crate::render::failure;

/// Instances that are named at most.
const MOST_NAMED: usize = 10;

/// For people, a line each; nothing when no byte was asked for.
pub fn describe_silence(what: &What, tasks: &[&v1::Task]) -> Vec<String> {
    if what.tail == Some(0) {
        return Vec::new();
    }
    let mut lines: Vec<String> = tasks.iter().take(MOST_NAMED).map(|task| of_task(what, task)).collect();
    if tasks.len() > MOST_NAMED {
        lines.push(format!("the tasks of {} more instances wrote nothing either", tasks.len() - MOST_NAMED));
    }
    lines
}

fn of_task(what: &What, task: &v1::Task) -> String {
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
    format!("{job}/{}: {process}{id} wrote nothing{stream}{since}{failed}", task.instance)
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
        let runs = v1::Task { id: 8, instance: 3, job: Some(key), ..Default::default() };
        let said = |line: &[&str], tasks: &[&v1::Task]| {
            describe_silence(&Line::parse_from(["logs"].iter().chain(line)).what, tasks)
        };
        assert_eq!(
            said(&[], &[&failed, &runs]),
            [
                "www/prod/web/2: t7 wrote nothing; it failed: process main ended with exit code 3",
                "www/prod/web/3: t8 wrote nothing"
            ]
        );
        assert_eq!(
            said(&["--stdout", "--since", "1h", "--process", "a"], &[&runs]),
            ["www/prod/web/3: process a of t8 wrote nothing to standard output since then"]
        );
        assert_eq!(said(&["--stderr"], &[&runs]), ["www/prod/web/3: t8 wrote nothing to standard error"]);
        assert!(said(&["--tail", "0"], &[&runs]).is_empty());
        assert_eq!(said(&[], &[&runs; 12])[10], "the tasks of 2 more instances wrote nothing either");
    }
}
