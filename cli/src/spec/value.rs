//! Single values, lists and tables of them, as the rules of a field say. Not here: mappings.

use dawn_proto::JobKey;
use dawn_proto::fields::{FieldRules, Form, Kind, Shape, Unit};
use dawn_proto::v1::{self, Comparison};
use prost::Message;
use prost_reflect::{MapKey, Value};

use super::decode::{Fields, Place, Reader, one_of};
use super::node::Node;
use super::units;
use crate::render::{message, safe};

const BAD_KEY: &str = "is no job key; write role/env/name, each 1-63 characters of a-z A-Z 0-9 _ . -";

/// Reads what a field of a mapping has; `f` is the mapping, `node` the field's value.
pub fn read(r: &mut Reader, f: &Fields, node: &Node, place: Place, field: &FieldRules) -> Option<Value> {
    match (field.shape, field.form) {
        (Shape::Table, _) => Some(table(r, f, field)),
        (Shape::List, _) => Some(Value::List(list(r, node, &place, field))),
        (Shape::One, Form::Set) => {
            let place = Place { spec: format!("{}.values", place.spec), ..place };
            encoded("ValueSet", &v1::ValueSet { values: r.texts(node, &place) })
        }
        (Shape::One, _) if matches!(field.kind, Kind::YesNo) && field.words.is_none() => {
            Some(Value::Bool(f.flag(r, field.file, field.name) != field.is_inverted))
        }
        (Shape::One, _) if matches!(field.kind, Kind::Text) => {
            r.text(node, &place).map(|text| Value::String(text.into()))
        }
        (Shape::One, _) => parsed(r, node, &place, |text| value(field, text)),
    }
}

/// A value that stands for a whole mapping.
pub fn alone(r: &mut Reader, node: &Node, place: &Place, field: &FieldRules) -> Option<Value> {
    let text = r.text(node, place)?;
    match value(field, text) {
        Ok(value) => Some(value),
        Err(message) => {
            r.wrong(node.at, &place.file, message);
            None
        }
    }
}

fn parsed<T>(r: &mut Reader, node: &Node, place: &Place, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    let text = r.text(node, place)?;
    match parse(text) {
        Ok(value) => Some(value),
        Err(message) => {
            r.wrong(node.at, &place.file, format!("`{}` {message}", safe(text)));
            None
        }
    }
}

fn list(r: &mut Reader, node: &Node, place: &Place, field: &FieldRules) -> Vec<Value> {
    let texts = r.single_or_items(node, place);
    let values = texts.into_iter().filter_map(|(node, place)| match field.kind {
        Kind::Text => r.text(node, &place).map(|text| Value::String(text.into())),
        _ => parsed(r, node, &place, |text| number(field, text)),
    });
    values.collect()
}

fn table(r: &mut Reader, f: &Fields, field: &FieldRules) -> Value {
    let mut values = std::collections::HashMap::new();
    for (name, node, place) in f.entries(r, field.file, field.name) {
        let value = match field.kind {
            Kind::Text => r.text(node, &place).map(|text| Value::String(text.into())),
            _ => parsed(r, node, &place, |text| number(field, text)),
        };
        values.extend(value.map(|value| (MapKey::String(name.to_string()), value)));
    }
    Value::Map(values)
}

/// What a text says of a field that is one value.
fn value(field: &FieldRules, text: &str) -> Result<Value, String> {
    match (field.kind, field.form) {
        (Kind::Text, _) => Ok(Value::String(text.into())),
        (Kind::Word(words), _) => one_of(text, words).map(Value::EnumNumber),
        (Kind::YesNo, _) => {
            let [no, yes] = field.words.unwrap_or(["false", "true"]);
            one_of(text, &[(no, false), (yes, true)]).map(Value::Bool)
        }
        (Kind::Opaque, Form::Key) => {
            let key = text.parse::<JobKey>().map_err(|_| BAD_KEY.to_string())?;
            encoded("JobKey", &v1::JobKey::from(&key)).ok_or_else(|| BAD_KEY.to_string())
        }
        (Kind::Opaque, _) => {
            let nothing = || "compares with nothing; write \">= 4\"".to_string();
            encoded("Compare", &compare(text).ok_or_else(nothing)?).ok_or_else(nothing)
        }
        _ => match number(field, text)? {
            Value::U32(0) | Value::U64(0) if !field.is_zero_a_value => {
                Err("must be above zero; leave it out for the default".to_string())
            }
            number => Ok(number),
        },
    }
}

fn number(field: &FieldRules, text: &str) -> Result<Value, String> {
    let amount = match field.unit {
        Unit::Size => units::size(text)?,
        Unit::Duration => units::duration(text)?,
        Unit::Thousandths => units::milli(text)?,
        Unit::Octal => u64::from_str_radix(text, 8)
            .map_err(|_| "is no mode; write octal digits in quotes, as in \"0755\"".to_string())?,
        Unit::Percent => text.trim_end_matches('%').parse().map_err(|_| "is no percentage".to_string())?,
        Unit::None if matches!(field.kind, Kind::I32) => {
            return text.parse().map(Value::I32).map_err(|_| "is no whole number".to_string());
        }
        Unit::None => text.parse().map_err(|_| TOO_LARGE.to_string())?,
    };
    match field.kind {
        Kind::U32 => u32::try_from(amount).map(Value::U32).map_err(|_| TOO_LARGE.to_string()),
        _ => Ok(Value::U64(amount)),
    }
}

const TOO_LARGE: &str = "is no whole number from 0 on, or is too large";

/// A number as a field holds it.
pub fn of_number(field: &FieldRules, number: i64) -> Option<Value> {
    match field.kind {
        Kind::U32 => u32::try_from(number).ok().map(Value::U32),
        Kind::U64 => u64::try_from(number).ok().map(Value::U64),
        Kind::I32 => i32::try_from(number).ok().map(Value::I32),
        Kind::Word(_) => i32::try_from(number).ok().map(Value::EnumNumber),
        Kind::YesNo | Kind::Text | Kind::Message(_) | Kind::Opaque => None,
    }
}

fn encoded(name: &str, message: &impl Message) -> Option<Value> {
    message::decoded(name, &message.encode_to_vec()).map(Value::Message)
}

/// Longest first, so that none hides another.
pub const COMPARISONS: [(&str, Comparison); 5] = [
    (">=", Comparison::GreaterOrEqual),
    ("<=", Comparison::LessOrEqual),
    ("==", Comparison::Equal),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
];

/// ">= 4"; a value alone is compared for equality.
fn compare(text: &str) -> Option<v1::Compare> {
    let text = text.trim();
    let found = COMPARISONS.iter().find_map(|(sign, op)| Some((*op, text.strip_prefix(sign)?)));
    let (op, value) = found.unwrap_or((Comparison::Equal, text));
    let value = value.trim();
    (!value.is_empty()).then(|| v1::Compare { op: op.into(), value: value.to_string() })
}
