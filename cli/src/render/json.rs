//! What programs read: one object with a `schema` in it. Fields are only ever added; the number moves when one changes meaning.

use std::collections::BTreeMap;

use dawn_proto::{ByDimension, TaskId, v1};
use serde_json::{Value, json};

use super::failure::Cause;
use super::time::rfc3339;

/// The version of every object below.
pub const SCHEMA: &str = "dawn.cli/1";

/// `fields` with the schema beside them.
pub fn object(mut fields: Value) -> Value {
    if let Value::Object(map) = &mut fields {
        map.insert("schema".to_string(), SCHEMA.into());
    }
    fields
}

pub fn lower(name: &str) -> String {
    name.to_lowercase()
}

pub fn key(key: Option<&v1::JobKey>) -> Value {
    key.map_or(Value::Null, |key| format!("{}/{}/{}", key.role, key.env, key.name).into())
}

pub fn state(state: v1::TaskState) -> String {
    lower(state.plain_name())
}

pub fn summary(summary: &v1::JobSummary) -> Value {
    json!({
        "job": key(summary.key.as_ref()),
        "kind": super::kind(summary.kind()),
        "tier": super::tier(summary.tier()),
        "priority": summary.priority,
        "version": summary.version,
        "paused": summary.paused,
        "instances": summary.instances,
        "pending": summary.pending,
        "starting": summary.starting,
        "running": summary.running,
        "finished": summary.finished,
        "failed": summary.failed,
        "created_at": rfc3339(summary.created_ms),
        "ended": summary.ended,
        "result": summary.result,
        "waits_for": summary.waits_for,
        "template": summary.template,
        "stopping": summary.stopping,
        "partitioned": summary.partitioned,
        "killed": summary.killed,
        "lost": summary.lost,
        "failing": summary.failing,
        "restarts": summary.restarts,
        "beside": summary.beside,
    })
}

fn transition(transition: &v1::Transition) -> Value {
    json!({
        "state": state(transition.state()),
        "at": rfc3339(transition.at_ms),
        "reason": lower(transition.reason().plain_name()),
        "message": transition.message,
        "exit_code": transition.exit_code,
        "signal": transition.signal,
    })
}

fn failure(failure: &v1::TaskFailure) -> Value {
    json!({
        "task": TaskId(failure.task_id).to_string(),
        "attempt": failure.attempt,
        "version": failure.version,
        "hostname": failure.hostname,
        "at": rfc3339(failure.at_ms),
        "reason": lower(failure.reason().plain_name()),
        "message": failure.message,
        "exit_code": failure.exit_code,
        "signal": failure.signal,
    })
}

pub fn task(task: &v1::Task) -> Value {
    let ports: serde_json::Map<String, Value> =
        task.ports.iter().map(|port| (port.name.clone(), port.port.into())).collect();
    json!({
        "id": TaskId(task.id).to_string(),
        "job": key(task.job.as_ref()),
        "instance": task.instance,
        "attempt": task.attempt,
        "version": task.version,
        "state": state(task.state()),
        "node": task.agent_id,
        "hostname": task.hostname,
        "ports": ports,
        "gpus": task.gpus,
        "failures": task.failures,
        "restarts": task.restarts,
        "run_at": rfc3339(task.run_at_ms),
        "ready_at": rfc3339(task.ready_at_ms),
        "history": task.history.iter().map(transition).collect::<Vec<_>>(),
        "last_failure": task.last_failure.as_ref().map(failure),
    })
}

pub fn tasks(tasks: &[v1::Task]) -> Value {
    tasks.iter().map(task).collect::<Vec<_>>().into()
}

pub fn status(status: &v1::JobStatus) -> Value {
    json!({
        "summary": status.summary.as_ref().map(summary),
        "tasks": tasks(&status.tasks),
        "versions": status.versions.iter().map(version).collect::<Vec<_>>(),
        "cron": status.cron.as_ref().map(cron),
        "update": status.update,
        "ended_at": rfc3339(status.ended_ms),
        "ended_by": status.ended_by,
        "ended_message": status.ended_message,
        "index": status.index,
    })
}

/// As [`status`], with what failed tasks wrote last to standard error, as far as that is known, and the last update where that did
/// not go through.
pub fn status_with_words(
    status: &v1::JobStatus,
    words: &BTreeMap<u64, Vec<u8>>,
    failed_update: Option<&v1::UpdateInfo>,
) -> Value {
    let mut value = self::status(status);
    value["failed_update"] = failed_update.map(update).into();
    for (i, task) in status.tasks.iter().enumerate() {
        let Some(failed) = &task.last_failure else { continue };
        value["tasks"][i]["last_failure"]["last_words"] = last_words(words, failed.task_id);
    }
    value
}

