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
use crate::Dimension;
use crate::v1::{JobKind, PortSpec, ProcessSpec, Resources, TaskSpec};

pub(super) fn check(task: &mut TaskSpec, kind: Option<JobKind>, errors: &mut Errors) {
    if errors.refuses("task.processes") {
        return;
    }
    for (i, process) in task.processes.iter().enumerate() {
        one_process(&format!("task.processes[{i}]"), process, errors);
    }
    graph::check(&task.processes, kind, errors);
    task.resources.iter().for_each(|amounts| resources(amounts, errors));
    ports(&task.ports, errors);
    text::env("task.env", &task.env, errors);
    user(&task.user, errors);
    health::check(task, errors);
    isolation::check(task, errors);
    artifacts::check(&mut task.artifacts, errors);
}

fn one_process(path: &str, process: &ProcessSpec, errors: &mut Errors) {
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
}

fn arguments(path: &str, argv: &[String], errors: &mut Errors) {
    if errors.refuses(path) {
        return;
    }
    if argv[0].trim().is_empty() {
        errors.at(format!("{path}[0]"), "the program's name is blank");
    }
    for (i, argument) in argv.iter().enumerate() {
        text::command(&format!("{path}[{i}]"), argument, errors);
    }
}

fn resources(amounts: &Resources, errors: &mut Errors) {
    let (path, gpu) = ("task.resources.gpu_milli", amounts.gpu_milli);
    if gpu > 1000 && !gpu.is_multiple_of(1000) && !errors.refuses(path) {
        let message = format!("{} gpus: ask for whole ones, or for a share below 1 of one", gpu as f64 / 1000.0);
        errors.at(path, message);
    }
    custom(amounts, errors);
}

fn custom(amounts: &Resources, errors: &mut Errors) {
    let path = "task.resources.custom_milli";
    if errors.refuses(path) {
        return;
    }
    for (name, amount) in &amounts.custom_milli {
        if Dimension::named(name).is_some() || name == "ports" {
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
    if errors.refuses("task.ports") {
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
        if let Some(first) = numbers.insert(port.fixed, &port.name) {
            errors.at(format!("{path}.fixed"), format!("{} is the number of port `{first}` already", port.fixed));
        }
    }
}

fn user(user: &str, errors: &mut Errors) {
    let valid = user.len() <= 63
        && !user.starts_with('-')
        && user.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !valid {
        let rule = "1-63 characters of a-z A-Z 0-9 _ . -, the first no -";
        errors.at("task.user", format!("{} is no name of a unix user: {rule}", text::shown(user)));
    }
}
