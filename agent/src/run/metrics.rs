//! What the agent serves by HTTP when told to: metrics in Prometheus' text form, and its cache of artifacts to other agents.

use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dawn_proto::{Dimension, TaskId, Unit, v1};
use tokio::task::JoinSet;

use super::AgentError;
use super::hands::Shared;
use super::reach::own_memory_bytes;
use crate::edges::space;
use crate::edges::web::{self, Crowded, Page};

/// Tasks are not measured more often than this, whoever asks.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const PLAIN: &str = "text/plain; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The servers that the configuration asks for, at work.
pub(super) async fn serve(shared: &Arc<Shared>) -> Result<JoinSet<()>, AgentError> {
    let mut serving = JoinSet::new();
    if let Some(address) = shared.config.metrics_listen {
        let listener = listen("metrics", address).await?;
        let (shared, last, started) = (shared.clone(), Mutex::new(None), wall_seconds());
        serving.spawn(web::serve(listener, Crowded::OldestGoes, move |path| match path {
            "/metrics" => Page::Text { kind: TEXT, text: page(&shared, &last, started) },
            "/livez" => health(shared.config.vitals.health().wedged),
            "/readyz" => health(shared.config.vitals.health().waits_for),
            _ => Page::Nothing,
        }));
    }
    if let Some(address) = shared.config.artifact_listen {
        let listener = listen("artifacts", address).await?;
        let shared = shared.clone();
        serving.spawn(web::serve(listener, Crowded::Waits, move |path| {
            let file = path.strip_prefix("/artifacts/").and_then(|sha256| shared.fetcher.cached(sha256));
            file.map_or(Page::Nothing, Page::File)
        }));
    }
    Ok(serving)
}

