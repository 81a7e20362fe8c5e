//! Rules for one task: its processes and their order, resources, ports, health check and end.

mod artifacts;
mod graph;
mod health;
mod isolation;
mod references;

use std::collections::BTreeMap;

pub(super) use references::check as references;
pub use references::unreplaced_references;

use super::{Errors, defaults::*, text};
use crate::v1::{JobKind, LogPolicy, PortSpec, ProcessSpec, Resources, TaskSpec};

pub(super) fn check(task: &mut TaskSpec, kind: Option<JobKind>, role: &str, errors: &mut Errors) {
    if task.processes.len() > MAX_PROCESSES {
        let message = format!("{} processes; at most {MAX_PROCESSES} are allowed", task.processes.len());
        errors.at("task.processes", message);
        return;
    }
    for (i, process) in task.processes.iter_mut().enumerate() {
        one_process(&format!("task.processes[{i}]"), process, errors);
    }
    graph::check(&task.processes, kind, errors);
    resources(task.resources.get_or_insert_default(), errors);
    ports(&task.ports, errors);
    text::env("task.env", &task.env, errors);
    user(task, role, errors);
    wait("task.grace_period_ms", &mut task.grace_period_ms, GRACE_PERIOD_MS, errors);
    logs(task.logs.get_or_insert_default(), errors);
    errors.range("task.max_pids", task.max_pids.into(), 0..=MAX_PIDS.into(), "");
    errors.range("task.max_files", task.max_files, 0..=MAX_FILES, "");
    health::check(task, errors);
    isolation::check(task, errors);
    artifacts::check(&mut task.artifacts, errors);
    count("task.max_failed_processes", &mut task.max_failed_processes, MAX_FAILED_PROCESSES, errors);
    errors.range("task.max_concurrency", task.max_concurrency.into(), 0..=MAX_PROCESSES as u64, "");
    wait("task.finalization_wait_ms", &mut task.finalization_wait_ms, FINALIZATION_WAIT_MS, errors);
}

/// A wait that has a default; at most a day.
fn wait(path: &str, value_ms: &mut u64, default_ms: u64, errors: &mut Errors) {
    if *value_ms == 0 {
        *value_ms = default_ms;
    }
    errors.range(path, *value_ms, 1..=MAX_WAIT_MS, " ms");
}

/// A count that has a default.
fn count(path: &str, value: &mut u32, default: u32, errors: &mut Errors) {
    if *value == 0 {
        *value = default;
    }
    errors.range(path, (*value).into(), 1..=1_000_000, "");
}

fn one_process(path: &str, process: &mut ProcessSpec, errors: &mut Errors) {
    text::name(&format!("{path}.name"), "a process", &process.name, errors);
    match (process.shell.is_empty(), process.argv.is_empty()) {
        (true, true) => errors.at(path, "needs a command: either a shell text or a list of arguments"),
        (false, false) => errors.at(path, "has both a shell text and a list of arguments; give one of them"),
        (false, true) if process.shell.trim().is_empty() => errors.at(format!("{path}.shell"), "is blank"),
        (false, true) => text::command(&format!("{path}.shell"), &process.shell, errors),
        (true, false) => arguments(&format!("{path}.argv"), &process.argv, errors),
    }
    text::env(&format!("{path}.env"), &process.env, errors);
    if process.r#final && (process.daemon || process.ephemeral) {
        errors.at(path, "a final process is neither daemon nor ephemeral");
    }
    count(&format!("{path}.max_failures"), &mut process.max_failures, PROCESS_MAX_FAILURES, errors);
    wait(&format!("{path}.min_duration_ms"), &mut process.min_duration_ms, PROCESS_MIN_DURATION_MS, errors);
}

fn arguments(path: &str, argv: &[String], errors: &mut Errors) {
    if argv.len() > MAX_ARGS {
        errors.at(path, format!("{} arguments; at most {MAX_ARGS} are allowed", argv.len()));
        return;
    }
    if argv[0].trim().is_empty() {
        errors.at(format!("{path}[0]"), "the program's name is blank");
    }
    for (i, argument) in argv.iter().enumerate() {
        text::command(&format!("{path}[{i}]"), argument, errors);
    }
}

