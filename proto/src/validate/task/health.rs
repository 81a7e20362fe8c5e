//! Rules for the health check and for the HTTP requests that ask a task to stop.

use super::super::{Errors, text};
use crate::v1::{PortSpec, TaskSpec, health_check::Probe};

const PATH_BYTES: usize = 1_024;

pub(super) fn check(task: &TaskSpec, errors: &mut Errors) {
    let TaskSpec { health, http_lifecycle, ports, .. } = task;
    if let Some(health) = health {
        let path = "task.health";
        match &health.probe {
            None => errors.at(path, "needs a probe: http, tcp, grpc or a shell command"),
            Some(Probe::Http(probe)) => {
                port(&format!("{path}.http.port"), &probe.port, ports, errors);
                http_path(&format!("{path}.http.path"), &probe.path, errors);
            }
            Some(Probe::Tcp(probe)) => port(&format!("{path}.tcp.port"), &probe.port, ports, errors),
            Some(Probe::Grpc(probe)) => port(&format!("{path}.grpc.port"), &probe.port, ports, errors),
            Some(Probe::Shell(shell)) if shell.trim().is_empty() => errors.at(format!("{path}.shell"), "is blank"),
            Some(Probe::Shell(shell)) => text::command(&format!("{path}.shell"), shell, errors),
        }
    }
    let Some(lifecycle) = http_lifecycle else { return };
    let path = "task.http_lifecycle";
    port(&format!("{path}.port"), &lifecycle.port, ports, errors);
    if lifecycle.graceful_path.is_empty() && lifecycle.shutdown_path.is_empty() {
        errors.at(path, "needs a graceful_path, a shutdown_path or both");
    }
    for (name, http, wait_ms) in [
        ("graceful", &lifecycle.graceful_path, lifecycle.graceful_wait_ms),
        ("shutdown", &lifecycle.shutdown_path, lifecycle.shutdown_wait_ms),
    ] {
        if !http.is_empty() {
            http_path(&format!("{path}.{name}_path"), http, errors);
        } else if wait_ms > 0 {
            errors.at(format!("{path}.{name}_wait_ms"), format!("there is no {name}_path to wait for"));
        }
    }
}

fn port(path: &str, name: &str, ports: &[PortSpec], errors: &mut Errors) {
    if ports.iter().any(|port| port.name == name) {
        return;
    }
    let there = text::there_are(ports.iter().map(|port| port.name.as_str()));
    errors.at(path, format!("no port of the task is named {}; {there}", text::shown(name)));
}

fn http_path(path: &str, http: &str, errors: &mut Errors) {
    let visible = http.bytes().all(|b| b.is_ascii_graphic());
    if !http.starts_with('/') || !visible || http.len() > PATH_BYTES {
        let rule = format!("starts with /, has no spaces, at most {PATH_BYTES} bytes");
        errors.at(path, format!("{} is no path of a request: {rule}", text::shown(http)));
    }
}
