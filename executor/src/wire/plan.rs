//! Parses the agent's plan once, into types that can only be valid, with every default filled in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dawn_proto::fields::{health_check, log_policy, task_spec};
use dawn_proto::{JobKey, TaskId, v1, validate};
use prost::Message;

use crate::model::{
    CgroupSetting, Command, Health, Isolation, Lifecycle, LogRules, MemoryFile, Namespaces, Plan, Probe, Process,
    Setting,
};

/// Where programs are looked for unless the task says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A process that ends at once must not be started again in a hot loop.
const DEFAULT_MIN_DURATION_MS: u64 = 1_000;
const DEFAULT_FINALIZATION_WAIT_MS: u64 = task_spec::FINALIZATION_WAIT_MS.default_number().unsigned_abs();
const DEFAULT_HEALTH_INTERVAL_MS: u64 = health_check::INTERVAL_MS.default_number().unsigned_abs();
const DEFAULT_HEALTH_TIMEOUT_MS: u64 = health_check::TIMEOUT_MS.default_number().unsigned_abs();
const DEFAULT_HEALTH_FAILURES: u32 = health_check::MAX_FAILURES.default_number() as u32;
/// The limit of a process on what one file may have.
const MAX_FILE_BYTES: &str = "fsize";
/// The same on its processor time, seconds.
const MAX_CPU: &str = "cpu";
const DEFAULT_LOG_FILE_BYTES: u64 = log_policy::FILE_SIZE_BYTES.default_number().unsigned_abs();
const DEFAULT_LOG_FILES: u32 = log_policy::FILES.default_number() as u32;

