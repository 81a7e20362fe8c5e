//! Rules for the health check and for the HTTP requests that ask a task to stop.

use super::super::{Errors, defaults::*, text};
use super::{count, wait};
use crate::v1::{PortSpec, TaskSpec, health_check::Probe};

const PATH_BYTES: usize = 1_024;
const BODY_BYTES: usize = 4_096;
const SERVICE_BYTES: usize = 256;

pub(super) fn check(task: &mut TaskSpec, errors: &mut Errors) {
    let TaskSpec { health, http_lifecycle, ports, .. } = task;
    if let Some(health) = health {
        let path = "task.health";
        match &mut health.probe {
            None => errors.at(path, "needs a probe: http, tcp, grpc or a shell command"),
            Some(Probe::Http(probe)) => {
                if probe.path.is_empty() {
                    probe.path = HEALTH_PATH.to_string();
                }
                port(&format!("{path}.http.port"), &probe.port, ports, errors);
                http_path(&format!("{path}.http.path"), &probe.path, errors);
                if probe.expected_status != 0 {
                    errors.range(&format!("{path}.http.expected_status"), probe.expected_status.into(), 100..=599, "");
                }
                if probe.expected_body.len() > BODY_BYTES {
                    errors.at(format!("{path}.http.expected_body"), format!("longer than {BODY_BYTES} bytes"));
                }
            }
            Some(Probe::Tcp(probe)) => port(&format!("{path}.tcp.port"), &probe.port, ports, errors),
            Some(Probe::Grpc(probe)) => {
                port(&format!("{path}.grpc.port"), &probe.port, ports, errors);
                if probe.service.len() > SERVICE_BYTES {
                    errors.at(format!("{path}.grpc.service"), format!("longer than {SERVICE_BYTES} bytes"));
                }
            }
            Some(Probe::Shell(shell)) if shell.trim().is_empty() => errors.at(format!("{path}.shell"), "is blank"),
            Some(Probe::Shell(shell)) => text::command(&format!("{path}.shell"), shell, errors),
        }
        errors.range("task.health.initial_delay_ms", health.initial_delay_ms, 0..=MAX_WAIT_MS, " ms");
        wait("task.health.interval_ms", &mut health.interval_ms, HEALTH_INTERVAL_MS, errors);
        wait("task.health.timeout_ms", &mut health.timeout_ms, HEALTH_TIMEOUT_MS, errors);
        count("task.health.max_failures", &mut health.max_failures, HEALTH_MAX_FAILURES, errors);
        count("task.health.min_successes", &mut health.min_successes, HEALTH_MIN_SUCCESSES, errors);
    }
    let Some(lifecycle) = http_lifecycle else { return };
    let path = "task.http_lifecycle";
    port(&format!("{path}.port"), &lifecycle.port, ports, errors);
    if lifecycle.graceful_path.is_empty() && lifecycle.shutdown_path.is_empty() {
        errors.at(path, "needs a graceful_path, a shutdown_path or both");
    }
    for (name, http, wait_ms) in [
        ("graceful", &lifecycle.graceful_path, &mut lifecycle.graceful_wait_ms),
        ("shutdown", &lifecycle.shutdown_path, &mut lifecycle.shutdown_wait_ms),
    ] {
        if !http.is_empty() {
            http_path(&format!("{path}.{name}_path"), http, errors);
            wait(&format!("{path}.{name}_wait_ms"), wait_ms, LIFECYCLE_WAIT_MS, errors);
        } else if *wait_ms > 0 {
            errors.at(format!("{path}.{name}_wait_ms"), format!("there is no {name}_path to wait for"));
        }
    }
}

fn port(path: &str, name: &str, ports: &[PortSpec], errors: &mut Errors) {
    if ports.iter().any(|port| port.name == name) {
        return;
    }
    let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).take(20).collect();
    let there =
        if known.is_empty() { "there are none".to_string() } else { format!("there are: {}", known.join(", ")) };
    errors.at(path, format!("no port of the task is named {}; {there}", text::shown(name)));
}

fn http_path(path: &str, http: &str, errors: &mut Errors) {
    let visible = http.bytes().all(|b| b.is_ascii_graphic());
    if !http.starts_with('/') || !visible || http.len() > PATH_BYTES {
        let rule = format!("starts with /, has no spaces, at most {PATH_BYTES} bytes");
        errors.at(path, format!("{} is no path of a request: {rule}", text::shown(http)));
    }
}
