//! A spec as the job file that would make it, in YAML or JSON, as the options of its fields say: what it writes reads back as
//! the same spec.

mod emit;

use dawn_proto::fields::{FieldRules, Form, JOB_SPEC, Kind, MessageRules, Shape, Unit};
use dawn_proto::v1;
use prost::Message;
use prost_reflect::{DynamicMessage, MapKey, ReflectMessage};
use serde_json::{Number, Value};

use super::units::{show_duration, show_milli, show_size};
use super::value::COMPARISONS;
use crate::render::message;

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

fn out(spec: &v1::JobSpec) -> Fields {
    let message = message::decoded(JOB_SPEC.name, &spec.encode_to_vec());
    message.map(|message| mapping(&message, &JOB_SPEC)).unwrap_or_default()
}

fn mapping(message: &DynamicMessage, rules: &'static MessageRules) -> Fields {
    let mut said = Fields::default();
    for one in rules.in_file() {
        let field = one.field;
        let out = match one.inline {
            None => out_of(message, field),
            // Of a message that is not there nothing is said.
            Some(inline) => inner(message, inline).and_then(|inner| out_of(&inner, field)),
        };
        said.0.extend(out.map(|out| (field.file, out)));
    }
    said
}

/// A field that is a message, where it is there.
fn inner(message: &DynamicMessage, field: &FieldRules) -> Option<DynamicMessage> {
    let descriptor = message.descriptor().get_field(field.number)?;
    message.has_field(&descriptor).then(|| message.get_field(&descriptor).as_message().cloned()).flatten()
}

/// What a field says. None: nothing, which is what leaving it out says too.
fn out_of(message: &DynamicMessage, field: &'static FieldRules) -> Option<Out> {
    let descriptor = message.descriptor().get_field(field.number)?;
    let is_unless = field.default_unless.and_then(|other| message.get_field_by_name(other)?.as_bool()) == Some(true);
    // Left out, such a field would be its default.
    let is_default_other = field.has_default_in_files() && !is_unless;
    if !message.has_field(&descriptor) && !is_default_other {
        return None;
    }
    let value = message.get_field(&descriptor);
    match field.shape {
        Shape::One => one(&value, field),
        Shape::List => {
            let items = value.as_list()?;
            match field.message() {
                Some(rules) => {
                    Some(Out::List(items.iter().filter_map(|item| self::item(item, field, rules)).collect()))
                }
                None => Some(Out::Row(items.iter().filter_map(|item| scalar(item, field)).collect())),
            }
        }
        Shape::Table => {
            let mut entries: Vec<(&MapKey, &prost_reflect::Value)> = value.as_map()?.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            let entry = |(name, value): (&MapKey, &prost_reflect::Value)| {
                Some((name.as_str()?.to_string(), scalar(value, field)?))
            };
            Some(Out::Table(entries.into_iter().filter_map(entry).collect()))
        }
    }
}

fn one(value: &prost_reflect::Value, field: &'static FieldRules) -> Option<Out> {
    match (field.message(), field.form) {
        (Some(rules), _) => Some(Out::Map(mapping(value.as_message()?, rules))),
        (None, Form::Set) => {
            let values = value.as_message()?.get_field_by_name("values")?;
            Some(Out::Row(values.as_list()?.iter().filter_map(|value| Some(value.as_str()?.into())).collect()))
        }
        _ => scalar(value, field).map(Out::One),
    }
}

/// An item of a list of messages: the value that stands for it where nothing else is said.
fn item(value: &prost_reflect::Value, field: &FieldRules, rules: &'static MessageRules) -> Option<Out> {
    let Fields(mut said) = mapping(value.as_message()?, rules);
    let single = field.single.and_then(|name| rules.field(name));
    match (single, said.as_slice()) {
        (Some(single), [(name, _)]) if *name == single.file => said.pop().map(|(_, out)| out),
        _ => Some(Out::Map(Fields(said))),
    }
}

/// One value as text, number or yes and no.
fn scalar(value: &prost_reflect::Value, field: &FieldRules) -> Option<Value> {
    match (field.kind, field.form) {
        (Kind::YesNo, _) => {
            let is_set = value.as_bool()?;
            Some(
                field.words.map_or(Value::Bool(is_set != field.is_inverted), |words| words[usize::from(is_set)].into()),
            )
        }
        (Kind::Text, _) => value.as_str().filter(|text| !text.is_empty() || field.shape != Shape::One).map(Value::from),
        (Kind::I32, _) => value.as_i32().map(Value::from),
        (Kind::U32 | Kind::U64, _) => {
            number(value.as_u64().or_else(|| value.as_u32().map(u64::from))?, field.unit).into()
        }
        (Kind::Word(words), _) => {
            let number = value.as_enum_number()?;
            words.iter().find(|(_, known)| *known == number).map(|(word, _)| (*word).into())
        }
        (Kind::Opaque, Form::Comparison) => {
            let compare: v1::Compare = value.as_message()?.transcode_to().ok()?;
            let sign = COMPARISONS.iter().find(|(_, op)| *op == compare.op()).map_or("==", |(sign, _)| sign);
            Some(format!("{sign} {}", compare.value).into())
        }
        (Kind::Opaque, _) => {
            let key: v1::JobKey = value.as_message()?.transcode_to().ok()?;
            Some(format!("{}/{}/{}", key.role, key.env, key.name).into())
        }
        (Kind::Message(_), _) => None,
    }
}

fn number(number: u64, unit: Unit) -> Value {
    match unit {
        Unit::None | Unit::Percent => number.into(),
        Unit::Size => show_size(number).into(),
        Unit::Duration => show_duration(number).into(),
        Unit::Octal => format!("{number:04o}").into(),
        Unit::Thousandths => {
            let shown = show_milli(number);
            serde_json::from_str::<Number>(&shown).map_or(Value::String(shown), Value::Number)
        }
    }
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
