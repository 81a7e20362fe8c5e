//! The task: processes, their order, resources and logs. Not here: ports and health checks.

use dawn_proto::v1;

use super::fields::Fields;
use super::ports::Ports;
use super::{Found, health};

/// What stands for "any number" of failures, which is 0 in Aurora.
const ANY_NUMBER: u32 = 1_000_000;

pub fn task(job: &Fields, ports: &Ports, found: &mut Found) -> v1::TaskSpec {
    let task = job.inner("task");
    let mut processes: Vec<v1::ProcessSpec> =
        task.items("processes").iter().map(|process| self::process(process, ports, found)).collect();
    for constraint in task.items("constraints") {
        for pair in constraint.texts("order").windows(2) {
            let later = processes.iter_mut().find(|process| process.name == pair[1]);
            if let Some(process) = later.filter(|process| !process.after.iter().any(|name| name == pair[0])) {
                process.after.push(pair[0].to_string());
            }
        }
    }
    v1::TaskSpec {
        processes,
        resources: Some(resources(&task, found)),
        ports: ports.specs(),
        user: task.text("user").into(),
        logs: logs(&task, found),
        health: health::check(job, ports, found),
        http_lifecycle: health::lifecycle(job, ports, found),
        max_failed_processes: failures(&task, "max_failures", found),
        max_concurrency: found.unsigned(&task, "max_concurrency"),
        finalization_wait_ms: found.seconds(&task, "finalization_wait"),
        ..v1::TaskSpec::default()
    }
}

fn process(process: &Fields, ports: &Ports, found: &mut Found) -> v1::ProcessSpec {
    if process.has("resources") {
        found.warn(process.path_of("resources"), "resources are the task's; a process has none of its own");
    }
    v1::ProcessSpec {
        name: process.text("name").into(),
        shell: ports.translate(process.text("cmdline")),
        daemon: process.boolean("daemon"),
        ephemeral: process.boolean("ephemeral"),
        r#final: process.boolean("final"),
        max_failures: failures(process, "max_failures", found),
        min_duration_ms: found.seconds(process, "min_duration"),
        ..v1::ProcessSpec::default()
    }
}

fn failures(fields: &Fields, field: &str, found: &mut Found) -> u32 {
    match found.unsigned(fields, field) {
        0 => ANY_NUMBER,
        number => number,
    }
}

fn resources(task: &Fields, found: &mut Found) -> v1::Resources {
    let given = task.inner("resources");
    if !given.is_set() {
        found.refuse(task.path_of("resources"), "is required in Task: `Resources(cpu = …, ram = …, disk = …)`");
        return v1::Resources::default();
    }
    let cpu = given.float("cpu");
    if !(0.0..1e9).contains(&cpu) {
        found.refuse(given.path_of("cpu"), format!("{cpu} is out of range"));
    }
    v1::Resources {
        cpu_milli: (cpu * 1000.0).round() as u64,
        memory_bytes: found.unsigned(&given, "ram"),
        disk_bytes: found.unsigned(&given, "disk"),
        gpu_milli: found.unsigned::<u64>(&given, "gpu").saturating_mul(1000),
        ..v1::Resources::default()
    }
}

/// Aurora's loggers belong to processes, Dawn's to the task: one that all processes share is kept.
fn logs(task: &Fields, found: &mut Found) -> Option<v1::LogPolicy> {
    let processes = task.items("processes");
    let loggers: Vec<Fields> = processes.iter().map(|process| process.inner("logger")).collect();
    let rotations: Vec<Fields> = loggers.iter().map(|logger| logger.inner("rotate")).collect();
    for logger in loggers.iter().filter(|logger| logger.is_set() && logger.text("destination") != "file") {
        let message = format!("'{}': Dawn writes logs to files, always", logger.text("destination"));
        found.warn(logger.path_of("destination"), message);
    }
    let first = rotations.iter().find(|rotate| rotate.is_set())?;
    let same =
        |other: &Fields| ["log_size", "backups"].iter().all(|field| other.integer(field) == first.integer(field));
    if !rotations.iter().all(same) {
        found
            .warn(first.path.clone(), "logs are rotated alike for all processes of a task; this one's policy is taken");
    }
    // Aurora counts the rotated files, Dawn the current one too.
    let backups: u32 = found.unsigned(first, "backups");
    Some(v1::LogPolicy { file_size_bytes: found.unsigned(first, "log_size"), files: backups.saturating_add(1) })
}
