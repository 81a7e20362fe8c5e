//! What a job file's fields are and what of the spec each is: the job, its processes, resources and ports.

use dawn_proto::JobKey;
use dawn_proto::v1;

use super::decode::{Fields, Place, Reader, whole};
use super::node::{Node, Value};
use super::{artifacts, changing, following, isolating, placing, repeating, units};

pub const JOB: &[&str] = &[
    "job",
    "kind",
    "instances",
    "tier",
    "priority",
    "user",
    "resources",
    "ports",
    "env",
    "labels",
    "constraints",
    "affinities",
    "spread",
    "dedicated",
    "run",
    "processes",
    "restart",
    "cron",
    "partition",
    "grace_period",
    "finalization_wait",
    "artifacts",
    "health",
    "lifecycle",
    "logs",
    "max_pids",
    "max_files",
    "max_failed_processes",
    "max_concurrency",
    "max_run_time",
    "disruption_budget",
    "at_most_one",
    "isolation",
    "root_fs",
    "after",
    "max_running",
    "gang",
    "deadline",
    "parameters",
    "update",
    "sla",
    "announce",
];
pub const PROCESS: &[&str] =
    &["name", "run", "after", "env", "daemon", "ephemeral", "final", "max_failures", "min_duration"];
pub const RESOURCES: &[&str] = &["cpu", "memory", "disk", "gpu", "custom"];
pub const PORT: &[&str] = &["name", "fixed"];
pub const ANNOUNCE: &[&str] = &["primary_port", "aliases"];
pub const ARTIFACT: &[&str] = &["uri", "sha256", "destination", "extract", "mode"];
pub const LOGS: &[&str] = &["file_size", "files"];
pub const HEALTH: &[&str] =
    &["http", "tcp", "grpc", "shell", "initial_delay", "interval", "timeout", "max_failures", "min_successes"];
pub const HTTP: &[&str] = &["port", "path", "status", "body"];
pub const TCP: &[&str] = &["port"];
pub const GRPC: &[&str] = &["port", "service"];
pub const LIFECYCLE: &[&str] = &["port", "graceful_path", "graceful_wait", "shutdown_path", "shutdown_wait"];

pub const KINDS: [(&str, v1::JobKind); 4] = [
    ("service", v1::JobKind::Service),
    ("batch", v1::JobKind::Batch),
    ("cron", v1::JobKind::Cron),
    ("daemon", v1::JobKind::Daemon),
];
pub const TIERS: [(&str, v1::Tier); 3] =
    [("production", v1::Tier::Production), ("batch", v1::Tier::Batch), ("revocable", v1::Tier::Revocable)];

/// Reads one job; what is wrong is in the reader afterwards. `path` is what to call it in messages.
pub fn read(r: &mut Reader, node: &Node, path: &str) -> Option<v1::JobSpec> {
    let f = r.fields(node, Place { file: path.to_string(), spec: String::new() }, JOB)?;
    r.remember(&Place { file: path.to_string(), spec: "task".to_string() }, node.at);
    let key = f.parsed(r, ("job", "key"), |text| text.parse::<JobKey>().map_err(|_| BAD_KEY.to_string()));
    if key.is_none() && !f.has("job") {
        let place = Place { file: path.to_string(), ..Place::default() }.field("job", "key");
        r.wrong(node.at, &place.file, "is missing; a job needs its key: role/env/name");
    }
    let kind = f.choice(r, "kind", &KINDS);
    Some(v1::JobSpec {
        key: key.as_ref().map(v1::JobKey::from),
        kind: kind.map_or(0, Into::into),
        instances: f.parsed(r, ("instances", "instances"), whole).unwrap_or(1),
        task: Some(task(r, &f)),
        tier: f.choice(r, "tier", &TIERS).map_or(0, Into::into),
        priority: f.parsed(r, ("priority", "priority"), whole).unwrap_or(0),
        constraints: placing::constraints(r, &f),
        affinities: placing::affinities(r, &f),
        spreads: placing::spreads(r, &f),
        restart: repeating::restart(r, &f),
        cron: repeating::cron(r, &f),
        labels: f.table(r, "labels", "labels"),
        partition: repeating::partition(r, &f),
        max_run_time_ms: f.parsed(r, ("max_run_time", "max_run_time_ms"), units::duration).unwrap_or(0),
        disruption_budget: f.parsed(r, ("disruption_budget", "disruption_budget"), whole).unwrap_or(0),
        dedicated: f.text(r, "dedicated", "dedicated").unwrap_or_default(),
        at_most_one: f.flag(r, "at_most_one", "at_most_one"),
        dependencies: following::dependencies(r, &f),
        max_running: f.above_zero(r, ("max_running", "max_running"), whole),
        gang: f.flag(r, "gang", "gang"),
        deadline_ms: f.above_zero(r, ("deadline", "deadline_ms"), units::duration),
        parameters: following::parameters(r, &f),
        update: changing::update(r, &f),
        sla: changing::sla(r, &f),
        announce: f.fields(r, "announce", "announce", ANNOUNCE).map(|f| v1::Announce {
            primary_port: f.text(r, "primary_port", "primary_port").unwrap_or_default(),
            aliases: f.table(r, "aliases", "aliases"),
        }),
    })
}

