//! A spec as the job file that would make it, in YAML or JSON: what it writes reads back as the same spec.

mod changing;
mod emit;
mod isolating;

use dawn_proto::v1::{self, affinity::Target, constraint::Rule, health_check::Probe};
use serde_json::{Number, Value};

use super::placing::COMPARISONS;
use super::units::{show_duration, show_milli, show_size};
use super::{following, job, repeating};

/// Fields in the order of writing; `serde_json`'s own map would sort them.
#[derive(Default)]
struct Fields(Vec<(&'static str, Out)>);

enum Out {
    One(Value),
    /// On one line.
    Row(Vec<Value>),
    List(Vec<Out>),
    Map(Fields),
    /// Free names.
    Table(Vec<(String, Value)>),
}

impl Fields {
    fn text(&mut self, name: &'static str, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.0.push((name, Out::One(Value::String(text))));
        }
    }

    fn number(&mut self, name: &'static str, number: impl Into<Number> + Copy + Default + PartialEq) {
        if number != Default::default() {
            self.0.push((name, Out::One(Value::Number(number.into()))));
        }
    }

    fn flag(&mut self, name: &'static str, flag: bool) {
        if flag {
            self.0.push((name, Out::One(Value::Bool(true))));
        }
    }

    fn milli(&mut self, name: &'static str, milli: u64) {
        if milli > 0 {
            self.0.push((name, Out::One(thousandths(milli))));
        }
    }

    fn shown(&mut self, name: &'static str, value: u64, show: fn(u64) -> String) {
        if value > 0 {
            self.text(name, show(value));
        }
    }

    fn list(&mut self, name: &'static str, items: Vec<Out>) {
        if !items.is_empty() {
            self.0.push((name, Out::List(items)));
        }
    }

    fn row<'a>(&mut self, name: &'static str, texts: impl IntoIterator<Item = &'a String>) {
        let row: Vec<Value> = texts.into_iter().map(|text| Value::String(text.clone())).collect();
        if !row.is_empty() {
            self.0.push((name, Out::Row(row)));
        }
    }

    fn map(&mut self, name: &'static str, fields: Fields) {
        if !fields.0.is_empty() {
            self.0.push((name, Out::Map(fields)));
        }
    }

    fn table(&mut self, name: &'static str, entries: Vec<(String, Value)>) {
        if !entries.is_empty() {
            self.0.push((name, Out::Table(entries)));
        }
    }

    fn texts(&mut self, name: &'static str, texts: &std::collections::BTreeMap<String, String>) {
        self.table(name, texts.iter().map(|(name, text)| (name.clone(), Value::String(text.clone()))).collect());
    }
}

fn thousandths(milli: u64) -> Value {
    let number = serde_json::from_str::<Number>(&show_milli(milli));
    number.map_or(Value::String(show_milli(milli)), Value::Number)
}

fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

fn key_text(key: &v1::JobKey) -> String {
    format!("{}/{}/{}", key.role, key.env, key.name)
}

fn out(spec: &v1::JobSpec) -> Fields {
    let mut f = Fields::default();
    f.text("job", spec.key.as_ref().map(key_text).unwrap_or_default());
    f.text("kind", word(&job::KINDS, spec.kind()));
    f.number("instances", spec.instances);
    f.text("tier", word(&job::TIERS, spec.tier()));
    f.number("priority", spec.priority);
    let task = spec.task.clone().unwrap_or_default();
    f.text("user", task.user.as_str());
    f.map("resources", resources(&task.resources.clone().unwrap_or_default()));
    f.list("ports", task.ports.iter().map(port).collect());
    f.texts("env", &task.env);
    f.texts("labels", &spec.labels);
    f.list("constraints", spec.constraints.iter().map(|constraint| Out::Map(self::constraint(constraint))).collect());
    f.list("affinities", spec.affinities.iter().map(|affinity| Out::Map(self::affinity(affinity))).collect());
    f.list("spread", spec.spreads.iter().map(|spread| Out::Map(self::spread(spread))).collect());
    f.text("dedicated", spec.dedicated.as_str());
    f.list("processes", task.processes.iter().map(|process| Out::Map(self::process(process))).collect());
    f.list("artifacts", task.artifacts.iter().map(|artifact| Out::Map(self::artifact(artifact))).collect());
    repetition(&mut f, spec);
    the_rest(&mut f, &task);
    f.shown("max_run_time", spec.max_run_time_ms, show_duration);
    f.number("disruption_budget", spec.disruption_budget);
    f.flag("at_most_one", spec.at_most_one);
    following(&mut f, spec);
    changing::write(&mut f, spec);
    f
}

