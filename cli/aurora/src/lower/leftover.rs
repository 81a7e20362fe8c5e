//! The parts of a job that Dawn has nothing for, and references that nobody fills in. Not here: what is taken over.

use serde_json::Value;

use super::Found;
use super::fields::Fields;
use super::ports::{agents_name, port_of};
use crate::evaluate::EvaluatedJob;
use crate::template::reference::Ref;

/// Fields of Aurora that have no counterpart in Dawn. Where there is a text, it says why ignoring the field does no harm. The
/// fields without a text are refused or read elsewhere in this file, or have no effect alone. Fields that have a counterpart are
/// named by the options of `job.proto`.
pub(super) const LEFTOVERS: [(&str, Option<&str>); 25] = [
    ("Job.task_links", Some("Dawn shows no links")),
    ("Job.enable_hooks", Some("hooks are code of the original client and are not run")),
    // A spec goes to the cluster that it is sent to.
    ("Job.cluster", None),
    ("Job.container", None),
    ("Job.executor_config", None),
    ("Process.resources", None),
    ("Logger.destination", None),
    ("Logger.mode", None),
    ("Announcer.zk_path", None),
    ("Container.docker", None),
    ("Docker.image", None),
    ("Docker.parameters", None),
    ("Parameter.name", None),
    ("Parameter.value", None),
    ("Mesos.image", None),
    ("Mesos.volumes", None),
    ("AppcImage.name", None),
    ("AppcImage.image_id", None),
    ("DockerImage.name", None),
    ("DockerImage.tag", None),
    ("Volume.container_path", None),
    ("Volume.host_path", None),
    ("Volume.mode", None),
    ("ExecutorConfig.name", None),
    ("ExecutorConfig.data", None),
];

pub fn report(job: &EvaluatedJob, fields: &Fields, found: &mut Found) {
    for (name, why) in LEFTOVERS {
        let (Some(field), Some(why)) = (name.strip_prefix("Job."), why) else { continue };
        if fields.get(field).is_some_and(|value| *value != Value::Bool(false)) {
            found.warn(field, why);
        }
    }
    container(fields, found);
    let executor = fields.inner("executor_config");
    if executor.text("name") != "AuroraExecutor" || !executor.text("data").is_empty() {
        found.refuse("executor_config", "Dawn has one executor, its own; leave the field out");
    }
    references("", &job.tree, job, found);
}

fn container(fields: &Fields, found: &mut Found) {
    let container = fields.inner("container");
    let images = [
        ("docker.image", container.inner("docker").text("image")),
        ("image", container.text("image")),
        ("image.name", container.inner("image").text("name")),
    ];
    for (field, image) in images.iter().filter(|(_, image)| !image.is_empty()) {
        let message = format!("'{image}': {}", crate::NO_IMAGES);
        found.refuse(container.path_of(field), message);
    }
    if !container.items("volumes").is_empty() {
        found.refuse(container.path_of("volumes"), "Dawn mounts no volumes");
    }
}

/// Refuses every reference that stays open, but for those that the executor fills in where it does so.
fn references(path: &str, tree: &Value, job: &EvaluatedJob, found: &mut Found) {
    match tree {
        Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                references(&format!("{path}{dot}{field}"), value, job, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                references(&format!("{path}[{index}]"), item, job, found);
            }
        }
        Value::String(text) => {
            for unbound in &job.unbound {
                if text.contains(&format!("{{{{{}}}}}", unbound.reference)) {
                    open_reference(path, &unbound.reference, &unbound.searched(), found);
                }
            }
        }
        _ => {}
    }
}

fn open_reference(path: &str, reference: &str, searched: &str, found: &mut Found) {
    let is_agents = agents_name(reference).is_some() || Ref::parse(reference).as_ref().and_then(port_of).is_some();
    let filled_in = path.ends_with(".cmdline") || path.ends_with(".shell_command");
    if !is_agents {
        found.refuse(path, format!("{{{{{reference}}}}} is not bound; {searched}; --bind {reference}=… binds it"));
    } else if !filled_in && !path.starts_with("task_links") {
        found.refuse(path, format!("{{{{{reference}}}}} is known on the agent only; it can stand in commands"));
    }
}
