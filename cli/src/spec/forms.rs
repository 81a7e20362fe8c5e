//! Names in job files that are shorthands for other fields, such as `run`. Not here: the fields themselves.

use dawn_proto::fields::{MessageRules, PROCESS_SPEC};
use dawn_proto::v1::{self, constraint::Rule};
use prost_reflect::{DynamicMessage, Value};

use super::decode::{Fields, Place, Reader};
use super::node::{self, Node};
use crate::render::message;

/// What a mapping is that does not say a message by its fields.
pub fn instead(r: &mut Reader, node: &Node, f: &Fields, rules: &'static MessageRules) -> Option<DynamicMessage> {
    if rules.name != "Constraint" || !f.has("distinct_hosts") {
        return None;
    }
    if rules.names().filter(|name| f.has(name)).count() > 1 {
        r.wrong(node.at, &f.place.file, "`distinct_hosts: true` stands alone; it is a limit of 1 on `host`");
    } else if !f.flag(r, "distinct_hosts", "limit") {
        r.wrong(node.at, &f.place.file, "`distinct_hosts` can only be true; leave it out otherwise");
    }
    let rule = v1::Constraint { attribute: "host".to_string(), rule: Some(Rule::Limit(1)) };
    message::decoded(rules.name, &prost::Message::encode_to_vec(&rule))
}

/// What a mapping says beside the fields of its message.
pub fn beside(r: &mut Reader, node: &Node, f: &Fields, rules: &MessageRules, message: &mut DynamicMessage) {
    match rules.name {
        "JobSpec" if !f.has("job") => {
            let place = f.place.field("job", "key");
            r.wrong(node.at, &place.file, "is missing; a job needs its key: role/env/name");
        }
        "TaskSpec" => {
            if let Some(process) = only_process(r, f) {
                let processes = Value::List(vec![Value::Message(process)]);
                // The field is a list of these.
                message.try_set_field_by_name("processes", processes).unwrap_or_default();
            }
        }
        _ => {}
    }
}

/// The short form: one `run` at the top is the process `main`.
fn only_process(r: &mut Reader, f: &Fields) -> Option<DynamicMessage> {
    let (node, place) = f.take(r, "run", "processes[0]")?;
    if f.has("processes") {
        r.wrong(node.at, &place.file, "is the short form for a single process; give it or `processes`");
    }
    let is_list = matches!(node.value, node::Value::List(_));
    let command = if is_list { "argv" } else { "shell" };
    let place = Place { spec: format!("{}.{command}", place.spec), ..place };
    r.remember(&place, node.at);
    let value = if is_list {
        Value::List(r.texts(node, &place).into_iter().map(Value::String).collect())
    } else {
        Value::String(r.text(node, &place).unwrap_or_default().to_string())
    };
    let mut process = message::empty(PROCESS_SPEC.name)?;
    process.try_set_field_by_name("name", Value::String("main".to_string())).ok()?;
    process.try_set_field_by_name(command, value).ok()?;
    Some(process)
}
