//! Values as plain trees, for comparing, printing and sending. Not here: interpolation, which comes before.

use serde_json::{Map, Number, Value};

use super::{Node, Obj, Scalar, pytext};

/// The value as JSON: unset fields left out, map keys as text.
pub fn to_json(object: &Obj) -> Value {
    match &*object.node {
        Node::Leaf(_, scalar) => scalar_to_json(scalar),
        Node::List(_, items) => Value::Array(items.iter().map(to_json).collect()),
        Node::Map(_, pairs) => {
            Value::Object(pairs.iter().map(|(key, value)| (key_text(key), to_json(value))).collect())
        }
        Node::Struct(class, slots) => {
            let mut fields = Map::new();
            for (field, slot) in class.fields.iter().zip(slots) {
                if let Some(slot) = slot {
                    fields.insert(field.name.clone(), to_json(&slot.value));
                }
            }
            Value::Object(fields)
        }
        Node::Choice(_, options) => options.first().map_or(Value::Null, to_json),
    }
}

fn scalar_to_json(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Text(text) => Value::String(text.clone()),
        Scalar::Int(number) => Value::from(*number),
        Scalar::Float(number) => {
            Number::from_f64(*number).map_or_else(|| Value::String(pytext::float(*number)), Value::Number)
        }
        Scalar::Bool(value) => Value::Bool(*value),
    }
}

fn key_text(key: &Obj) -> String {
    match &*key.node {
        Node::Leaf(_, scalar) => scalar.text(),
        _ => to_json(key).to_string(),
    }
}

impl Scalar {
    /// As a template shows it.
    pub fn text(&self) -> String {
        match self {
            Scalar::Text(text) => text.clone(),
            Scalar::Int(number) => number.to_string(),
            Scalar::Float(number) => pytext::float(*number),
            Scalar::Bool(value) => pytext::boolean(*value).to_string(),
        }
    }
}
