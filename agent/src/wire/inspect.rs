//! What is on this machine, as it is told.

use dawn_proto::v1;

use crate::model::{InspectedTask, Inspection, ProcessIdentity};

pub(super) fn encode_inspection(inspection: &Inspection) -> v1::Inspection {
    let strays = inspection
        .strays
        .iter()
        .map(|stray| v1::InspectedStray { task_id: stray.task.0, processes_total: count(stray.processes_total) });
    v1::Inspection {
        request_id: inspection.request,
        epoch_seen: inspection.epoch_seen.0,
        tasks: inspection.tasks.iter().map(encode_task).collect(),
        strays: strays.collect(),
        isolated: inspection.isolated,
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn encode_task(task: &InspectedTask) -> v1::InspectedTask {
    let process = |one: &ProcessIdentity| v1::InspectedProcess { pid: one.pid, start_ticks: one.start_ticks };
    v1::InspectedTask {
        task_id: task.task.0,
        state: task.state.into(),
        stopping: task.stopping,
        executor_pid: task.executor.map_or(0, |one| one.pid),
        executor_start_ticks: task.executor.map_or(0, |one| one.start_ticks),
        executor_lives: task.executor_lives,
        processes: task.processes.iter().map(process).collect(),
        processes_total: count(task.processes_total),
        job: task.job.clone(),
    }
}
