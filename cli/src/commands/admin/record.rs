//! Records of the journal as text and as JSON, by what the wire contract says of their fields: a record that is new to this
//! file is shown like any other.

use dawn_proto::v1;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use serde_json::json;

use crate::render::message::{decoded, json_of, object, word};
use crate::render::{safe, time};

/// Numbers that are told by what they stand for.
const TOLD: [&str; 3] = ["job_id", "task_id", "agent_no"];
/// A message inside a record that takes more than this as text is left out of it.
const MOST_CHARS: usize = 400;

/// The record's name and fields, whatever they are nested in. None: of a version that is not known here.
fn opened(record: &v1::Record) -> Option<(String, DynamicMessage)> {
    let mut message = decoded("Record", &record.encode_to_vec())?;
    let mut names = Vec::new();
    loop {
        // A message with one alternative set and nothing else is a step on the way to the record itself.
        let alternatives = message.descriptor().oneofs().any(|oneof| !oneof.is_synthetic());
        let next = message.fields().next().map(|(field, value)| (field.name().to_string(), value.clone()));
        match next {
            Some((name, Value::Message(inner))) if alternatives => {
                names.push(name);
                message = inner;
            }
            _ => return (!names.is_empty()).then(|| (names.join("."), message)),
        }
    }
}

/// One line: index, time, epoch, kind, what it is about, fields.
pub fn line(entry: &v1::JournalEntry) -> String {
    let at = time::rfc3339(entry.at_ms);
    let mut parts = vec![entry.index.to_string(), at.unwrap_or_else(|| "-".to_string()), format!("e{}", entry.epoch)];
    let opened = entry.record.as_ref().and_then(opened);
    parts.push(opened.as_ref().map_or("unknown".to_string(), |(name, _)| name.clone()));
    parts.extend((!entry.job.is_empty()).then(|| safe(&entry.job)));
    parts.extend(entry.task_id.map(|task| dawn_proto::TaskId(task).to_string()));
    parts.extend((!entry.agent_id.is_empty()).then(|| safe(&entry.agent_id)));
    if let Some((_, message)) = opened {
        for (field, value) in message.fields().filter(|(field, _)| !TOLD.contains(&field.name())) {
            let shown = text(&field, value);
            let shown = if shown.chars().count() > MOST_CHARS { "{…}".to_string() } else { shown };
            parts.push(format!("{}={shown}", field.name()));
        }
    }
    parts.join(" ")
}

/// The entry for programs.
pub fn value(entry: &v1::JournalEntry) -> serde_json::Value {
    let opened = entry.record.as_ref().and_then(opened);
    let fields = opened.as_ref().map_or(serde_json::Value::Null, |(_, message)| object(message));
    json!({
        "index": entry.index, "at": time::rfc3339(entry.at_ms), "epoch": entry.epoch,
        "kind": opened.map(|(name, _)| name), "job": text_or_null(&entry.job),
        "task": entry.task_id.map(|task| dawn_proto::TaskId(task).to_string()),
        "node": text_or_null(&entry.agent_id), "fields": fields,
    })
}

fn text_or_null(text: &str) -> serde_json::Value {
    if text.is_empty() { serde_json::Value::Null } else { text.into() }
}

fn text(field: &FieldDescriptor, value: &Value) -> String {
    match (value, field.kind()) {
        (Value::EnumNumber(number), Kind::Enum(descriptor)) => word(&descriptor, *number),
        (Value::String(text), _) => {
            let plain = !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"');
            if plain { text.clone() } else { format!("{text:?}") }
        }
        _ => json_of(field, value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(record: v1::record::Record) -> v1::JournalEntry {
        let record = Some(v1::Record { record: Some(record) });
        v1::JournalEntry { index: 7, epoch: 2, at_ms: 1_000, record, ..Default::default() }
    }

    #[test]
    fn a_record_is_a_line_with_its_subject_and_fields() {
        let moved = v1::TaskMoved {
            task_id: 5,
            to: v1::TaskState::Failed.into(),
            reason: v1::Reason::Exited.into(),
            message: "exit code 3\u{1b}".into(),
            ..Default::default()
        };
        let mut moved = entry(v1::record::Record::TaskMoved(moved));
        (moved.job, moved.task_id, moved.agent_id) = ("www/prod/web".into(), Some(5), "node-1".into());
        assert_eq!(
            line(&moved),
            "7 1970-01-01T00:00:01.000Z e2 task_moved www/prod/web t5 node-1 to=FAILED reason=EXITED \
             message=\"exit code 3\\u{1b}\""
        );
        let value = value(&moved);
        assert_eq!((&value["kind"], &value["fields"]["to"]), (&"task_moved".into(), &"failed".into()));
    }

    #[test]
    fn a_record_inside_another_is_named_by_both_and_a_long_field_is_left_out_of_the_line() {
        let restored = v1::restore_record::Record::Restored(v1::Restored { epoch: 9, ..Default::default() });
        let nested = v1::RestoreRecord { record: Some(restored) };
        let shown = line(&entry(v1::record::Record::Restore(nested)));
        assert_eq!(shown, "7 1970-01-01T00:00:01.000Z e2 restore.restored epoch=9");
        let key = Some(v1::JobKey { role: "r".repeat(500), ..Default::default() });
        let long = entry(v1::record::Record::JobMade(v1::JobMade { job_id: 1, key }));
        assert!(line(&long).ends_with("job_made key={…}"), "{}", line(&long));
        assert_eq!(value(&long)["fields"]["key"]["role"].as_str().unwrap().len(), 500);
        assert!(line(&v1::JournalEntry::default()).ends_with("unknown"));
    }
}