/// Why a plan can't be carried out.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("the plan does not decode")]
    Decode(#[source] prost::DecodeError),
    #[error("the plan has no {0}")]
    Missing(&'static str),
    #[error("process {0:?} is there twice")]
    Twice(String),
    #[error("process name {0:?} can't name a file; use 1-63 characters of a-z A-Z 0-9 _ . -")]
    Name(String),
    #[error("process {0}: give exactly one of shell and argv")]
    Command(String),
    #[error("process {process}: after {after:?}, which {why}")]
    After { process: String, after: String, why: &'static str },
    #[error("{whose}: the task has no port {port:?}")]
    Port { whose: &'static str, port: String },
    #[error("the health check has no probe")]
    Probe,
}

/// Parses a plan; its lease is on the boot clock.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse_plan(body: &[u8]) -> Result<(Plan, Setting), PlanError> {
    let wire = v1::ExecutorPlan::decode(body).map_err(PlanError::Decode)?;
    let task = wire.task.as_ref().ok_or(PlanError::Missing("task"))?;
    for (what, missing) in [("sandbox", wire.sandbox.is_empty()), ("meta", wire.meta.is_empty())] {
        if missing {
            return Err(PlanError::Missing(what));
        }
    }
    let ports = ports(&wire);
    let references = references(&wire, &ports);
    let cgroup = wire.cgroup.clone().unwrap_or_default();
    let plan = Plan {
        processes: processes(&task.processes, &references)?,
        grace_period_ms: task.grace_period_ms,
        finalization_wait_ms: or(task.finalization_wait_ms, DEFAULT_FINALIZATION_WAIT_MS),
        max_failed_processes: task.max_failed_processes.max(1),
        max_concurrency: if task.max_concurrency == 0 { usize::MAX } else { task.max_concurrency as usize },
        health: task.health.as_ref().map(|health| self::health(health, &ports, &references)).transpose()?,
        lifecycle: task.http_lifecycle.as_ref().map(|lifecycle| self::lifecycle(lifecycle, &ports)).transpose()?,
        memory_limit_bytes: cgroup.memory_limit_bytes,
        disk_limit_bytes: wire.disk_limit_bytes,
        max_files: or(task.max_files, validate::DEFAULT_MAX_FILES),
        max_file_bytes: max_file_bytes(&wire, task).unwrap_or(0),
        max_cpu_s: rlimit(task, MAX_CPU).unwrap_or(0),
        lease_until_ms: wire.lease_until_boot_ms,
    };
    let setting = setting(&wire, task, &ports, &references, cgroup);
    Ok((plan, setting))
}

/// What one file may have: the disk limit, which holds it exactly where no quota does, unless the spec says less.
fn max_file_bytes(wire: &v1::ExecutorPlan, task: &v1::TaskSpec) -> Option<u64> {
    let asked = rlimit(task, MAX_FILE_BYTES);
    let disk = Some(wire.disk_limit_bytes).filter(|bytes| *bytes > 0);
    asked.into_iter().chain(disk).min()
}

/// A limit of each process, where the spec has one.
fn rlimit(task: &v1::TaskSpec, name: &str) -> Option<u64> {
    let limit = task.isolation.as_ref()?.rlimits.get(name).copied()?;
    Some(limit).filter(|limit| *limit != u64::MAX)
}

fn or(value: u64, default: u64) -> u64 {
    if value == 0 { default } else { value }
}

fn ports(wire: &v1::ExecutorPlan) -> BTreeMap<String, u16> {
    let number = |port: &v1::AssignedPort| Some((port.name.clone(), u16::try_from(port.port).ok()?));
    wire.ports.iter().filter_map(number).collect()
}

fn port(whose: &'static str, name: &str, ports: &BTreeMap<String, u16>) -> Result<u16, PlanError> {
    ports.get(name).copied().ok_or_else(|| PlanError::Port { whose, port: name.to_string() })
}

fn processes(specs: &[v1::ProcessSpec], references: &BTreeMap<String, String>) -> Result<Vec<Process>, PlanError> {
    if specs.is_empty() {
        return Err(PlanError::Missing("process"));
    }
    let mut index = BTreeMap::new();
    for (i, spec) in specs.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if spec.name.is_empty() || spec.name.len() > 63 || spec.name.starts_with('.') || !spec.name.bytes().all(plain) {
            return Err(PlanError::Name(spec.name.clone()));
        }
        if index.insert(spec.name.as_str(), i).is_some() {
            return Err(PlanError::Twice(spec.name.clone()));
        }
    }
    let processes = specs.iter().map(|spec| process(spec, specs, &index, references)).collect::<Result<Vec<_>, _>>()?;
    refuse_cycles(&processes)?;
    Ok(processes)
}

fn process(
    spec: &v1::ProcessSpec,
    specs: &[v1::ProcessSpec],
    index: &BTreeMap<&str, usize>,
    references: &BTreeMap<String, String>,
) -> Result<Process, PlanError> {
    let replace = |text: &String| substitute(text, references);
    let command = match (spec.shell.is_empty(), spec.argv.is_empty()) {
        (false, true) => Command::Shell(replace(&spec.shell)),
        (true, false) => Command::Argv(spec.argv.iter().map(replace).collect()),
        _ => return Err(PlanError::Command(spec.name.clone())),
    };
    let after = |name: &String| {
        let refuse = |why| PlanError::After { process: spec.name.clone(), after: name.clone(), why };
        let i = *index.get(name.as_str()).ok_or_else(|| refuse("the task does not have"))?;
        match specs[i].r#final == spec.r#final {
            true if specs[i].daemon && !specs[i].r#final => Err(refuse("is a daemon and never done")),
            true => Ok(i),
            false => Err(refuse("runs in another stage: final processes come after all others")),
        }
    };
    Ok(Process {
        name: spec.name.clone(),
        command,
        env: spec.env.iter().map(|(key, value)| (key.clone(), replace(value))).collect(),
        after: spec.after.iter().map(after).collect::<Result<_, _>>()?,
        daemon: spec.daemon && !spec.r#final,
        ephemeral: spec.ephemeral,
        is_final: spec.r#final,
        max_failures: spec.max_failures.max(1),
        min_duration_ms: or(spec.min_duration_ms, DEFAULT_MIN_DURATION_MS),
    })
}

/// Takes away what can run until nothing is left; what remains waits for itself.
fn refuse_cycles(processes: &[Process]) -> Result<(), PlanError> {
    let mut done = vec![false; processes.len()];
    loop {
        let ready = |i: &usize| !done[*i] && processes[*i].after.iter().all(|dep| done[*dep]);
        let Some(next) = (0..processes.len()).find(ready) else { break };
        done[next] = true;
    }
    match done.iter().position(|done| !done) {
        None => Ok(()),
        Some(stuck) => Err(PlanError::After {
            process: processes[stuck].name.clone(),
            after: processes[processes[stuck].after[0]].name.clone(),
            why: "waits for it in turn",
        }),
    }
}

