//! What agent and executor leave each other on disk and say over the task's socket.

use dawn_proto::v1::{self, executor_event, executor_request};
use dawn_proto::validate::DEFAULT_MAX_FILES;
use dawn_proto::{Resources, TaskId, Timestamp};
use prost::{DecodeError, Message};

use super::link::encode_task_report;
use crate::model::{
    Artifact, Ended, ExecutorEvent, FurtherLimits, Gpus, GroupPlan, Identity, IoLimits, LaunchRecord, Limits, Port,
    ProcessIdentity, Report, RootFs, TaskDir, TaskPlan,
};

/// The plan of an executor, encoded.
///
/// # Errors
/// When the spec's task does not decode (it did when it came).
pub fn encode_plan(
    record: &LaunchRecord,
    group: &GroupPlan,
    dir: &TaskDir,
    hostname: &str,
    root_layers: &[std::path::PathBuf],
    gpus: &Gpus,
) -> Result<Vec<u8>, DecodeError> {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let launch = &record.launch;
    let cgroup = v1::CgroupPlan {
        join: group.join.iter().map(|path| text(path)).collect(),
        kill: group.kill.as_deref().map(text).unwrap_or_default(),
        memory: group.memory.as_deref().map(text).unwrap_or_default(),
        memory_version: group.memory_version,
        memory_limit_bytes: record.spec.demand.memory_bytes,
    };
    let ports = launch.ports.iter().map(|port| v1::AssignedPort { name: port.name.clone(), port: port.number.into() });
    let mut spec = v1::JobSpec::decode(&record.spec.payload[..])?;
    let task = spec.task.take();
    let plan = v1::ExecutorPlan {
        task_id: launch.task.0,
        job: Some(v1::JobKey::from(&record.spec.job)),
        instance: launch.instance,
        task,
        ports: ports.collect(),
        sandbox: text(&dir.sandbox()),
        meta: text(dir.path()),
        cgroup: Some(cgroup),
        uid: record.identity.uid,
        gid: record.identity.gid,
        groups: record.identity.groups.clone(),
        env: gpus.variables(&launch.gpus, record.spec.demand.gpu_milli),
        hostname: hostname.to_string(),
        attempt: launch.attempt,
        run_at_ms: launch.run_at_ms,
        lease_until_boot_ms: record.lease_until_ms.map(boot_ms),
        root_layers: root_layers.iter().map(|path| text(path)).collect(),
        disk_limit_bytes: record.spec.demand.disk_bytes,
        job_spec: Some(spec),
        spec_id: record.spec.id.0,
        version: record.spec.version,
        devices: launch.gpus.iter().map(|number| u32::from(*number)).collect(),
        device_files: gpus.files_of(&launch.gpus).iter().map(|path| text(path)).collect(),
    };
    Ok(plan.encode_to_vec())
}

/// The limits only those have who ask.
pub fn further(task: &v1::TaskSpec) -> FurtherLimits {
    let Some(isolation) = &task.isolation else { return FurtherLimits::default() };
    let io = isolation.io.unwrap_or_default();
    FurtherLimits {
        swap_bytes: isolation.swap_bytes,
        cpuset: isolation.cpuset.clone(),
        io: IoLimits {
            read_bytes_per_s: io.read_bytes_per_s,
            write_bytes_per_s: io.write_bytes_per_s,
            read_ops_per_s: io.read_ops_per_s,
            write_ops_per_s: io.write_ops_per_s,
            weight: io.weight,
        },
        devices: isolation.devices.clone(),
        gpus: Vec::new(),
    }
}

/// The root file system a task brings.
pub fn root(task: &v1::TaskSpec) -> Option<RootFs> {
    use v1::root_fs::Source;
    let root = task.root_fs.as_ref()?;
    Some(match root.source.as_ref()? {
        Source::Directory(path) => RootFs::Directory(path.into()),
        Source::Tarball(path) => RootFs::Tarball(path.into()),
        Source::OciLayout(path) => RootFs::OciLayout { path: path.into(), tag: root.tag.clone() },
    })
}

/// What a later life of the agent, and readers of logs, need of a plan.
#[derive(Clone, Debug)]
pub struct KeptPlan {
    pub record: TaskPlan,
    /// Names of its processes, in the spec's order.
    pub processes: Vec<String>,
    pub root: Option<RootFs>,
    /// Most files that it may have.
    pub max_files: u64,
    /// "role/env/name" and the instance.
    pub job: String,
    pub instance: u32,
}

