//! The JSON Schema of job files in YAML and JSON, made from the options of the fields of a job: editors complete and check by it.
//! It is no stricter than reading (`read`, `value`) is; rules between several fields are not in it.

use dawn_proto::fields::{Default, FieldRules, Form, JOB_SPEC, Kind, MessageRules, Shape, Unit, messages};
use serde_json::{Map, Value, json};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

const SIZE: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*([KMGTP]iB|[kKMGTP]?B)?\s*$";
const DURATION: &str = r"^\s*(0|([0-9]+(\.[0-9]+)?\s*(d|h|ms|m|s)\s*)+)$";
const NUMBER: &str = r"^\s*[0-9]+(\.[0-9]{1,3})?\s*$";
const WHOLE: &str = r"^-?[0-9]+$";
const OCTAL: &str = r"^[0-7]+$";
const PERCENT: &str = r"^[0-9]+%*$";
const KEY: &str = r"^[a-z0-9A-Z_.-]{1,63}/[a-z0-9A-Z_.-]{1,63}/[a-z0-9A-Z_.-]{1,63}$";

/// The schema of one job; a file may have several as documents, or as items of a list.
pub fn json_schema() -> Value {
    let definitions: Map<String, Value> =
        messages().into_iter().map(|message| (message.name.to_string(), mapping(message))).collect();
    let job = reference(&JOB_SPEC);
    json!({
        "$schema": DIALECT,
        "title": "A job file of Dawn",
        "anyOf": [job, { "type": "array", "items": job }],
        "$defs": definitions,
    })
}

fn reference(message: &MessageRules) -> Value {
    json!({ "$ref": format!("#/$defs/{}", message.name) })
}

/// The mapping of a message.
fn mapping(message: &'static MessageRules) -> Value {
    let mut properties = Map::new();
    for name in message.names() {
        properties.insert(name.to_string(), property(message, name));
    }
    let fields = message.in_file();
    let is_needed = |field: &FieldRules| field.is_needed && field.choice.is_none();
    let needed = fields.iter().filter(|one| one.inline.is_none() && is_needed(one.field)).map(|one| one.field.file);
    // A job's key has a name of its own in files, and shorthands stand for what is needed.
    let needed: Vec<&str> =
        needed.filter(|name| fields.iter().filter(|one| one.field.file == *name).count() == 1).collect();
    json!({ "type": "object", "properties": properties, "required": needed, "additionalProperties": false })
}

/// What a name of a mapping may have: of two fields with one name, either.
fn property(message: &'static MessageRules, name: &str) -> Value {
    if let Some((_, doc)) = message.also.iter().find(|(also, _)| *also == name) {
        return json!({ "description": doc });
    }
    let fields: Vec<_> = message.in_file().into_iter().filter(|one| one.field.file == name).collect();
    let mut values: Vec<Value> = fields.iter().map(|one| shaped(one.field)).collect();
    let mut value = if values.len() == 1 { values.remove(0) } else { json!({ "anyOf": values }) };
    if let (Some(object), Some(first)) = (value.as_object_mut(), fields.first()) {
        if !first.field.doc.is_empty() {
            object.insert("description".to_string(), first.field.doc.into());
        }
        if let Some(default) = default(first.field) {
            object.insert("default".to_string(), default);
        }
    }
    value
}

fn shaped(field: &FieldRules) -> Value {
    let most = |mut value: Value, bound: &str| {
        if let (Some(most), Some(object)) = (field.max_items, value.as_object_mut()) {
            object.insert(bound.to_string(), most.into());
        }
        value
    };
    match field.shape {
        Shape::One => one(field),
        Shape::Table => most(json!({ "type": "object", "additionalProperties": one(field) }), "maxProperties"),
        Shape::List => {
            let single = field.single.and_then(|name| field.message()?.field(name)).map(one);
            let item = match single {
                Some(single) => json!({ "anyOf": [single, one(field)] }),
                None => one(field),
            };
            let list = most(json!({ "type": "array", "items": item }), "maxItems");
            // A list of texts or numbers may be a single one.
            let may_be_single = field.is_lone || field.message().is_none();
            if may_be_single { json!({ "anyOf": [item, list] }) } else { list }
        }
    }
}

/// One value.
fn one(field: &FieldRules) -> Value {
    match (field.kind, field.form) {
        (Kind::Message(message), _) => reference(message),
        (Kind::Opaque, Form::Key) => json!({ "type": "string", "pattern": KEY }),
        (Kind::Opaque, Form::Set) => json!({ "anyOf": [text(), { "type": "array", "items": text() }] }),
        (Kind::Opaque, _) | (Kind::Text, _) => text(),
        (Kind::Word(words), _) => json!({ "enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>() }),
        (Kind::YesNo, _) => match field.words {
            Some(words) => json!({ "enum": words }),
            None => json!({ "type": "boolean" }),
        },
        (Kind::U32 | Kind::U64 | Kind::I32, _) => number(field),
    }
}

/// Whatever YAML takes for something else than a text is read as it is written.
fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn number(field: &FieldRules) -> Value {
    let pattern = match field.unit {
        Unit::Size => SIZE,
        Unit::Duration => DURATION,
        Unit::Thousandths => NUMBER,
        Unit::Octal => OCTAL,
        Unit::Percent => PERCENT,
        Unit::None => WHOLE,
    };
    let kind = if field.unit == Unit::Thousandths { "number" } else { "integer" };
    let mut value = json!({ "type": [kind, "string"], "pattern": pattern });
    // Bounds are those of the stored amount; of amounts with a unit a file has another number.
    if let (Unit::None | Unit::Percent, Some(object)) = (field.unit, value.as_object_mut()) {
        let least = field.min.or_else(|| (!matches!(field.kind, Kind::I32)).then_some(0));
        for (name, bound) in [("minimum", least), ("maximum", field.max)] {
            if let Some(bound) = bound {
                object.insert(name.to_string(), bound.into());
            }
        }
    }
    value
}

/// What holds without the field, as a file would say it, where that is one value.
fn default(field: &FieldRules) -> Option<Value> {
    match (field.default, field.kind, field.unit) {
        _ if field.is_default_conditional || field.shape != Shape::One => None,
        (Default::Text(text), ..) => Some(text.into()),
        (Default::Number(number), Kind::Word(words), _) => {
            words.iter().find(|(_, known)| i64::from(*known) == number).map(|(word, _)| (*word).into())
        }
        (Default::Number(number), _, Unit::Size) => Some(super::units::show_size(number.unsigned_abs()).into()),
        (Default::Number(number), _, Unit::Duration) => Some(super::units::show_duration(number.unsigned_abs()).into()),
        (Default::Number(number), _, Unit::Thousandths) => Some((number as f64 / 1_000.0).into()),
        (Default::Number(number), _, Unit::None | Unit::Percent) => Some(number.into()),
        (Default::Number(_), _, Unit::Octal) | (Default::None, ..) => None,
    }
}

#[cfg(test)]
mod tests;
