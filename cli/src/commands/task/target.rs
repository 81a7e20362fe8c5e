//! Which task is meant: `t12`, or `ROLE/ENV/NAME/INSTANCE`; the instance may be left out when there is one.

use std::str::FromStr;

use dawn_proto::{TaskId, v1};

use crate::args::Context;
use crate::commands::job::logs::attempts::{has_run, must_have_run};
use crate::commands::job::logs::describe_none;
use crate::commands::job::{status, tasks};
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Task(TaskId),
    Instance(Selection),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(task) = text.parse::<TaskId>() {
            return Ok(Target::Task(task));
        }
        let wrong = |why: String| match text.matches('/').count() {
            0..2 => "write ROLE/ENV/NAME/INSTANCE, or a task as in t12".to_string(),
            _ => why,
        };
        text.parse::<Selection>().map(Target::Instance).map_err(wrong)
    }
}

impl Target {
    /// The task: of an instance the newest that was started, living or not.
    ///
    /// # Errors
    /// As [`Target::find_task`].
    pub async fn find(&self, context: &mut Context) -> Result<TaskId, Failure> {
        Ok(TaskId(self.find_task(context).await?.id))
    }

    /// The same with what is known of it. A task that was never started has no log, no sandbox and no processes.
    ///
    /// # Errors
    /// When none was started, or several instances would do.
    pub async fn find_task(&self, context: &mut Context) -> Result<v1::Task, Failure> {
        let selection = match self {
            Target::Task(id) => return by_id(context, *id).await,
            Target::Instance(selection) => selection,
        };
        let all = tasks::list(context, selection, true).await?;
        let started: Vec<v1::Task> = all.iter().filter(|task| has_run(task)).cloned().collect();
        let living: Vec<v1::Task> = started.iter().filter(|task| !task.state().is_terminal()).cloned().collect();
        let newest = tasks::newest(if living.is_empty() { &started } else { &living });
        let key = &selection.key;
        match newest[..] {
            [task] => Ok(task.clone()),
            [] => Err(none_started(selection, all.last(), context).await),
            _ => {
                let message = format!("{key} has {} such tasks; name one", newest.len());
                Err(Failure::new(Exit::Usage, message).hint(format!("as in {key}/0, or see `dawn job status {key}`")))
            }
        }
    }
}

async fn by_id(context: &mut Context, id: TaskId) -> Result<v1::Task, Failure> {
    let task = tasks::by_id(context, id).await?.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no task {id}")).hint(
            "the tasks of a job are listed by `dawn job status ROLE/ENV/NAME`, those that ended by `dawn job history`",
        )
    })?;
    must_have_run(&task)?;
    Ok(task)
}

/// Why there is no task: the job has no such instance, or none of them was started.
async fn none_started(selection: &Selection, newest: Option<&v1::Task>, context: &mut Context) -> Failure {
    let status = match status::get(context, selection).await {
        Ok(status) => status,
        Err(failure) => return failure,
    };
    let is_numbered = |job: &v1::JobSummary| job.kind() != v1::JobKind::Daemon && !job.template;
    if status.summary.as_ref().is_some_and(is_numbered)
        && let Err(not_there) = selection.must_be_there(&status)
    {
        return not_there;
    }
    let not_started = newest.and_then(|task| must_have_run(task).err());
    not_started.unwrap_or_else(|| describe_none(selection, &status))
}

/// A place in a task's sandbox, as `TASK PATH` or as `TASK:PATH`; without a path none is given.
pub fn place(task: &str, path: Option<&str>) -> Result<(Target, Option<String>), Failure> {
    let wrong = |why: String| {
        let message = format!("`{}`: {why}", render::safe(task));
        Failure::new(Exit::Usage, message).hint("name a file as TASK PATH or as TASK:PATH, as in t12:/log.txt")
    };
    let (target, inside) = match task.split_once(':') {
        Some((target, inside)) => (target, Some(inside)),
        None => (task, None),
    };
    let target = target.parse().map_err(wrong)?;
    match (inside, path) {
        (Some(inside), Some(path)) => Err(wrong(format!("names the path {inside}, and `{path}` is there too"))),
        (inside, path) => Ok((target, inside.or(path).map(str::to_string))),
    }
}

/// A session about a task.
pub fn about(task: TaskId, what: v1::reach_open::What) -> v1::ReachOpen {
    v1::ReachOpen { task_id: task.0, agent_id: String::new(), what: Some(what) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_named_by_id_or_instance() {
        assert_eq!("t12".parse(), Ok(Target::Task(TaskId(12))));
        assert!(matches!("www/prod/web/3".parse(), Ok(Target::Instance(_))));
        assert!(matches!("www/prod/web".parse(), Ok(Target::Instance(_))));
        assert_eq!(place("t12:/x", None).unwrap(), place("t12", Some("/x")).unwrap());
        assert_eq!(place("t12", None).unwrap().1, None);
        for (task, path) in [("t12:/x", Some("/y")), ("nothing", None), ("a/b:c", None)] {
            assert_eq!(place(task, path).unwrap_err().exit, Exit::Usage, "{task}");
        }
        for text in ["", "t", "web", "a/b", "a/b/c/d"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
