//! Which life of an instance is meant: the newest that ran, the one before, or one by its number. Pure.

use dawn_proto::{TaskId, TaskState, v1};

use crate::exit::{Exit, Failure};
use crate::render::failure;

/// The life that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Newest,
    Previous,
    Attempt(u32),
}

/// Whether processes of the task were started, so that there is something to read. What waits, or could not be started, has
/// none.
pub fn has_run(task: &v1::Task) -> bool {
    use TaskState::{Assigned, Failed, Killed, Lost, Pending, Running, Starting, Throttled};
    let began = task.history.iter().any(|step| matches!(step.state(), Starting | Running));
    match task.state() {
        Throttled | Pending | Assigned => false,
        Failed | Lost | Killed if failed_to_start(task) => false,
        // A scheduler that tells no history is believed that a task with a node was started on it.
        _ => began || (task.history.is_empty() && !task.agent_id.is_empty()),
    }
}

/// Whether the end was one that comes before any process was started, as when an artifact can't be fetched.
fn failed_to_start(task: &v1::Task) -> bool {
    use v1::Reason::{
        ArtifactFailed, CgroupFailed, CheckpointFailed, ChecksumMismatch, LaunchRefused, LimitNotPossible, NoRoom,
        PortClash, RootFsFailed, SandboxFailed, UnknownUser,
    };
    let ran = task.history.iter().any(|step| step.state() == TaskState::Running);
    let reason = task.history.last().map_or(v1::Reason::None, |end| end.reason());
    let before = [
        UnknownUser,
        SandboxFailed,
        CgroupFailed,
        PortClash,
        LaunchRefused,
        ArtifactFailed,
        ChecksumMismatch,
        RootFsFailed,
        NoRoom,
        CheckpointFailed,
        LimitNotPossible,
    ];
    !ran && before.contains(&reason)
}

/// The task among those of one instance, oldest first.
///
/// # Errors
/// For people: why there is none.
pub fn choose_attempt<'a>(tasks: &[&'a v1::Task], which: Which) -> Result<&'a v1::Task, String> {
    let mut started = tasks.iter().rev().copied().filter(|task| has_run(task));
    let found = match which {
        Which::Newest => started.next(),
        Which::Previous => started.nth(1),
        Which::Attempt(number) => {
            let attempt = tasks.iter().rev().copied().find(|task| task.attempt == number);
            if let Some(task) = attempt.filter(|task| !has_run(task)) {
                return Err(why_not_started(task));
            }
            attempt
        }
    };
    found.ok_or_else(|| match which {
        Which::Newest => tasks.last().map_or("it was not started yet".to_string(), |newest| why_not_started(newest)),
        Which::Previous => "no attempt before the newest that ran is kept".to_string(),
        Which::Attempt(number) => match (tasks.first(), tasks.last()) {
            (Some(first), Some(last)) => {
                format!("no attempt {number} is kept; there are {} to {}", first.attempt, last.attempt)
            }
            _ => format!("no attempt {number} is kept"),
        },
    })
}

/// Why a task has neither log nor sandbox: how its start failed, or that it waits.
fn why_not_started(task: &v1::Task) -> String {
    let id = TaskId(task.id);
    let end = task.history.last().map(|end| crate::render::safe(&end.message)).filter(|message| !message.is_empty());
    match (task.state().is_terminal(), failure::of(task)) {
        (true, Some(failed)) if failed.task_id == task.id => {
            format!("{id} was not started: {}", failure::cause(&failed))
        }
        (true, _) => match end {
            Some(message) => format!("{id} was not started: {message}"),
            None => format!("{id} ended before it was started"),
        },
        (false, Some(failed)) => format!(
            "{id} is not started yet ({}); the attempt before, {}, failed: {}",
            crate::render::state(task.state()),
            TaskId(failed.task_id),
            failure::cause(&failed)
        ),
        (false, None) => format!("{id} is not started yet ({})", crate::render::state(task.state())),
    }
}

/// The same, with the instance whose task it is.
pub fn describe_not_started(task: &v1::Task) -> String {
    format!("{}/{}: {}", crate::render::key(task.job.as_ref()), task.instance, why_not_started(task))
}

/// The refusal of whatever needs a task that was started.
///
/// # Errors
/// When it was not, or not yet.
pub fn must_have_run(task: &v1::Task) -> Result<(), Failure> {
    if has_run(task) {
        return Ok(());
    }
    let job = crate::render::key(task.job.as_ref());
    let look = match task.state().is_terminal() {
        true => format!("see `dawn job status {job}/{}`", task.instance),
        false => format!("see `dawn job why {job}`"),
    };
    Err(Failure::new(Exit::Failed, describe_not_started(task)).hint(look))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64, states: &[TaskState]) -> v1::Task {
        let step = |state: &TaskState| v1::Transition { state: (*state).into(), ..Default::default() };
        v1::Task {
            id,
            attempt: u32::try_from(id).unwrap(),
            state: (*states.last().unwrap()).into(),
            history: states.iter().map(step).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn the_newest_attempt_that_ran_is_meant_and_not_the_newest_that_waits() {
        use TaskState::{Assigned, Failed, Killed, Pending, Running, Starting, Throttled};
        let mut refused = task(3, &[Pending, Assigned, Failed]);
        let end = refused.history.last_mut().unwrap();
        (end.reason, end.message) = (v1::Reason::UnknownUser.into(), "there is no user ghost".into());
        let tasks = [
            task(1, &[Pending, Assigned, Starting, Running, Failed]),
            task(2, &[Throttled, Pending, Assigned, Starting, Failed]),
            refused,
            task(4, &[Throttled, Killed]),
            task(5, &[Throttled]),
        ];
        let all: Vec<&v1::Task> = tasks.iter().collect();
        let id = |which| choose_attempt(&all, which).map(|task| task.id);
        assert_eq!(id(Which::Newest), Ok(2));
        assert_eq!(id(Which::Previous), Ok(1));
        assert_eq!(id(Which::Attempt(1)), Ok(1));
        assert_eq!(id(Which::Attempt(3)), Err("t3 was not started: there is no user ghost".into()));
        assert_eq!(id(Which::Attempt(9)), Err("no attempt 9 is kept; there are 1 to 5".into()));
        let never: Vec<&v1::Task> = tasks[2..3].iter().collect();
        assert_eq!(choose_attempt(&never, Which::Newest).unwrap_err(), "t3 was not started: there is no user ghost");
        let waits: Vec<&v1::Task> = tasks[4..].iter().collect();
        assert_eq!(choose_attempt(&waits, Which::Newest).unwrap_err(), "t5 is not started yet (throttled)");
        assert_eq!(
            choose_attempt(&all[..1], Which::Previous).unwrap_err(),
            "no attempt before the newest that ran is kept"
        );
    }
}