fn health(
    wire: &v1::HealthCheck,
    ports: &BTreeMap<String, u16>,
    references: &BTreeMap<String, String>,
) -> Result<Health, PlanError> {
    use v1::health_check::Probe as Wire;
    let probe = match wire.probe.as_ref().ok_or(PlanError::Probe)? {
        Wire::Http(http) => Probe::Http {
            port: port("the health check", &http.port, ports)?,
            path: http.path.clone(),
            expected_status: u16::try_from(http.expected_status).ok().filter(|status| *status != 0),
            expected_body: http.expected_body.clone(),
        },
        Wire::Tcp(tcp) => Probe::Tcp { port: port("the health check", &tcp.port, ports)? },
        Wire::Grpc(grpc) => {
            Probe::Grpc { port: port("the health check", &grpc.port, ports)?, service: grpc.service.clone() }
        }
        Wire::Shell(command) => Probe::Shell(substitute(command, references)),
    };
    Ok(Health {
        probe,
        initial_delay_ms: wire.initial_delay_ms,
        interval_ms: or(wire.interval_ms, DEFAULT_HEALTH_INTERVAL_MS),
        timeout_ms: or(wire.timeout_ms, DEFAULT_HEALTH_TIMEOUT_MS),
        max_failures: if wire.max_failures == 0 { DEFAULT_HEALTH_FAILURES } else { wire.max_failures },
        min_successes: wire.min_successes.max(1),
    })
}

fn lifecycle(wire: &v1::HttpLifecycle, ports: &BTreeMap<String, u16>) -> Result<Lifecycle, PlanError> {
    Ok(Lifecycle {
        port: port("the http lifecycle", &wire.port, ports)?,
        graceful_path: wire.graceful_path.clone(),
        graceful_wait_ms: wire.graceful_wait_ms,
        shutdown_path: wire.shutdown_path.clone(),
        shutdown_wait_ms: wire.shutdown_wait_ms,
    })
}

fn setting(
    wire: &v1::ExecutorPlan,
    task: &v1::TaskSpec,
    ports: &BTreeMap<String, u16>,
    references: &BTreeMap<String, String>,
    cgroup: v1::CgroupPlan,
) -> Setting {
    let mut env = standard_env(wire, task, ports);
    for (key, value) in wire.env.iter().chain(&task.env) {
        env.insert(key.clone(), substitute(value, references));
    }
    let logs = task.logs.unwrap_or_default();
    Setting {
        sandbox: PathBuf::from(&wire.sandbox),
        meta: PathBuf::from(&wire.meta),
        uid: wire.uid,
        gid: wire.gid,
        groups: wire.groups.clone(),
        env,
        cgroup: CgroupSetting {
            join: cgroup.join.into_iter().map(PathBuf::from).collect(),
            kill: Some(cgroup.kill).filter(|dir| !dir.is_empty()).map(PathBuf::from),
            memory: match (cgroup.memory.is_empty(), cgroup.memory_version) {
                (true, _) => None,
                (false, 2) => Some(MemoryFile::V2(cgroup.memory.into())),
                (false, _) => Some(MemoryFile::V1(cgroup.memory.into())),
            },
            cpu_milli: task.resources.as_ref().map_or(0, |resources| resources.cpu_milli),
        },
        isolation: isolation(wire, task, ports),
        logs: LogRules {
            file_size_bytes: or(logs.file_size_bytes, DEFAULT_LOG_FILE_BYTES),
            files: if logs.files == 0 { DEFAULT_LOG_FILES } else { logs.files },
        },
    }
}