/// Ok, or what is wrong.
fn health(wrong: Option<String>) -> Page {
    match wrong {
        None => Page::Text { kind: PLAIN, text: "ok\n".into() },
        Some(what) => Page::Unavailable(format!("{what}\n")),
    }
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<tokio::net::TcpListener, AgentError> {
    let listener = web::listen(address).await.map_err(|source| AgentError::Listen { what, address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving {what}");
    }
    Ok(listener)
}

type Samples = Mutex<Option<(Instant, Vec<v1::Usage>)>>;

/// What the wall clock shows, seconds since 1970.
fn wall_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn page(shared: &Shared, last: &Samples, started: f64) -> String {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = last.take().filter(|(at, _)| at.elapsed() < SAMPLE_EVERY);
    let (_, tasks) = last.insert(fresh.unwrap_or_else(|| (Instant::now(), shared.sample(None))));
    let mut text = Text::default();
    text.one("agent_time_seconds", "gauge", "What the machine's wall clock shows, seconds since 1970.", wall_seconds());
    let help = "Parts of this process that panicked since it began.";
    text.one("agent_panics_total", "counter", help, shared.config.vitals.panics());
    text.one("agent_start_time_seconds", "gauge", "When this process began, seconds since 1970.", started);
    agent(shared, &mut text);
    disk(&shared.config.work_dir, &mut text);
    self::tasks(tasks, &mut text);
    text.0
}

/// The text as it grows.
#[derive(Default)]
struct Text(String);

impl Text {
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string can't fail.
        _ = writeln!(self.0, "# HELP dawn_{name} {help}\n# TYPE dawn_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl Display) {
        _ = writeln!(self.0, "dawn_{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.about(name, kind, help);
        self.value(name, "", value);
    }
}

fn agent(shared: &Shared, text: &mut Text) {
    let observed = shared.board.observed();
    text.one("agent_registered", "gauge", "1 while a scheduler knows this agent.", u8::from(observed.registered));
    text.about("agent_tasks", "gauge", "Tasks held, ended ones whose directory is kept too.");
    for (state, count) in &observed.states {
        text.value("agent_tasks", &format!("{{state=\"{}\"}}", state.plain_name()), count);
    }
    text.one("agent_reports_unacknowledged", "gauge", "Tasks with reports not yet durable.", observed.unacked);
    for (name, amounts, help) in
        [("total", &observed.total, "What tasks may have."), ("held", &observed.held, "What living tasks were given.")]
    {
        let name = format!("agent_resources_{name}");
        text.about(&name, "gauge", help);
        for (dimension, amount) in amounts.amounts().pairs() {
            let resource = match dimension {
                Dimension::Cpu => "cpu_cores",
                Dimension::Gpu => "gpus",
                other => other.field(),
            };
            let labels = format!("{{resource=\"{resource}\"}}");
            match dimension.unit() {
                Unit::Milli => text.value(&name, &labels, *amount as f64 / 1e3),
                Unit::Bytes => text.value(&name, &labels, amount),
            }
        }
    }
    text.one("agent_sandbox_bytes", "gauge", "Directories of ended tasks.", observed.sandbox_bytes);
    text.one("agent_sandbox_limit_bytes", "gauge", "Most of them kept.", shared.config.sandbox_keep_bytes);
    text.one("agent_artifact_bytes", "gauge", "The artifact cache.", shared.fetcher.held().1);
    text.one("agent_artifact_limit_bytes", "gauge", "Most of it kept.", shared.config.artifact_cache_bytes);
    text.one("agent_memory_bytes", "gauge", "Private memory of the agent itself.", own_memory_bytes());
}

/// The disk of the work directory: as an ordinary user may fill it.
fn disk(work_dir: &Path, text: &mut Text) {
    // What can't be asked is left out, and the log says why.
    let Ok(free) = space::free(work_dir) else { return };
    text.one("agent_disk_free_bytes", "gauge", "Free on the disk of the work directory.", free.bytes);
    text.one("agent_disk_bytes", "gauge", "Size of the disk of the work directory.", free.total_bytes);
    text.one("agent_disk_free_files", "gauge", "Files that it can still hold.", free.files);
    text.one(
        "agent_disk_files",
        "gauge",
        "Number of files that the disk can hold; 0: it has no limit.",
        free.total_files,
    );
}

/// One of the columns of tasks' metrics.
type Column = (&'static str, &'static str, &'static str, fn(&v1::Usage) -> Option<f64>);

const SECOND_USEC: f64 = 1e6;
const COLUMNS: [Column; 8] = [
    ("task_cpu_seconds_total", "counter", "Processor time used.", |u| Some(u.cpu_usec? as f64 / SECOND_USEC)),
    ("task_cpu_throttled_seconds_total", "counter", "Time held back by the cpu limit.", |u| {
        Some(u.throttled_usec? as f64 / SECOND_USEC)
    }),
    ("task_memory_bytes", "gauge", "Memory used.", |u| Some(u.memory_bytes? as f64)),
    ("task_memory_peak_bytes", "gauge", "Most memory used at once.", |u| Some(u.memory_peak_bytes? as f64)),
    ("task_memory_limit_bytes", "gauge", "Memory limit.", |u| Some(u.memory_limit_bytes as f64)),
    ("task_pids", "gauge", "Processes and threads.", |u| Some(u.pids? as f64)),
    ("task_read_bytes_total", "counter", "Read from block devices.", |u| Some(u.read_bytes? as f64)),
    ("task_written_bytes_total", "counter", "Written to block devices.", |u| Some(u.written_bytes? as f64)),
];

fn tasks(usage: &[v1::Usage], text: &mut Text) {
    for (name, kind, help, value) in COLUMNS {
        text.about(name, kind, help);
        for usage in usage {
            let Some(value) = value(usage) else { continue };
            // Job keys and ids need no escape.
            let (task, instance) = (TaskId(usage.task_id), usage.instance);
            text.value(name, &format!("{{task=\"{task}\",job=\"{}\",instance=\"{instance}\"}}", usage.job), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_is_left_out() {
        let usage = v1::Usage {
            task_id: 7,
            cpu_usec: Some(1_500_000),
            memory_bytes: Some(4_096),
            job: "a/b/c".into(),
            instance: 2,
            ..Default::default()
        };
        let mut text = Text::default();
        tasks(&[usage], &mut text);
        let labels = "{task=\"t7\",job=\"a/b/c\",instance=\"2\"}";
        assert!(text.0.contains(&format!("dawn_task_cpu_seconds_total{labels} 1.5\n")), "{}", text.0);
        assert!(text.0.contains(&format!("dawn_task_memory_bytes{labels} 4096\n")), "{}", text.0);
        assert!(!text.0.contains("dawn_task_pids{"), "{}", text.0);
        assert!(text.0.lines().all(|line| line.starts_with("# ") || line.starts_with("dawn_")), "{}", text.0);
    }
}
