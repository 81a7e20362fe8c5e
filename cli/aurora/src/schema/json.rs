//! The schema of a job as JSON Schema, for editors. Not here: checking values against it.

use serde_json::{Map, Value, json};

use super::{StructType, Type};
use crate::errors::ConfigError;
use crate::language::{Instance, prelude};
use crate::value::tree;

/// The JSON Schema of a list of jobs in Aurora's vocabulary.
///
/// # Errors
/// Only if the vocabulary itself can't be read.
pub fn json_schema() -> Result<Value, ConfigError> {
    let mut definitions = Map::new();
    let job = prelude()?
        .get("Service")
        .ok()
        .and_then(|service| Some(Instance::from_value(service.value())?.object().class()));
    let items = job.map_or(Value::Bool(true), |class| schema(&class, &mut definitions));
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Jobs in Aurora's vocabulary",
        "type": "array",
        "items": items,
        "$defs": definitions,
    }))
}

fn schema(class: &Type, definitions: &mut Map<String, Value>) -> Value {
    match class {
        Type::String => json!({ "type": "string" }),
        Type::Integer => json!({ "type": ["integer", "string"] }),
        Type::Float => json!({ "type": ["number", "string"] }),
        Type::Boolean => json!({ "type": ["boolean", "string"] }),
        Type::Enum(class) => json!({ "enum": class.values }),
        Type::List(item) => json!({ "type": "array", "items": schema(item, definitions) }),
        Type::Map(pair) => json!({ "type": "object", "additionalProperties": schema(&pair.1, definitions) }),
        Type::Choice(class) => {
            json!({ "anyOf": class.options.iter().map(|option| schema(option, definitions)).collect::<Vec<_>>() })
        }
        Type::Struct(class) => {
            if !definitions.contains_key(&class.name) {
                definitions.insert(class.name.clone(), Value::Null);
                let definition = object(class, definitions);
                definitions.insert(class.name.clone(), definition);
            }
            json!({ "$ref": format!("#/$defs/{}", class.name) })
        }
    }
}

fn object(class: &StructType, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in &class.fields {
        let mut property = schema(&field.signature.class, definitions);
        if let (Some(default), Value::Object(property)) = (&field.signature.default, &mut property) {
            property.insert("default".into(), tree::to_json(default));
        }
        properties.insert(field.name.clone(), property);
    }
    let required: Vec<&str> =
        class.fields.iter().filter(|field| field.signature.required).map(|field| field.name.as_str()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
