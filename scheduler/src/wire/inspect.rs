//! What agents say that they and their kernels hold.

use dawn_proto::v1::{self, TaskState};
use dawn_proto::{Epoch, TaskId};

use crate::model::{Inspected, Inspection};

/// Reads an inspection. A state that is not known here is none.
pub fn inspection(wire: &v1::Inspection) -> Inspection {
    let task = |task: &v1::InspectedTask| Inspected {
        task: TaskId(task.task_id),
        job: task.job.clone(),
        state: TaskState::try_from(task.state).unwrap_or(TaskState::Unspecified),
        stopping: task.stopping,
        executor: (task.executor_pid > 0).then_some(task.executor_pid),
        executor_lives: task.executor_lives,
        pids: task.processes.iter().map(|process| process.pid).collect(),
        processes_total: task.processes_total,
    };
    Inspection {
        epoch_seen: Epoch(wire.epoch_seen),
        tasks: wire.tasks.iter().map(task).collect(),
        strays: wire.strays.iter().map(|stray| (TaskId(stray.task_id), stray.processes_total)).collect(),
    }
}
