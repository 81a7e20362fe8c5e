//! Reads mappings of a job file into messages of the contract, as the options of their fields say. Not here: values
//! (`value`), what stands for something else (`forms`).

use dawn_proto::fields::{Default, FieldRules, Form, JOB_SPEC, Kind, MessageRules, Shape};
use dawn_proto::v1;
use prost_reflect::{DynamicMessage, Value};

use super::decode::{Fields, Place, Reader};
use super::node::{self, Node};
use super::{forms, value};
use crate::render::message;

/// Reads one job; what is wrong is in the reader afterwards. `path` is what to call it in messages.
pub fn job(r: &mut Reader, node: &Node, path: &str) -> Option<v1::JobSpec> {
    let place = Place { file: path.to_string(), spec: String::new() };
    mapping(r, node, place, &JOB_SPEC)?.transcode_to().ok()
}

/// A message that stands in a mapping of its own.
pub fn mapping(r: &mut Reader, node: &Node, place: Place, rules: &'static MessageRules) -> Option<DynamicMessage> {
    let names: Vec<&str> = rules.names().collect();
    let f = r.fields(node, place, &names)?;
    fields(r, node, &f, rules)
}

/// The fields of a message among those of a mapping.
fn fields(r: &mut Reader, node: &Node, f: &Fields, rules: &'static MessageRules) -> Option<DynamicMessage> {
    if let Some(instead) = forms::instead(r, node, f, rules) {
        return Some(instead);
    }
    choices(r, node, f, rules);
    let mut message = message::empty(rules.name)?;
    for field in rules.fields.iter().copied() {
        let value = match (field.form, field.message()) {
            (Form::Inline, Some(inner)) => {
                let is_said = field.choice.is_none() || is_given(f, field);
                is_said.then(|| inline(r, node, f, field, inner)).flatten()
            }
            _ => one(r, f, field, rules),
        };
        if let Some(value) = value {
            message.try_set_field_by_number(field.number, value).ok()?;
        }
    }
    forms::beside(r, node, f, rules, &mut message);
    fill_in(&mut message, rules, |field| f.has(field.file));
    Some(message)
}

/// A message whose fields stand in the mapping of another one.
fn inline(r: &mut Reader, node: &Node, f: &Fields, field: &FieldRules, inner: &'static MessageRules) -> Option<Value> {
    let f = f.within(field.name);
    r.remember(&f.place, node.at);
    fields(r, node, &f, inner).map(Value::Message)
}

fn one(r: &mut Reader, f: &Fields, field: &'static FieldRules, rules: &MessageRules) -> Option<Value> {
    let is_list = matches!(f.peek(field.file)?.value, node::Value::List(_));
    // Of two fields with one name, a list is the one that is a list.
    let is_shared = rules.fields.iter().any(|other| other.file == field.file && other.number != field.number);
    if is_shared && is_list != (field.shape == Shape::List) {
        return None;
    }
    let (node, place) = f.take(r, field.file, field.name)?;
    match (field.shape, field.message()) {
        (Shape::One, Some(inner)) => {
            if let Some(hint) = short_hint(node, field, inner) {
                r.wrong(node.at, &place.file, hint);
                return None;
            }
            mapping(r, node, place, inner).map(Value::Message)
        }
        (Shape::List, Some(inner)) => Some(Value::List(messages(r, node, &place, field, inner))),
        _ => value::read(r, f, node, place, field),
    }
}

/// What to write instead of a single value.
fn short_hint(node: &Node, field: &FieldRules, inner: &MessageRules) -> Option<String> {
    let node::Value::Scalar { text, .. } = &node.value else { return None };
    let first = inner.fields.first().filter(|first| first.is_needed && matches!(first.kind, Kind::Text))?;
    let write = format!("{}: {{ {}: \"{}\" }}", field.file, first.file, crate::render::safe(text));
    Some(format!("is a single value; a mapping of fields belongs here; write {write}"))
}

fn messages(
    r: &mut Reader,
    node: &Node,
    place: &Place,
    field: &FieldRules,
    inner: &'static MessageRules,
) -> Vec<Value> {
    if field.is_lone && !matches!(node.value, node::Value::List(_) | node::Value::Null) {
        return item(r, node, place.item(0), field, inner).into_iter().collect();
    }
    let items = r.items(node, place).iter().enumerate();
    items.filter_map(|(i, node)| item(r, node, place.item(i), field, inner)).collect()
}

fn item(r: &mut Reader, node: &Node, place: Place, field: &FieldRules, inner: &'static MessageRules) -> Option<Value> {
    let single = field.single.and_then(|name| inner.field(name));
    let Some(single) = single.filter(|_| !matches!(node.value, node::Value::Map(_))) else {
        return mapping(r, node, place, inner).map(Value::Message);
    };
    r.remember(&place, node.at);
    let value = value::alone(r, node, &place, single)?;
    let mut message = message::empty(inner.name)?;
    message.try_set_field_by_number(single.number, value).ok()?;
    fill_in(&mut message, inner, |field| field.number == single.number);
    Some(Value::Message(message))
}

/// Defaults of fields whose zero is a value: where the file leaves the field out, and only there.
fn fill_in(message: &mut DynamicMessage, rules: &MessageRules, is_said: impl Fn(&FieldRules) -> bool) {
    for field in rules.fields.iter().filter(|field| field.has_default_in_files() && !is_said(field)) {
        let other = field.default_unless.and_then(|other| message.get_field_by_name(other)?.as_bool());
        let Default::Number(default @ 1..) = field.default else { continue };
        if other != Some(true)
            && let Some(value) = value::of_number(field, default)
        {
            // The kind of value is that of the field's own rules.
            message.try_set_field_by_number(field.number, value).unwrap_or_default();
        }
    }
}

/// Whether a mapping has a field, or one of those that stand in it for the field.
fn is_given(f: &Fields, field: &FieldRules) -> bool {
    match (field.form, field.message()) {
        (Form::Inline, Some(inner)) => {
            inner.fields.iter().any(|inner| f.has(inner.file) && !field.without.contains(&inner.file))
        }
        _ => f.has(field.file),
    }
}

/// Says of which choice a mapping has two.
fn choices(r: &mut Reader, node: &Node, f: &Fields, rules: &MessageRules) {
    for choice in rules.choices {
        let of = |field: &&&FieldRules| field.choice == Some(choice.name) && is_given(f, field);
        let mut given = rules.fields.iter().filter(of).map(|field| field.file);
        let (Some(first), Some(second)) = (given.next(), given.next()) else { continue };
        let message = choice.twice.replace("{first}", first).replace("{second}", second);
        let names_one = choice.twice.contains("{first}") && !choice.twice.contains("{second}");
        match f.peek(second).filter(|_| names_one) {
            Some(node) => r.wrong(node.at, &f.place.field(second, second).file, message),
            None => r.wrong(node.at, &f.place.file, message),
        }
    }
}
