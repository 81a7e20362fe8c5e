//! Metrics in Prometheus' text form: what the pulse counts, what waits, what the follower's state holds.

mod alarms;
mod clock;
mod cron;
mod disk;
mod endpoints;
mod health;
mod serve;
mod sla;

use std::fmt::{Display, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dawn_proto::v1::{self, NodeState};
use dawn_proto::{JobKey, TaskState, Timestamp};
use hyper::Uri;
use tokio::sync::watch;

use crate::decide::brake;
use crate::drive::{APPEND_CLASSES_USEC, Clock, Follower, Gauges, Inbox, LiveView, Role, SystemClock, Vitals};
use crate::model::{Settings, State};

pub use health::health_page;
pub use serve::{Page, serve};

/// What is looked at.
pub struct Sources {
    /// When this process began.
    pub started: Timestamp,
    pub gauges: Arc<Gauges>,
    pub inbox: Inbox,
    pub follower: Arc<Follower>,
    pub role: watch::Receiver<Role>,
    /// What holds writes up; empty: nothing.
    pub trouble: watch::Receiver<String>,
    /// Who is connected, and which alarms stand.
    pub live: watch::Receiver<Arc<LiveView>>,
    pub settings: Settings,
    /// The scheduler's own directory, if it has one.
    pub data_dir: Option<PathBuf>,
    pub vitals: Arc<Vitals>,
    /// How well a job did up to a moment.
    pub sla: fn(&State, &JobKey, Timestamp) -> Option<v1::JobSla>,
    /// Where a job's healthy tasks listen.
    pub endpoints: fn(&State, &JobKey) -> Option<v1::ListEndpointsResponse>,
}

/// What is at a path.
pub fn answer(sources: &Sources, uri: &Uri) -> Page {
    match uri.path() {
        "/metrics" => Page::Metrics(page(sources)),
        "/endpoints" => endpoints::page(sources, uri),
        _ => Page::Missing("there are /metrics, /livez, /readyz and /endpoints?job=ROLE/ENV/NAME".into()),
    }
}

/// What is at a path before the journal is open: it lives, does not lead, and the journal takes nothing of it.
pub fn answer_while_starting(vitals: &Vitals, started: Timestamp, uri: &Uri) -> Page {
    if uri.path() != "/metrics" {
        return Page::Unavailable("the scheduler is starting; /readyz says what it waits for".into());
    }
    let mut text = Text::default();
    text.one("scheduler_leading", "gauge", LEADING, 0);
    text.one("scheduler_journal_trouble", "gauge", TROUBLE, u8::from(vitals.health().waits_for.is_some()));
    clock::write(SystemClock::default().now().wall, started, &mut text);
    text.one("scheduler_panics_total", "counter", PANICS, vitals.panics());
    Page::Metrics(text.0)
}

const LEADING: &str = "1 on the leader.";
const TROUBLE: &str = "1 while the journal takes no writes.";
const PANICS: &str = "Parts of this process that panicked since it began.";

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

/// One page. Counting the tasks reads all of them: it is made by a reader, beside the decisions.
pub fn page(sources: &Sources) -> String {
    let mut text = Text::default();
    let leading = matches!(*sources.role.borrow(), Role::Leading);
    text.one("scheduler_leading", "gauge", LEADING, u8::from(leading));
    let trouble = !sources.trouble.borrow().is_empty();
    text.one("scheduler_journal_trouble", "gauge", TROUBLE, u8::from(trouble));
    let wall = SystemClock::default().now().wall;
    clock::write(wall, sources.started, &mut text);
    alarms::write(sources.live.borrow().alarms.keys(), &mut text);
    pulse(&sources.gauges, &mut text);
    text.one("scheduler_panics_total", "counter", PANICS, sources.vitals.panics());
    let (commands, links) = sources.inbox.depths();
    text.about("scheduler_queue_depth", "gauge", "Events that wait to be decided.");
    text.value("scheduler_queue_depth", "{queue=\"commands\"}", commands);
    text.value("scheduler_queue_depth", "{queue=\"agents\"}", links);
    if let Some(data_dir) = &sources.data_dir {
        disk::write(data_dir, &mut text);
    }
    sources.follower.read(|state| {
        self::state(state, &sources.settings, &mut text);
        let help = "How long the task that waits longest for a node has waited; 0: none waits.";
        let longest = longest_pending_ms(state, sla::time_of(state, wall));
        text.one("scheduler_pending_seconds", "gauge", help, longest as f64 / 1e3);
    });
    let missed = sources.follower.read(|state| cron::missed(state, sla::time_of(state, wall)));
    text.one("scheduler_cron_missed", "gauge", cron::HELP, missed);
    sla::jobs(sources, wall, &mut text);
    text.0
}

fn pulse(gauges: &Gauges, text: &mut Text) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    text.one("scheduler_steps_total", "counter", "Steps of the pulse.", count(&gauges.steps));
    text.one("scheduler_events_total", "counter", "Events decided.", count(&gauges.events));
    text.one("scheduler_decisions_total", "counter", "Mutations decided.", count(&gauges.mutations));
    let name = "scheduler_journal_append_seconds";
    text.about(name, "histogram", "From a decision to its being durable.");
    let mut below = 0;
    let bounds = APPEND_CLASSES_USEC.iter().map(|usec| (*usec as f64 / 1e6).to_string()).chain(["+Inf".to_string()]);
    for (bound, class) in bounds.zip(&gauges.append_classes) {
        below += count(class);
        text.value(&format!("{name}_bucket"), &format!("{{le=\"{bound}\"}}"), below);
    }
    text.value(&format!("{name}_sum"), "", count(&gauges.append_usec) as f64 / 1e6);
    text.value(&format!("{name}_count"), "", below);
}

