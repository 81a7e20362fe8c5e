//! The ports of a task, found by the references to them, and references in Dawn's own form.
//! Not here: health checks and announcing, which only name ports.

use std::collections::{BTreeMap, BTreeSet};

use dawn_proto::v1;

use super::Found;
use super::fields::Fields;
use crate::evaluate::EvaluatedJob;
use crate::template::reference::{Ref, Step};

/// A task's ports and their other names.
#[derive(Debug, Default)]
pub struct Ports {
    names: BTreeSet<String>,
    fixed: BTreeMap<String, u16>,
    /// By name: the name it stands for, after every step.
    aliases: BTreeMap<String, String>,
}

impl Ports {
    /// Ports that commands refer to, and those an announcement needs.
    pub fn discover(job: &EvaluatedJob, fields: &Fields, found: &mut Found) -> Ports {
        let mut ports = Ports::default();
        let announce = fields.inner("announce");
        let portmap: BTreeMap<&str, &str> = announce.entries("portmap").into_iter().collect();
        // A number first under the names that have it themselves: those that lead to such a name stand for it.
        let is_number = |target: &str| target.parse::<u16>().is_ok();
        for numbers in [true, false] {
            for (name, target) in portmap.iter().filter(|(_, target)| is_number(target) == numbers) {
                ports.add_alias(name, target, &portmap, found);
            }
        }
        for unbound in &job.unbound {
            if let Some(name) = Ref::parse(&unbound.reference).as_ref().and_then(port_of) {
                ports.names.insert(ports.resolve(name).to_string());
            }
        }
        if announce.is_set() {
            let primary = ports.resolve(announce.text("primary_port")).to_string();
            ports.names.insert(primary);
        }
        ports.names.retain(|name| !name.is_empty());
        ports
    }

    fn add_alias(&mut self, name: &str, target: &str, portmap: &BTreeMap<&str, &str>, found: &mut Found) {
        let mut end = target;
        for _ in 0..=portmap.len() {
            if let Ok(number) = end.parse::<u16>() {
                let same = self.fixed.iter().find(|(_, fixed)| **fixed == number).map(|(same, _)| same.clone());
                if let Some(same) = same {
                    self.aliases.insert(name.to_string(), same);
                    return;
                }
                self.fixed.insert(name.to_string(), number);
                self.names.insert(name.to_string());
                return;
            }
            match portmap.get(end) {
                Some(next) if *next != end => end = next,
                _ => {
                    self.names.insert(end.to_string());
                    if end != name {
                        self.aliases.insert(name.to_string(), end.to_string());
                    }
                    return;
                }
            }
        }
        found.refuse("announce.portmap", format!("'{name}' leads back to itself"));
    }

    /// The port that a name stands for.
    pub fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// The port a name stands for, if the task has it.
    pub fn known(&self, name: &str) -> Option<&str> {
        self.names.get(self.resolve(name)).map(String::as_str)
    }

    /// What the announcement says of them.
    pub fn announced(&self, fields: &Fields) -> Option<v1::Announce> {
        let announce = fields.inner("announce");
        let primary_port = self.resolve(announce.text("primary_port")).to_string();
        let aliases = self.aliases.keys().map(|alias| (alias.clone(), self.resolve(alias).to_string())).collect();
        announce.is_set().then_some(v1::Announce { primary_port, aliases })
    }

    pub fn specs(&self) -> Vec<v1::PortSpec> {
        let fixed = |name: &str| self.fixed.get(name).copied().unwrap_or(0).into();
        self.names.iter().map(|name| v1::PortSpec { name: name.clone(), fixed: fixed(name) }).collect()
    }

    /// Text for the executor: Aurora's references as Dawn writes them, `{{port:http}}` and `{{instance}}`.
    pub fn translate(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            let (before, tail) = rest.split_at(open);
            out.push_str(before);
            let reference = tail.find("}}").and_then(|close| Some((self.translated(&tail[2..close])?, close + 2)));
            match reference {
                Some((ours, length)) => {
                    out.push_str(&ours);
                    rest = &tail[length..];
                }
                None => {
                    out.push('{');
                    rest = &tail[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn translated(&self, reference: &str) -> Option<String> {
        let parsed = Ref::parse(reference)?;
        match port_of(&parsed) {
            Some(name) => Some(format!("{{{{port:{}}}}}", self.resolve(name))),
            None => agents_name(reference).map(str::to_string),
        }
    }
}

/// `http` of `thermos.ports[http]`.
pub fn port_of(reference: &Ref) -> Option<&str> {
    match reference.0.as_slice() {
        [Step::Field(thermos), Step::Field(ports), Step::Index(name)] if thermos == "thermos" && ports == "ports" => {
            Some(name)
        }
        _ => None,
    }
}

/// What the executor fills in, as Dawn writes it.
pub fn agents_name(reference: &str) -> Option<&'static str> {
    match reference {
        "mesos.instance" => Some("{{instance}}"),
        "mesos.hostname" => Some("{{hostname}}"),
        "thermos.task_id" => Some("{{task_id}}"),
        _ => None,
    }
}