/// What would be in vain without namespaces makes them needed.
fn isolation(wire: &v1::ExecutorPlan, task: &v1::TaskSpec, ports: &BTreeMap<String, u16>) -> Isolation {
    let given = task.isolation.clone().unwrap_or_default();
    let is_needed = given.read_only_system || !wire.root_layers.is_empty();
    let max_file = max_file_bytes(wire, task).map(|bytes| (MAX_FILE_BYTES.to_string(), bytes));
    Isolation {
        namespaces: match given.namespaces() {
            _ if is_needed => Namespaces::Required,
            v1::NamespaceUse::Auto => Namespaces::Auto,
            v1::NamespaceUse::None => Namespaces::Off,
            v1::NamespaceUse::Required => Namespaces::Required,
        },
        seccomp: !given.no_seccomp,
        keep_capabilities: given.keep_capabilities,
        read_only_system: given.read_only_system,
        only_ports: given.enforce_ports.then(|| ports.values().copied().collect()),
        devices: given.devices.iter().chain(&wire.device_files).map(PathBuf::from).collect(),
        rlimits: given.rlimits.into_iter().chain(max_file).collect::<BTreeMap<_, _>>().into_iter().collect(),
        root_layers: wire.root_layers.iter().map(PathBuf::from).collect(),
    }
}

fn job(wire: &v1::ExecutorPlan) -> String {
    let key = wire.job.clone().unwrap_or_default();
    JobKey::try_from(&key).map(|key| key.to_string()).unwrap_or_default()
}

/// Variables every process has, before the agent's, the task's and its own.
fn standard_env(
    wire: &v1::ExecutorPlan,
    task: &v1::TaskSpec,
    ports: &BTreeMap<String, u16>,
) -> BTreeMap<String, String> {
    let role = wire.job.as_ref().map(|key| key.role.clone()).unwrap_or_default();
    let user = if task.user.is_empty() { role } else { task.user.clone() };
    let mut env = BTreeMap::from(
        [
            ("PATH", DEFAULT_PATH.to_string()),
            ("HOME", wire.sandbox.clone()),
            ("USER", user.clone()),
            ("LOGNAME", user),
            ("DAWN_JOB", job(wire)),
            ("DAWN_INSTANCE", wire.instance.to_string()),
            ("DAWN_TASK_ID", TaskId(wire.task_id).to_string()),
            ("DAWN_ATTEMPT", wire.attempt.to_string()),
            // Numbers of tasks are given out once, in their order, over restores too: a later life has a greater one.
            ("DAWN_FENCE", wire.task_id.saturating_add(1).to_string()),
            ("DAWN_HOSTNAME", wire.hostname.clone()),
        ]
        .map(|(key, value)| (key.to_string(), value)),
    );
    if wire.run_at_ms != 0 {
        env.insert("DAWN_RUN_AT_MS".to_string(), wire.run_at_ms.to_string());
    }
    if !wire.devices.is_empty() {
        let numbers: Vec<String> = wire.devices.iter().map(u32::to_string).collect();
        env.insert("DAWN_GPUS".to_string(), numbers.join(","));
        env.insert("DAWN_GPU_MILLI".to_string(), task.resources.as_ref().map_or(0, |all| all.gpu_milli).to_string());
    }
    for (name, number) in ports {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        env.insert(format!("DAWN_PORT_{}", name.chars().map(plain).collect::<String>()), number.to_string());
    }
    env
}

fn references(wire: &v1::ExecutorPlan, ports: &BTreeMap<String, u16>) -> BTreeMap<String, String> {
    let mut references = BTreeMap::from([
        ("instance".to_string(), wire.instance.to_string()),
        ("task_id".to_string(), TaskId(wire.task_id).to_string()),
        ("hostname".to_string(), wire.hostname.clone()),
    ]);
    references.extend(ports.iter().map(|(name, number)| (format!("port:{name}"), number.to_string())));
    references
}

/// Replaces `{{instance}}`, `{{task_id}}`, `{{hostname}}` and `{{port:NAME}}`, written exactly so, in one pass: what
/// was put in is not looked at again. Anything else in braces is left as it is.
fn substitute(text: &str, references: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let (before, tail) = rest.split_at(open);
        out.push_str(before);
        let known = tail.find("}}").and_then(|close| Some((references.get(&tail[2..close])?, close + 2)));
        match known {
            Some((value, length)) => {
                out.push_str(value);
                rest = &tail[length..];
            }
            None => {
                out.push('{');
                rest = &tail[1..];
            }
        }
    }
    out.push_str(rest);
    out
}