fn following(f: &mut Fields, spec: &v1::JobSpec) {
    let dependency = |dependency: &v1::Dependency| {
        let mut f = Fields::default();
        f.text("job", dependency.job.as_ref().map(key_text).unwrap_or_default());
        f.text("on", word(&following::ONS, dependency.on()));
        Out::Map(f)
    };
    f.list("after", spec.dependencies.iter().map(dependency).collect());
    f.number("max_running", spec.max_running);
    f.flag("gang", spec.gang);
    f.shown("deadline", spec.deadline_ms, show_duration);
    if let Some(parameters) = &spec.parameters {
        let mut inner = Fields::default();
        inner.row("required", &parameters.required);
        inner.texts("optional", &parameters.optional);
        inner.text("payload", word(&following::PAYLOADS, parameters.payload()));
        f.map("parameters", inner);
    }
}

fn resources(resources: &v1::Resources) -> Fields {
    let mut f = Fields::default();
    f.milli("cpu", resources.cpu_milli);
    f.shown("memory", resources.memory_bytes, show_size);
    f.shown("disk", resources.disk_bytes, show_size);
    f.milli("gpu", resources.gpu_milli);
    let custom = resources.custom_milli.iter();
    f.table("custom", custom.map(|(name, milli)| (name.clone(), thousandths(*milli))).collect());
    f
}

fn port(port: &v1::PortSpec) -> Out {
    if port.fixed == 0 {
        return Out::One(Value::String(port.name.clone()));
    }
    let mut f = Fields::default();
    f.text("name", port.name.as_str());
    f.number("fixed", port.fixed);
    Out::Map(f)
}

fn rule(f: &mut Fields, rule: Option<&Rule>) {
    let compare = |compare: &v1::Compare| {
        let sign = COMPARISONS.iter().find(|(_, op)| *op == compare.op()).map_or("==", |(sign, _)| sign);
        format!("{sign} {}", compare.value)
    };
    match rule {
        Some(Rule::OneOf(set)) => f.row("in", &set.values),
        Some(Rule::NoneOf(set)) => f.row("not_in", &set.values),
        Some(Rule::Exists(exists)) => f.flag("exists", *exists),
        Some(Rule::Regex(regex)) => f.text("regex", regex.as_str()),
        Some(Rule::Number(number)) => f.text("number", compare(number)),
        Some(Rule::Version(version)) => f.text("version", compare(version)),
        Some(Rule::Limit(limit)) => f.number("limit", *limit),
        None => {}
    }
}

fn constraint(constraint: &v1::Constraint) -> Fields {
    let mut f = Fields::default();
    f.text("attribute", constraint.attribute.as_str());
    rule(&mut f, constraint.rule.as_ref());
    f
}

fn affinity(affinity: &v1::Affinity) -> Fields {
    let mut f = Fields::default();
    f.number("weight", affinity.weight);
    f.flag("required", affinity.required);
    match &affinity.target {
        Some(Target::Job(key)) => f.text("job", key_text(key)),
        Some(Target::Attribute(constraint)) => {
            f.text("attribute", constraint.attribute.as_str());
            rule(&mut f, constraint.rule.as_ref());
        }
        None => {}
    }
    f.text("topology", affinity.topology.as_str());
    f
}

fn spread(spread: &v1::Spread) -> Fields {
    let mut f = Fields::default();
    f.text("attribute", spread.attribute.as_str());
    f.number("weight", spread.weight);
    let shares = spread.share_percent.iter();
    f.table("shares", shares.map(|(value, percent)| (value.clone(), Value::Number((*percent).into()))).collect());
    f
}

