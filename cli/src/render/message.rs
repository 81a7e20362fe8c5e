//! Any message of the wire contract as JSON, by what the contract says of its fields: names and words as they are there.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, Value};

static POOL: LazyLock<DescriptorPool> =
    // invariant: the build that wrote the descriptors wrote them whole.
    LazyLock::new(|| DescriptorPool::decode(dawn_proto::DESCRIPTORS).unwrap_or_default());

/// A message without fields, by its name. None: there is no message of that name.
pub fn empty(name: &str) -> Option<DynamicMessage> {
    POOL.get_message_by_name(&format!("dawn.v1.{name}")).map(DynamicMessage::new)
}

/// A message by its name ("Record") and bytes. None: it is none of those that are known here.
pub fn decoded(name: &str, bytes: &[u8]) -> Option<DynamicMessage> {
    let descriptor = POOL.get_message_by_name(&format!("dawn.v1.{name}"))?;
    DynamicMessage::decode(descriptor, bytes).ok()
}

/// The plain name of an enumeration's value, `RUNNING`. A number that is not known here stays a number.
pub fn word(descriptor: &EnumDescriptor, number: i32) -> String {
    match descriptor.get_value(number) {
        Some(value) => dawn_proto::names::plain(descriptor.name(), value.name()).to_string(),
        None => number.to_string(),
    }
}

/// A message's fields that are set.
pub fn object(message: &DynamicMessage) -> serde_json::Value {
    let fields = message.fields().map(|(field, value)| (field.name().to_string(), json_of(&field, value)));
    serde_json::Value::Object(fields.collect())
}

/// One field's value.
pub fn json_of(field: &FieldDescriptor, value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(yes) => (*yes).into(),
        Value::I32(number) => (*number).into(),
        Value::I64(number) => (*number).into(),
        Value::U32(number) => (*number).into(),
        Value::U64(number) => (*number).into(),
        Value::F32(number) => f64::from(*number).into(),
        Value::F64(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        Value::EnumNumber(number) => match field.kind() {
            Kind::Enum(descriptor) => word(&descriptor, *number).to_lowercase().into(),
            _ => (*number).into(),
        },
        Value::Message(message) => object(message),
        Value::List(values) => values.iter().map(|value| json_of(field, value)).collect::<Vec<_>>().into(),
        Value::Map(values) => {
            let of = |key: &MapKey| match key {
                MapKey::String(text) => text.clone(),
                other => format!("{other:?}"),
            };
            let inner = match field.kind() {
                Kind::Message(entry) => entry.map_entry_value_field(),
                _ => field.clone(),
            };
            let entries = values.iter().map(|(key, value)| (of(key), json_of(&inner, value)));
            serde_json::Value::Object(entries.collect())
        }
    }
}