/// Null where nothing is known of it.
fn last_words(words: &BTreeMap<u64, Vec<u8>>, task_id: u64) -> Value {
    let data = words.get(&task_id).filter(|data| !data.is_empty());
    data.map(|data| String::from_utf8_lossy(data)).into()
}

pub fn version(version: &v1::JobVersion) -> Value {
    json!({
        "version": version.version,
        "at": rfc3339(version.at_ms),
        "author": version.author,
        "message": version.message,
        "current": version.current,
    })
}

pub fn cron(cron: &v1::CronStatus) -> Value {
    let ticks = cron.ticks.iter().map(|tick| {
        json!({
            "scheduled_at": rfc3339(tick.scheduled_ms),
            "decided_at": rfc3339(tick.decided_ms),
            "outcome": lower(tick.outcome().plain_name()),
        })
    });
    let policy = cron.policy.clone().unwrap_or_default();
    let runs = cron.runs.iter().map(|run| {
        json!({
            "run_at": rfc3339(run.run_at_ms),
            "finished": run.finished,
            "failed": run.failed,
            "living": run.living,
            "other": run.other,
            "started_at": rfc3339(run.started_ms),
            "ended_at": rfc3339(run.ended_ms),
        })
    });
    json!({
        "job": key(cron.key.as_ref()),
        "schedule": policy.schedule,
        "time_zone": policy.time_zone,
        "next_at": rfc3339(cron.next_ms),
        "running": cron.running,
        "ticks": ticks.collect::<Vec<_>>(),
        "paused_at": rfc3339(cron.paused_ms),
        "paused_by": cron.paused_by,
        "upcoming": cron.upcoming_ms.iter().map(|at_ms| rfc3339(*at_ms)).collect::<Vec<_>>(),
        "jitter_ms": cron.jitter_ms,
        "runs": runs.collect::<Vec<_>>(),
    })
}

/// `summary` is said where nothing is pending; `causes` are those of the last failures, `words` what those tasks wrote last.
pub fn why(
    why: &v1::WhyResponse,
    summary: Option<String>,
    causes: &[Cause],
    words: &BTreeMap<u64, Vec<u8>>,
    failed_update: Option<&v1::UpdateInfo>,
) -> Value {
    let failures = causes.iter().map(|cause| {
        let mut value = failure(&cause.failure);
        value["instance"] = cause.task.instance.into();
        value["instances"] = cause.instances.clone().into();
        value["last_words"] = last_words(words, cause.failure.task_id);
        value
    });
    json!({
        "classes": pending_classes(&why.classes),
        "summary": summary,
        "failures": failures.collect::<Vec<_>>(),
        "failed_update": failed_update.map(update),
        "index": why.index,
    })
}

/// What instances wait for: those that wait alike together.
pub fn pending_classes(classes: &[v1::PendingClass]) -> Value {
    let classes = classes.iter().map(|class| {
        let vetoes = class.vetoes.iter();
        let vetoes = vetoes.map(|veto| json!({"nodes": veto.agents, "kind": veto.kind, "text": veto.text}));
        json!({
            "instances": class.instances,
            "state": state(class.state()),
            "nodes": class.agents_total,
            "summary": class.summary,
            "vetoes": vetoes.collect::<Vec<_>>(),
            "pending_since": rfc3339(class.pending_since_ms),
            "ready_at": rfc3339(class.ready_at_ms),
        })
    });
    classes.collect::<Vec<_>>().into()
}

fn resources(resources: Option<&v1::Resources>) -> Value {
    let amounts = resources.cloned().unwrap_or_default();
    let mut value = by_dimension(&amounts.amounts());
    value["custom_milli"] = json!(amounts.custom_milli);
    value
}

/// Each dimension under the name of its field.
pub fn by_dimension<T: Copy + Into<Value>>(amounts: &ByDimension<T>) -> Value {
    amounts.pairs().map(|(dimension, amount)| (dimension.field().to_string(), (*amount).into())).collect()
}