fn process(process: &v1::ProcessSpec) -> Fields {
    let mut f = Fields::default();
    f.text("name", process.name.as_str());
    f.text("run", process.shell.as_str());
    f.row("run", &process.argv);
    f.row("after", &process.after);
    f.texts("env", &process.env);
    f.flag("daemon", process.daemon);
    f.flag("ephemeral", process.ephemeral);
    f.flag("final", process.r#final);
    f.number("max_failures", process.max_failures);
    f.shown("min_duration", process.min_duration_ms, show_duration);
    f
}

fn artifact(artifact: &v1::Artifact) -> Fields {
    let mut f = Fields::default();
    f.text("uri", artifact.uri.as_str());
    f.text("sha256", artifact.sha256.as_str());
    f.text("destination", artifact.destination.as_str());
    f.flag("extract", artifact.extract);
    f.text("mode", if artifact.mode == 0 { String::new() } else { super::artifacts::show_mode(artifact.mode) });
    f
}

fn repetition(f: &mut Fields, spec: &v1::JobSpec) {
    let mut restart = Fields::default();
    let policy = spec.restart.unwrap_or_default();
    restart.text("on", word(&repeating::RESTART_ON, policy.on()));
    restart.number("max_failures", policy.max_failures);
    restart.shown("backoff", policy.initial_backoff_ms, show_duration);
    restart.shown("max_backoff", policy.max_backoff_ms, show_duration);
    restart.shown("stable_after", policy.stable_after_ms, show_duration);
    f.map("restart", restart);
    if let Some(policy) = &spec.cron {
        let mut cron = Fields::default();
        cron.text("schedule", policy.schedule.as_str());
        cron.text("time_zone", policy.time_zone.as_str());
        cron.text("overlap", word(&repeating::OVERLAPS, policy.overlap()));
        cron.text("misfire", word(&repeating::MISFIRES, policy.misfire()));
        cron.number("misfire_limit", policy.misfire_limit);
        cron.shown("starting_deadline", policy.starting_deadline_ms, show_duration);
        cron.shown("jitter", policy.jitter_ms, show_duration);
        f.map("cron", cron);
    }
    if let Some(policy) = &spec.partition {
        let mut partition = Fields::default();
        partition.flag("wait", policy.wait);
        if !policy.wait {
            partition.text("delay", show_duration(policy.delay_ms));
        }
        f.map("partition", partition);
    }
}

fn the_rest(f: &mut Fields, task: &v1::TaskSpec) {
    f.shown("grace_period", task.grace_period_ms, show_duration);
    f.shown("finalization_wait", task.finalization_wait_ms, show_duration);
    if let Some(check) = &task.health {
        f.map("health", health(check));
    }
    if let Some(policy) = &task.http_lifecycle {
        let mut lifecycle = Fields::default();
        lifecycle.text("port", policy.port.as_str());
        lifecycle.text("graceful_path", policy.graceful_path.as_str());
        lifecycle.shown("graceful_wait", policy.graceful_wait_ms, show_duration);
        lifecycle.text("shutdown_path", policy.shutdown_path.as_str());
        lifecycle.shown("shutdown_wait", policy.shutdown_wait_ms, show_duration);
        f.map("lifecycle", lifecycle);
    }
    let mut logs = Fields::default();
    let policy = task.logs.unwrap_or_default();
    logs.shown("file_size", policy.file_size_bytes, show_size);
    logs.number("files", policy.files);
    f.map("logs", logs);
    f.number("max_pids", task.max_pids);
    f.number("max_files", task.max_files);
    f.number("max_failed_processes", task.max_failed_processes);
    f.number("max_concurrency", task.max_concurrency);
    if let Some(isolation) = &task.isolation {
        f.map("isolation", isolating::isolation(isolation));
    }
    if let Some(root) = &task.root_fs {
        f.map("root_fs", isolating::root_fs(root));
    }
}

fn health(check: &v1::HealthCheck) -> Fields {
    let mut f = Fields::default();
    match &check.probe {
        Some(Probe::Http(probe)) => {
            let mut http = Fields::default();
            http.text("port", probe.port.as_str());
            http.text("path", probe.path.as_str());
            http.number("status", probe.expected_status);
            http.text("body", probe.expected_body.as_str());
            f.map("http", http);
        }
        Some(Probe::Tcp(probe)) => {
            let mut tcp = Fields::default();
            tcp.text("port", probe.port.as_str());
            f.map("tcp", tcp);
        }
        Some(Probe::Grpc(probe)) => {
            let mut grpc = Fields::default();
            grpc.text("port", probe.port.as_str());
            grpc.text("service", probe.service.as_str());
            f.map("grpc", grpc);
        }
        Some(Probe::Shell(shell)) => f.text("shell", shell.as_str()),
        None => {}
    }
    f.shown("initial_delay", check.initial_delay_ms, show_duration);
    f.shown("interval", check.interval_ms, show_duration);
    f.shown("timeout", check.timeout_ms, show_duration);
    f.number("max_failures", check.max_failures);
    f.number("min_successes", check.min_successes);
    f
}

/// As YAML, one document.
pub fn to_yaml(spec: &v1::JobSpec) -> String {
    let mut text = String::new();
    emit::yaml(&mut text, &out(spec), 0);
    text
}

/// As JSON; fields in the same order as in YAML.
pub fn to_json(spec: &v1::JobSpec) -> String {
    let mut text = String::new();
    emit::json(&mut text, &out(spec), 0);
    text.push('\n');
    text
}
