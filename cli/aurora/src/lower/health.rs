//! Health checks and the HTTP end of a task. Both ask a port; without that port there is neither, as in Aurora.
//! Not here: finding the ports.

use dawn_proto::v1;
use dawn_proto::v1::health_check::Probe;

use super::Found;
use super::fields::Fields;
use super::ports::Ports;

/// The port that Aurora's HTTP health checks ask.
const HEALTH_PORT: &str = "health";

pub fn check(job: &Fields, ports: &Ports, found: &mut Found) -> Option<v1::HealthCheck> {
    let config = job.inner("health_check_config");
    let checker = config.inner("health_checker");
    let (shell, tcp, http) = (checker.inner("shell"), checker.inner("tcp"), checker.inner("http"));
    let probe = if shell.is_set() {
        Probe::Shell(ports.translate(shell.text("shell_command")))
    } else if tcp.is_set() {
        let Some(port) = ports.known(tcp.text("port")) else {
            let message = format!("no process refers to the port '{}'", tcp.text("port"));
            found.refuse(tcp.path_of("port"), message);
            return None;
        };
        Probe::Tcp(v1::TcpProbe { port: port.into() })
    } else {
        Probe::Http(v1::HttpProbe {
            port: ports.known(HEALTH_PORT)?.into(),
            path: http.text("endpoint").into(),
            expected_status: found.unsigned(&http, "expected_response_code"),
            expected_body: http.text("expected_response").into(),
        })
    };
    // Aurora gives up when the failures exceed its number, Dawn when they reach it.
    let tolerated: u32 = found.unsigned(&config, "max_consecutive_failures");
    Some(v1::HealthCheck {
        probe: Some(probe),
        initial_delay_ms: found.seconds(&config, "initial_interval_secs"),
        interval_ms: found.seconds(&config, "interval_secs"),
        timeout_ms: found.seconds(&config, "timeout_secs"),
        max_failures: tolerated.saturating_add(1),
        min_successes: found.unsigned(&config, "min_consecutive_successes"),
    })
}

pub fn lifecycle(job: &Fields, ports: &Ports, found: &mut Found) -> Option<v1::HttpLifecycle> {
    let http = job.inner("lifecycle").inner("http");
    if !http.is_set() {
        return None;
    }
    Some(v1::HttpLifecycle {
        port: ports.known(http.text("port"))?.into(),
        graceful_path: http.text("graceful_shutdown_endpoint").into(),
        graceful_wait_ms: found.seconds(&http, "graceful_shutdown_wait_secs"),
        shutdown_path: http.text("shutdown_endpoint").into(),
        shutdown_wait_ms: found.seconds(&http, "shutdown_wait_secs"),
    })
}