/// Reads a plan back. `default_pids` as when it was made.
///
/// # Errors
/// When it is no plan.
pub fn decode_plan(bytes: &[u8], default_pids: u32) -> Result<KeptPlan, DecodeError> {
    let plan = v1::ExecutorPlan::decode(bytes)?;
    let task = plan.task.unwrap_or_default();
    let demand = task.resources.as_ref().map(Resources::from).unwrap_or_default();
    let max_pids = if task.max_pids == 0 { default_pids } else { task.max_pids };
    let (cpu_milli, memory_bytes) = (demand.cpu_milli, demand.memory_bytes);
    let gpus = plan.devices.iter().filter_map(|number| u16::try_from(*number).ok()).collect();
    let limits = Limits { cpu_milli, memory_bytes, max_pids, further: FurtherLimits { gpus, ..further(&task) } };
    let lifecycle = task.http_lifecycle.as_ref();
    let endpoints_ms = lifecycle.map_or(0, |one| one.graceful_wait_ms.saturating_add(one.shutdown_wait_ms));
    let port = |port: v1::AssignedPort| Some(Port { number: u16::try_from(port.port).ok()?, name: port.name });
    let (key, root) = (plan.job.unwrap_or_default(), root(&task));
    let job = format!("{}/{}/{}", key.role, key.env, key.name);
    let record = TaskPlan {
        job: job.clone(),
        demand,
        ports: plan.ports.into_iter().filter_map(port).collect(),
        limits,
        identity: Identity { uid: plan.uid, gid: plan.gid, groups: plan.groups },
        grace_period_ms: task.grace_period_ms,
        ladder_ms: endpoints_ms.saturating_add(task.finalization_wait_ms),
        at_most_one: plan.lease_until_boot_ms.is_some(),
        artifacts: task.artifacts.iter().map(decode_artifact).collect(),
    };
    Ok(KeptPlan {
        record,
        root,
        max_files: if task.max_files == 0 { DEFAULT_MAX_FILES } else { task.max_files },
        processes: task.processes.into_iter().map(|process| process.name).collect(),
        job,
        instance: plan.instance,
    })
}

pub(super) fn decode_artifact(artifact: &v1::Artifact) -> Artifact {
    Artifact {
        uri: artifact.uri.clone(),
        sha256: artifact.sha256.clone(),
        destination: artifact.destination.clone(),
        extract: artifact.extract,
        mode: artifact.mode,
    }
}

/// What a task is, from its plan; of a plan that can't be read, or is an older agent's, without a spec.
pub(super) fn encode_description(report: Report, plan: &[u8]) -> v1::TaskDescription {
    let plan = v1::ExecutorPlan::decode(plan).unwrap_or_default();
    let task = plan.task;
    v1::TaskDescription {
        report: Some(encode_task_report(report)),
        spec_id: plan.spec_id,
        version: plan.version,
        spec: plan.job_spec.map(|spec| v1::JobSpec { task, ..spec }),
        instance: plan.instance,
        attempt: plan.attempt,
        run_at_ms: plan.run_at_ms,
        ports: plan.ports,
        devices: plan.devices,
    }
}

/// Reads one event of a task's log.
///
/// # Errors
/// When it is none.
pub fn decode_event(bytes: &[u8]) -> Result<ExecutorEvent, DecodeError> {
    use executor_event::Event as E;
    let event = v1::ExecutorEvent::decode(bytes)?;
    let sequence = event.sequence;
    Ok(match event.event {
        Some(E::ProcessStarted(started)) => ExecutorEvent::ProcessStarted {
            sequence,
            name: started.name,
            identity: ProcessIdentity { pid: started.pid, start_ticks: started.start_ticks },
        },
        Some(E::ProcessExited(exited)) => ExecutorEvent::ProcessExited { sequence, name: exited.name },
        Some(E::KillBegun(begun)) => ExecutorEvent::KillBegun { sequence, reason: begun.reason() },
        Some(E::TaskChanged(changed)) => ExecutorEvent::Changed {
            sequence,
            at: Timestamp(event.at_ms),
            state: changed.state(),
            reason: changed.reason(),
            ended: Ended::told(changed.exit_code, changed.signal, changed.last_words),
            message: changed.message,
        },
        Some(E::Started(started)) => ExecutorEvent::Started {
            sequence,
            identity: ProcessIdentity { pid: started.pid, start_ticks: started.start_ticks },
        },
        Some(E::StageEntered(_)) | None => ExecutorEvent::Other { sequence },
    })
}

/// The agent's verdict as it is kept on disk.
pub fn encode_report(report: &Report) -> Vec<u8> {
    encode_task_report(report.clone()).encode_to_vec()
}

/// Reads a verdict back.
///
/// # Errors
/// When it is none.
pub fn decode_report(bytes: &[u8]) -> Result<Report, DecodeError> {
    let wire = v1::TaskReport::decode(bytes)?;
    let (state, reason) = (wire.state(), wire.reason());
    let mut report =
        Report::new(TaskId(wire.task_id), wire.sequence, state, Timestamp(wire.at_ms), reason, &wire.message);
    report.ended = Ended::told(wire.exit_code, wire.signal, wire.last_words);
    Ok(report)
}

/// Asks for every event from `sequence` on.
pub fn encode_subscribe(sequence: u64) -> Vec<u8> {
    encode_request(executor_request::Request::SubscribeFrom(sequence))
}

/// Asks for the end of the task.
pub fn encode_kill(reason: v1::Reason, grace_period_ms: Option<u64>) -> Vec<u8> {
    let kill = v1::ExecutorKill { reason: reason.into(), grace_period_ms };
    encode_request(executor_request::Request::Kill(kill))
}

/// The task may live until `until_ms` of the boot clock.
pub fn encode_renewal(until_ms: u64) -> Vec<u8> {
    encode_request(executor_request::Request::Renew(v1::LeaseRenewal { until_boot_ms: boot_ms(until_ms) }))
}

/// Have a look at what the task takes on disk, one of so many.
pub fn encode_look_at_disk(tasks: u32) -> Vec<u8> {
    encode_request(executor_request::Request::LookAtDisk(v1::LookAtDisk { tasks }))
}

fn boot_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn encode_request(request: executor_request::Request) -> Vec<u8> {
    v1::ExecutorRequest { request: Some(request) }.encode_to_vec()
}
