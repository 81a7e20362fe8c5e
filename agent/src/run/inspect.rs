//! The kernel's side of an inspection: executors by pid and start time, processes by control group.

use std::collections::BTreeSet;

use dawn_proto::TaskId;

use crate::edges::cgroup::Tree;
use crate::edges::executors;
use crate::model::{InspectedTask, Inspection, MAX_INSPECTED, ProcessIdentity, Stray, TaskDir};

/// Completes what the agent says of itself. Without control groups the processes are those that event logs name.
pub(super) fn look(inspection: &mut Inspection, tree: Option<&Tree>, dir: impl Fn(TaskId) -> TaskDir) {
    inspection.isolated = tree.is_some();
    for task in inspection.tasks.iter_mut().filter(|task| task.on_disk) {
        look_at(task, tree, &dir(task.task));
    }
    let Some(tree) = tree else { return };
    let held: BTreeSet<TaskId> = inspection.tasks.iter().map(|task| task.task).collect();
    let strays = tree.tasks().into_iter().filter(|task| !held.contains(task));
    let strays = strays.map(|task| Stray { task, processes_total: tree.members(task).len() });
    inspection.strays = strays.filter(|stray| stray.processes_total > 0).collect();
}

fn look_at(task: &mut InspectedTask, tree: Option<&Tree>, dir: &TaskDir) {
    let lives = |one: &ProcessIdentity| executors::start_ticks(one.pid) == Some(one.start_ticks);
    // What can't be read is not there: that is what is to be found out.
    task.executor = executors::identity(dir).ok().flatten();
    task.executor_lives = task.executor.is_some_and(|executor| lives(&executor));
    let processes: Vec<ProcessIdentity> = match tree {
        Some(tree) => {
            let members = tree.members(task.task).into_iter();
            members.filter_map(|pid| Some(ProcessIdentity { pid, start_ticks: executors::start_ticks(pid)? })).collect()
        }
        None => {
            let told = executors::probe(dir, true).processes;
            told.into_values().filter(lives).collect()
        }
    };
    task.processes_total = processes.len();
    task.processes = processes.into_iter().take(MAX_INSPECTED).collect();
}