pub fn node(node: &v1::Node) -> Value {
    let attributes: serde_json::Map<String, Value> =
        node.attributes.iter().map(|attribute| (attribute.name.clone(), attribute.values.clone().into())).collect();
    let ports = node.ports.iter().map(|range| json!([range.first, range.last]));
    let taken = node.taken_ports.iter();
    let taken = taken.map(|one| json!({ "port": one.port, "holder": lower(one.holder().plain_name()) }));
    json!({
        "id": node.agent_id,
        "hostname": node.hostname,
        "state": lower(node.state().plain_name()),
        "attributes": attributes,
        "total": resources(node.total.as_ref()),
        "used": resources(node.used.as_ref()),
        "ports": ports.collect::<Vec<_>>(),
        "taken_ports": taken.collect::<Vec<_>>(),
        "tasks": node.tasks,
        "version": node.version,
        "isolation": node.isolation,
        "last_heard_at": rfc3339(node.last_heard_ms),
        "registered_at": rfc3339(node.registered_ms),
        "avoided_until": rfc3339(node.avoided_until_ms),
        "avoided_why": node.avoided_why,
        "maintenance": node.maintenance.as_ref().map(maintenance),
    })
}

fn maintenance(planned: &v1::NodeMaintenance) -> Value {
    json!({
        "mode": lower(planned.mode().plain_name()),
        "since": rfc3339(planned.since_ms),
        "start": rfc3339(planned.start_ms),
        "deadline": rfc3339(planned.deadline_ms),
        "author": planned.author,
        "message": planned.message,
        "waits": planned.waits,
    })
}

pub fn ranges(ranges: &[v1::InstanceRange]) -> Value {
    ranges.iter().map(|range| json!([range.first, range.last])).collect()
}

pub fn update(update: &v1::UpdateInfo) -> Value {
    let event = |event: &v1::UpdateEvent| {
        json!({
            "state": lower(event.state().plain_name()), "at": rfc3339(event.at_ms),
            "author": event.author, "message": event.message,
        })
    };
    json!({
        "job": key(update.key.as_ref()),
        "number": update.number,
        "kind": lower(update.kind().plain_name()),
        "state": lower(update.state().plain_name()),
        "from_version": update.from_version,
        "to_version": update.to_version,
        "author": update.author,
        "message": update.message,
        "began_at": rfc3339(update.began_ms),
        "instances": ranges(&update.instances),
        "done": ranges(&update.done),
        "failed": ranges(&update.failed),
        "active": ranges(&update.active),
        "waits": update.waits,
        "events": update.events.iter().map(event).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    found.insert(name.clone());
                    names(value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_field_is_explained() {
        let job_status = v1::JobStatus {
            summary: Some(v1::JobSummary::default()),
            tasks: vec![v1::Task {
                history: vec![v1::Transition::default()],
                last_failure: Some(v1::TaskFailure::default()),
                ..Default::default()
            }],
            versions: vec![v1::JobVersion::default()],
            cron: Some(v1::CronStatus {
                ticks: vec![v1::Tick::default()],
                runs: vec![v1::CronRun::default()],
                ..Default::default()
            }),
            ..Default::default()
        };
        let class = v1::PendingClass { vetoes: vec![v1::VetoCount::default()], ..Default::default() };
        let mut found = BTreeSet::new();
        names(&object(status_with_words(&job_status, &BTreeMap::new(), None)), &mut found);
        let response = v1::WhyResponse { classes: vec![class], index: 1 };
        names(&why(&response, None, &[], &BTreeMap::new(), None), &mut found);
        let (maintenance, taken_ports) = (Some(v1::NodeMaintenance::default()), vec![v1::TakenPort::default()]);
        names(&node(&v1::Node { maintenance, taken_ports, ..Default::default() }), &mut found);
        let events = vec![v1::UpdateEvent::default()];
        names(&update(&v1::UpdateInfo { events, ..Default::default() }), &mut found);
        let reference = include_str!("../../OUTPUT.md");
        for name in found {
            assert!(reference.contains(&format!("`{name}`")), "`{name}` is not explained in OUTPUT.md");
        }
    }

    #[test]
    fn words_are_lower_case_and_instants_are_rfc_3339() {
        let history = vec![v1::Transition { at_ms: 1_795_348_800_000, reason: 3, ..Default::default() }];
        let ports = vec![v1::AssignedPort { name: "http".into(), port: 31000 }];
        let shown = task(&v1::Task { id: 7, state: 5, history, ports, ..Default::default() });
        assert_eq!(shown["id"], "t7");
        assert_eq!(shown["state"], "running");
        assert_eq!(shown["ports"]["http"], 31000);
        assert_eq!(shown["history"][0]["at"], "2026-11-22T12:00:00.000Z");
        assert_eq!(shown["history"][0]["reason"], "out_of_memory");
        assert_eq!(shown["run_at"], Value::Null);
    }
}
