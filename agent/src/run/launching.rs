//! Steps of a launch that touch the disk: the plan, the sandbox, the root file system, the cgroup. Small ones take their
//! turns among all launches; files that a job names are read beside these.

use std::sync::Arc;

use dawn_proto::TaskId;

use super::DEFAULT_MAX_PIDS;
use super::hands::{Shared, blocking};
use super::refusals;
use crate::edges::sandbox;
use crate::model::{Identity, LaunchRecord, Limits, MachineEvent, Refusal, RootFs};
use crate::wire;

/// Makes a launch durable. None: it broke down.
pub(super) async fn checkpoint(shared: Arc<Shared>, record: Box<LaunchRecord>) -> Option<MachineEvent> {
    let task = record.launch.task;
    let resolved = match record.spec.root.clone() {
        None => Ok(Vec::new()),
        Some(root) => {
            let worker = shared.clone();
            shared.imaging.work(record.spec.job.role(), move || worker.images.resolve(&root)).await?
        }
    };
    let layers: Vec<_> = match resolved {
        Ok(layers) => layers.into_iter().map(|layer| layer.path).collect(),
        Err(error) => return Some(MachineEvent::Checkpointed { task, result: Err(refusals::no_root(&error)) }),
    };
    let result = step(&shared, move |shared| {
        let group = shared.tree.as_ref().map(|tree| tree.plan(task, &record.limits(DEFAULT_MAX_PIDS)));
        let (dir, group) = (shared.tasks.dir(task), group.unwrap_or_default());
        match wire::encode_plan(&record, &group, &dir, &shared.config.hostname, &layers, &shared.gpus) {
            Ok(plan) => shared.tasks.write_plan(task, &plan).map_err(|error| refusals::not_written(&error)),
            Err(error) => Err(Refusal::Plan { message: format!("the spec can't be read: {error}") }),
        }
    });
    Some(MachineEvent::Checkpointed { task, result: result.await? })
}

/// Makes what a task needs before it starts. None: it broke down.
pub(super) async fn prepare(
    shared: Arc<Shared>,
    task: TaskId,
    limits: Limits,
    identity: Identity,
) -> Option<MachineEvent> {
    let result = made(&shared, task, limits, identity).await?;
    Some(MachineEvent::Prepared { task, result })
}

async fn made(shared: &Arc<Shared>, task: TaskId, limits: Limits, identity: Identity) -> Option<Result<(), Refusal>> {
    let own = limits.clone();
    let first = step(shared, move |shared| {
        let root = sandbox(shared, task, &identity)?;
        if root.is_none() {
            groups(shared, task, &own)?;
        }
        Ok(root)
    });
    let (role, root) = match first.await? {
        Ok(Some(root)) => root,
        Ok(None) => return Some(Ok(())),
        Err(refusal) => return Some(Err(refusal)),
    };
    let worker = shared.clone();
    let provide = move || worker.images.resolve(&root).and_then(|layers| worker.images.provide(task, &layers));
    if let Err(error) = shared.imaging.work(&role, provide).await? {
        return Some(Err(refusals::no_root(&error)));
    }
    step(shared, move |shared| groups(shared, task, &limits)).await
}

/// One of the steps that take their turns among all launches.
async fn step<T: Send + 'static>(shared: &Arc<Shared>, deed: impl FnOnce(&Shared) -> T + Send + 'static) -> Option<T> {
    // Closed never.
    let _permit = shared.launching.acquire().await.ok()?;
    let worker = shared.clone();
    blocking(move || deed(&worker)).await
}

/// The role and the root file system of a task that has one of its own.
fn sandbox(shared: &Shared, task: TaskId, identity: &Identity) -> Result<Option<(String, RootFs)>, Refusal> {
    let dir = shared.tasks.dir(task);
    sandbox::make(&dir, identity).map_err(|error| refusals::no_sandbox(&error))?;
    let Some(plan) = shared.tasks.kept(task, DEFAULT_MAX_PIDS) else { return Ok(None) };
    if shared.has_quotas {
        let limited = sandbox::limit(&dir, plan.record.demand.disk_bytes, plan.max_files);
        limited.map_err(|error| refusals::no_sandbox(&error))?;
    }
    let role = plan.job.split('/').next().unwrap_or_default().to_string();
    Ok(plan.root.map(|root| (role, root)))
}

fn groups(shared: &Shared, task: TaskId, limits: &Limits) -> Result<(), Refusal> {
    match &shared.tree {
        Some(tree) => tree.make(task, limits).map_err(|error| refusals::no_groups(&error)),
        None => Ok(()),
    }
}