fn resources(amounts: &mut Resources, errors: &mut Errors) {
    for (amount, default) in [
        (&mut amounts.cpu_milli, CPU_MILLI),
        (&mut amounts.memory_bytes, MEMORY_BYTES),
        (&mut amounts.disk_bytes, DISK_BYTES),
    ] {
        if *amount == 0 {
            *amount = default;
        }
    }
    let path = "task.resources";
    if amounts.cpu_milli > MAX_CPU_MILLI {
        let message = format!("{} cpus; at most {} are allowed", amounts.cpu_milli / 1000, MAX_CPU_MILLI / 1000);
        errors.at(format!("{path}.cpu_milli"), message);
    }
    for (name, bytes) in [("memory_bytes", amounts.memory_bytes), ("disk_bytes", amounts.disk_bytes)] {
        if bytes < MIN_BYTES {
            errors.at(
                format!("{path}.{name}"),
                format!("{bytes} bytes is below 1 MiB; is a unit missing, as in 128MiB?"),
            );
        } else if bytes > MAX_BYTES {
            errors.at(format!("{path}.{name}"), format!("{bytes} bytes is above 1 PiB"));
        }
    }
    let gpu = amounts.gpu_milli;
    if gpu > MAX_GPU_MILLI {
        errors.at(format!("{path}.gpu_milli"), format!("{} gpus; at most {}", gpu / 1000, MAX_GPU_MILLI / 1000));
    } else if gpu > 1000 && !gpu.is_multiple_of(1000) {
        let message = format!("{} gpus: ask for whole ones, or for a share below 1 of one", gpu as f64 / 1000.0);
        errors.at(format!("{path}.gpu_milli"), message);
    }
    custom(amounts, errors);
}

fn custom(amounts: &mut Resources, errors: &mut Errors) {
    let path = "task.resources.custom_milli";
    amounts.custom_milli.retain(|_, amount| *amount > 0);
    if amounts.custom_milli.len() > MAX_CUSTOM {
        errors.at(path, format!("{} custom resources; at most {MAX_CUSTOM}", amounts.custom_milli.len()));
        return;
    }
    for (name, amount) in &amounts.custom_milli {
        if matches!(name.as_str(), "cpu" | "memory" | "disk" | "gpu" | "ports") {
            errors.at(format!("{path}.{name}"), "is no custom resource: it has a field of its own");
        } else if text::name(path, "a custom resource", name, errors) && *amount > MAX_CUSTOM_MILLI {
            errors.at(format!("{path}.{name}"), format!("{} is absurdly much", amount / 1000));
        }
    }
}

/// The name as it stands in `DAWN_PORT_…`.
fn port_variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn ports(ports: &[PortSpec], errors: &mut Errors) {
    if ports.len() > MAX_PORTS {
        errors.at("task.ports", format!("{} ports; at most {MAX_PORTS} are allowed", ports.len()));
        return;
    }
    let mut variables = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for (i, port) in ports.iter().enumerate() {
        let path = format!("task.ports[{i}]");
        if !text::name(&format!("{path}.name"), "a port", &port.name, errors) {
            continue;
        }
        match variables.insert(port_variable(&port.name), &port.name) {
            Some(first) if *first == port.name => {
                errors.at(format!("{path}.name"), format!("`{first}` is there twice; names of ports are unique"));
            }
            Some(first) => {
                let variable = port_variable(first);
                let message = format!("`{}` and `{first}` would both be DAWN_PORT_{variable}; rename one", port.name);
                errors.at(format!("{path}.name"), message);
            }
            None => {}
        }
        if port.fixed == 0 {
            continue;
        }
        errors.range(&format!("{path}.fixed"), port.fixed.into(), 1..=65535, "");
        if let Some(first) = numbers.insert(port.fixed, &port.name) {
            errors.at(format!("{path}.fixed"), format!("{} is the number of port `{first}` already", port.fixed));
        }
    }
}

fn user(task: &mut TaskSpec, role: &str, errors: &mut Errors) {
    if task.user.is_empty() {
        task.user = role.to_string();
    }
    let valid = task.user.len() <= 63
        && !task.user.starts_with('-')
        && task.user.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !valid {
        let rule = "1-63 characters of a-z A-Z 0-9 _ . -, the first no -";
        errors.at("task.user", format!("{} is no name of a unix user: {rule}", text::shown(&task.user)));
    }
}

fn logs(logs: &mut LogPolicy, errors: &mut Errors) {
    if logs.file_size_bytes == 0 {
        logs.file_size_bytes = LOG_FILE_SIZE_BYTES;
    }
    if logs.files == 0 {
        logs.files = LOG_FILES;
    }
    let range = MIN_LOG_FILE_SIZE_BYTES..=MAX_BYTES;
    errors.range("task.logs.file_size_bytes", logs.file_size_bytes, range, " bytes");
    errors.range("task.logs.files", logs.files.into(), 1..=MAX_LOG_FILES.into(), "");
}
