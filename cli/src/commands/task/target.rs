//! Which task is meant: `t12`, or `ROLE/ENV/NAME/INSTANCE`; the instance may be left out when there is one.

use std::str::FromStr;

use dawn_proto::{TaskId, v1};

use crate::args::Context;
use crate::commands::job::tasks;
use crate::commands::select::Selection;
use crate::exit::{Exit, Failure};

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
        let wrong = |_| "write ROLE/ENV/NAME/INSTANCE, or a task as in t12".to_string();
        text.parse::<Selection>().map(Target::Instance).map_err(wrong)
    }
}

impl Target {
    /// The task: of an instance the newest that was started, living or not.
    ///
    /// # Errors
    /// When none was started, or several instances would do.
    pub async fn find(&self, context: &mut Context) -> Result<TaskId, Failure> {
        let selection = match self {
            Target::Task(task) => return Ok(*task),
            Target::Instance(selection) => selection,
        };
        let all = tasks::list(context, selection, true).await?;
        let started: Vec<v1::Task> = all.into_iter().filter(|task| !task.agent_id.is_empty()).collect();
        let living: Vec<v1::Task> = started.iter().filter(|task| !task.state().is_terminal()).cloned().collect();
        let newest = tasks::newest(if living.is_empty() { &started } else { &living });
        let key = &selection.key;
        match newest[..] {
            [task] => Ok(TaskId(task.id)),
            [] => Err(Failure::new(Exit::NotFound, format!("no task of {key} was started yet"))
                .hint(format!("see `dawn job why {key}`"))),
            _ => {
                let message = format!("{key} has {} such tasks; name one", newest.len());
                Err(Failure::new(Exit::Usage, message).hint(format!("as in {key}/0, or see `dawn job status {key}`")))
            }
        }
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
        for text in ["", "t", "web", "a/b", "a/b/c/d"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