pub(super) const BAD_KEY: &str = "is no job key; write role/env/name, each 1-63 characters of a-z A-Z 0-9 _ . -";

fn task(r: &mut Reader, f: &Fields) -> v1::TaskSpec {
    v1::TaskSpec {
        processes: processes(r, f),
        resources: f.fields(r, "resources", "task.resources", RESOURCES).map(|f| resources(r, &f)),
        ports: ports(r, f),
        env: f.table(r, "env", "task.env"),
        user: f.text(r, "user", "task.user").unwrap_or_default(),
        grace_period_ms: f.above_zero(r, ("grace_period", "task.grace_period_ms"), units::duration),
        logs: f.fields(r, "logs", "task.logs", LOGS).map(|f| v1::LogPolicy {
            file_size_bytes: f.above_zero(r, ("file_size", "file_size_bytes"), units::size),
            files: f.above_zero(r, ("files", "files"), whole),
        }),
        max_pids: f.parsed(r, ("max_pids", "task.max_pids"), whole).unwrap_or(0),
        max_files: f.parsed(r, ("max_files", "task.max_files"), whole).unwrap_or(0),
        health: f.fields(r, "health", "task.health", HEALTH).map(|f| health(r, &f)),
        http_lifecycle: f.fields(r, "lifecycle", "task.http_lifecycle", LIFECYCLE).map(|f| v1::HttpLifecycle {
            port: f.text(r, "port", "port").unwrap_or_default(),
            graceful_path: f.text(r, "graceful_path", "graceful_path").unwrap_or_default(),
            graceful_wait_ms: f.above_zero(r, ("graceful_wait", "graceful_wait_ms"), units::duration),
            shutdown_path: f.text(r, "shutdown_path", "shutdown_path").unwrap_or_default(),
            shutdown_wait_ms: f.above_zero(r, ("shutdown_wait", "shutdown_wait_ms"), units::duration),
        }),
        max_failed_processes: f.above_zero(r, ("max_failed_processes", "task.max_failed_processes"), whole),
        max_concurrency: f.parsed(r, ("max_concurrency", "task.max_concurrency"), whole).unwrap_or(0),
        finalization_wait_ms: f.above_zero(r, ("finalization_wait", "task.finalization_wait_ms"), units::duration),
        isolation: isolating::isolation(r, f),
        root_fs: isolating::root_fs(r, f),
        artifacts: artifacts::read(r, f),
    }
}

/// The list, or the short form: one `run` at the top is the process `main`.
fn processes(r: &mut Reader, f: &Fields) -> Vec<v1::ProcessSpec> {
    if let Some((node, place)) = f.take(r, "run", "task.processes[0]") {
        if f.has("processes") {
            r.wrong(node.at, &place.file, "is the short form for a single process; give it or `processes`");
        }
        let (shell, argv) = command(r, node, &place);
        return vec![v1::ProcessSpec { name: "main".to_string(), shell, argv, ..Default::default() }];
    }
    let Some((node, place)) = f.take(r, "processes", "task.processes") else { return Vec::new() };
    let items = r.items(node, &place).iter().enumerate();
    items.filter_map(|(i, item)| r.fields(item, place.item(i), PROCESS).map(|f| process(r, &f))).collect()
}

fn process(r: &mut Reader, f: &Fields) -> v1::ProcessSpec {
    let (shell, argv) = match f.take(r, "run", "shell") {
        Some((node, place)) => command(r, node, &place),
        None => Default::default(),
    };
    let after = f.take(r, "after", "after").map(|(node, place)| r.texts(node, &place)).unwrap_or_default();
    v1::ProcessSpec {
        name: f.text(r, "name", "name").unwrap_or_default(),
        shell,
        argv,
        after,
        env: f.table(r, "env", "env"),
        daemon: f.flag(r, "daemon", "daemon"),
        ephemeral: f.flag(r, "ephemeral", "ephemeral"),
        r#final: f.flag(r, "final", "final"),
        max_failures: f.above_zero(r, ("max_failures", "max_failures"), whole),
        min_duration_ms: f.above_zero(r, ("min_duration", "min_duration_ms"), units::duration),
    }
}