fn state(state: &State, settings: &Settings, text: &mut Text) {
    text.one("scheduler_index", "gauge", "Journal index that these counts reflect.", state.index);
    text.one("scheduler_epoch", "gauge", "Epoch of the leadership.", state.epoch.0);
    let held = u8::from(brake(state, settings).is_some());
    let help = "1 while so many agents are silent that their tasks are not replaced.";
    text.one("scheduler_brake", "gauge", help, held);
    let help = "1 while nothing is placed, since the journal was restored or cut.";
    text.one("scheduler_restoring", "gauge", help, u8::from(state.restores.waiting));
    text.about("scheduler_agents", "gauge", "Agents by state.");
    for (name, wanted) in [("up", NodeState::Up), ("unreachable", NodeState::Unreachable), ("down", NodeState::Down)] {
        let count = state.agents.values().filter(|agent| agent.state == wanted).count();
        text.value("scheduler_agents", &format!("{{state=\"{name}\"}}"), count);
    }
    let mut counts = std::collections::BTreeMap::<TaskState, u64>::new();
    for task in state.tasks.values() {
        *counts.entry(task.state()).or_default() += 1;
    }
    text.about("scheduler_tasks", "gauge", "Tasks by state, ended ones that are kept too.");
    for (task_state, count) in counts {
        text.value("scheduler_tasks", &format!("{{state=\"{}\"}}", task_state.plain_name()), count);
    }
    text.one("scheduler_jobs", "gauge", "Jobs, ended ones that are kept too.", state.jobs.len());
}

fn longest_pending_ms(state: &State, now: Timestamp) -> u64 {
    let pending = state.indexes().pending.iter().filter_map(|task| state.tasks.get(task));
    pending.map(|task| now.since_ms(task.since())).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_only_grows_and_ends_with_all() {
        let gauges = Gauges::default();
        gauges.append_classes[0].store(3, Ordering::Relaxed);
        gauges.append_classes[10].store(2, Ordering::Relaxed);
        let mut text = Text::default();
        pulse(&gauges, &mut text);
        assert!(text.0.contains("append_seconds_bucket{le=\"0.00025\"} 3\n"), "{}", text.0);
        assert!(text.0.contains("append_seconds_bucket{le=\"2.5\"} 3\n"), "{}", text.0);
        assert!(text.0.contains("append_seconds_bucket{le=\"+Inf\"} 5\n"), "{}", text.0);
        assert!(text.0.contains("append_seconds_count 5\n"), "{}", text.0);
    }

    #[test]
    fn an_empty_state_has_its_lines() {
        let mut text = Text::default();
        state(&State::default(), &Settings::default(), &mut text);
        assert!(text.0.contains("dawn_scheduler_brake 0\n"), "{}", text.0);
        assert!(text.0.contains("dawn_scheduler_agents{state=\"up\"} 0\n"), "{}", text.0);
        assert_eq!(longest_pending_ms(&State::default(), Timestamp(1)), 0);
    }
}
