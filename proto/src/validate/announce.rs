//! Rules for what a job announces: names for ports that its tasks have.

use super::{Errors, text};
use crate::v1::{JobSpec, PortSpec};

pub(super) fn check(spec: &JobSpec, errors: &mut Errors) {
    let Some(announce) = &spec.announce else { return };
    let ports: &[PortSpec] = spec.task.as_ref().map_or(&[], |task| &task.ports);
    if !announce.primary_port.is_empty() {
        known("announce.primary_port", &announce.primary_port, ports, errors);
    } else if ports.len() != 1 {
        let message = format!("is missing; the task has {} ports, so say which one is meant", ports.len());
        errors.at("announce.primary_port", message);
    }
    if errors.refuses("announce.aliases") {
        return;
    }
    for (alias, port) in &announce.aliases {
        let path = format!("announce.aliases.{alias}");
        if !text::name(&path, "a port", alias, errors) {
            continue;
        }
        if ports.iter().any(|one| one.name == *alias) {
            errors.at(path, format!("`{alias}` is a port's own name already"));
        } else {
            known(&path, port, ports, errors);
        }
    }
}

fn known(path: &str, name: &str, ports: &[PortSpec], errors: &mut Errors) {
    if !ports.iter().any(|port| port.name == name) {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        let have = if names.is_empty() { "no ports".to_string() } else { names.join(", ") };
        errors.at(path, format!("`{name}` is none of the task's ports; it has {have}"));
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{Announce, JobSpec, PortSpec, ProcessSpec, TaskSpec};

    fn wrong(ports: &[&str], primary: &str, aliases: &[(&str, &str)]) -> Vec<String> {
        let ports = ports.iter().map(|name| PortSpec { name: name.to_string(), fixed: 0 }).collect();
        let aliases = aliases.iter().map(|(alias, port)| (alias.to_string(), port.to_string())).collect();
        let spec = JobSpec {
            task: Some(TaskSpec { ports, processes: vec![ProcessSpec::default()], ..Default::default() }),
            announce: Some(Announce { primary_port: primary.into(), aliases }),
            ..Default::default()
        };
        let mut errors = super::Errors(Vec::new());
        super::check(&spec, &mut errors);
        errors.0.into_iter().map(|error| error.path).collect()
    }

    #[test]
    fn what_is_announced_is_there() {
        assert!(wrong(&["http"], "", &[]).is_empty());
        assert!(wrong(&["http", "admin"], "http", &[("aurora", "admin")]).is_empty());
        assert_eq!(wrong(&["http", "admin"], "", &[]), ["announce.primary_port"]);
        assert_eq!(wrong(&[], "", &[]), ["announce.primary_port"]);
        assert_eq!(wrong(&["http"], "htpt", &[]), ["announce.primary_port"]);
        assert_eq!(wrong(&["http"], "http", &[("a", "b")]), ["announce.aliases.a"]);
        assert_eq!(wrong(&["http"], "http", &[("http", "http")]), ["announce.aliases.http"]);
        assert_eq!(wrong(&["http"], "http", &[("a b", "http")]), ["announce.aliases.a b"]);
    }
}