/// A text for the shell, or a list for exec.
fn command(r: &mut Reader, node: &Node, place: &Place) -> (String, Vec<String>) {
    let base = place.spec.strip_suffix(".shell").unwrap_or(&place.spec);
    let of_spec = |field: &str| Place { spec: format!("{base}.{field}"), ..place.clone() };
    if matches!(node.value, Value::List(_)) {
        let place = of_spec("argv");
        r.remember(&place, node.at);
        return (String::new(), r.texts(node, &place));
    }
    r.remember(&of_spec("shell"), node.at);
    (r.text(node, place).unwrap_or_default().to_string(), Vec::new())
}

fn resources(r: &mut Reader, f: &Fields) -> v1::Resources {
    let mut custom_milli = std::collections::BTreeMap::new();
    for (name, node, place) in f.entries(r, "custom", "custom_milli") {
        match r.text(node, &place).map(|text| (text, units::milli(text))) {
            Some((_, Ok(amount))) => drop(custom_milli.insert(name.to_string(), amount)),
            Some((text, Err(message))) => {
                r.wrong(node.at, &place.file, format!("`{}` {message}", crate::render::safe(text)));
            }
            None => {}
        }
    }
    v1::Resources {
        cpu_milli: f.above_zero(r, ("cpu", "cpu_milli"), units::milli),
        memory_bytes: f.above_zero(r, ("memory", "memory_bytes"), units::size),
        disk_bytes: f.above_zero(r, ("disk", "disk_bytes"), units::size),
        gpu_milli: f.parsed(r, ("gpu", "gpu_milli"), units::milli).unwrap_or(0),
        custom_milli,
    }
}

/// Names, or mappings with a fixed number.
fn ports(r: &mut Reader, f: &Fields) -> Vec<v1::PortSpec> {
    let Some((node, place)) = f.take(r, "ports", "task.ports") else { return Vec::new() };
    let mut ports = Vec::new();
    for (i, item) in r.items(node, &place).iter().enumerate() {
        let place = place.item(i);
        if let Value::Map(_) = item.value {
            let Some(f) = r.fields(item, place, PORT) else { continue };
            let name = f.text(r, "name", "name").unwrap_or_default();
            ports.push(v1::PortSpec { name, fixed: f.above_zero(r, ("fixed", "fixed"), whole) });
        } else {
            r.remember(&place, item.at);
            let name = r.text(item, &place).unwrap_or_default().to_string();
            ports.push(v1::PortSpec { name, fixed: 0 });
        }
    }
    ports
}

fn health(r: &mut Reader, f: &Fields) -> v1::HealthCheck {
    use v1::health_check::Probe;
    let given: Vec<&str> = ["http", "tcp", "grpc", "shell"].into_iter().filter(|name| f.has(name)).collect();
    if given.len() > 1
        && let Some((node, place)) = f.take(r, given[1], given[1])
    {
        r.wrong(node.at, &place.file, format!("one probe is enough; `{}` is there already", given[0]));
    }
    let http = f.fields(r, "http", "http", HTTP).map(|f| {
        Probe::Http(v1::HttpProbe {
            port: f.text(r, "port", "port").unwrap_or_default(),
            path: f.text(r, "path", "path").unwrap_or_default(),
            expected_status: f.above_zero(r, ("status", "expected_status"), whole),
            expected_body: f.text(r, "body", "expected_body").unwrap_or_default(),
        })
    });
    let tcp = f.fields(r, "tcp", "tcp", TCP);
    let tcp = tcp.map(|f| Probe::Tcp(v1::TcpProbe { port: f.text(r, "port", "port").unwrap_or_default() }));
    let grpc = f.fields(r, "grpc", "grpc", GRPC).map(|f| {
        Probe::Grpc(v1::GrpcProbe {
            port: f.text(r, "port", "port").unwrap_or_default(),
            service: f.text(r, "service", "service").unwrap_or_default(),
        })
    });
    let shell = f.text(r, "shell", "shell").map(Probe::Shell);
    v1::HealthCheck {
        probe: http.or(tcp).or(grpc).or(shell),
        initial_delay_ms: f.parsed(r, ("initial_delay", "initial_delay_ms"), units::duration).unwrap_or(0),
        interval_ms: f.above_zero(r, ("interval", "interval_ms"), units::duration),
        timeout_ms: f.above_zero(r, ("timeout", "timeout_ms"), units::duration),
        max_failures: f.above_zero(r, ("max_failures", "max_failures"), whole),
        min_successes: f.above_zero(r, ("min_successes", "min_successes"), whole),
    }
}
