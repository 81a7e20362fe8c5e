//! Writes the tables of `dawn_proto::fields`: a static for each field and each message.

use std::fmt::Write;

use prost_reflect::Kind;

use crate::fields::{Field, Message, words};

/// `TaskSpec` as the name of a module: `task_spec`.
pub fn module(message: &str) -> String {
    let mut name = String::new();
    for c in message.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

pub fn write(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        message_rules(&mut text, message).unwrap_or_default();
    }
    text
}

fn message_rules(text: &mut String, message: &Message) -> std::fmt::Result {
    let module = module(&message.name);
    let upper = module.to_uppercase();
    let fields: Vec<String> =
        message.fields.iter().map(|field| format!("&{module}::{}", field.name().to_uppercase())).collect();
    let choices =
        message.choices.iter().map(|(name, twice)| format!("ChoiceRules {{ name: {name:?}, twice: {twice:?} }}"));
    writeln!(text, "/// Of `{}`.", message.name)?;
    writeln!(text, "pub static {upper}: MessageRules = MessageRules {{")?;
    writeln!(text, "    name: {:?}, heading: {:?},", message.name, message.heading)?;
    writeln!(text, "    fields: &[{}],", fields.join(", "))?;
    writeln!(text, "    choices: &[{}],", choices.collect::<Vec<_>>().join(", "))?;
    writeln!(text, "    order: &{:?}, also: &{:?},\n}};", message.order, message.also)?;
    writeln!(text, "/// The fields of `{}`.", message.name)?;
    writeln!(text, "pub mod {module} {{\n    use super::{{Default, FieldRules, Form, Kind, Shape, Unit}};")?;
    for field in &message.fields {
        field_rules(text, field)?;
    }
    writeln!(text, "}}")
}

fn field_rules(text: &mut String, field: &Field) -> std::fmt::Result {
    let option = |option: &str| Some(field.text(option)).filter(|text| !text.is_empty());
    let words = field.texts("words");
    let words = words.first().zip(words.get(1)).map(|(no, yes)| [no, yes]);
    let default = match (field.default, option("default")) {
        (Some(number), _) => format!("Default::Number({number})"),
        (None, Some(text)) => format!("Default::Text({text:?})"),
        (None, None) => "Default::None".to_string(),
    };
    let shape = match (field.descriptor.is_map(), field.descriptor.is_list()) {
        (true, _) => "Table",
        (_, true) => "List",
        _ => "One",
    };
    let form = match field.choice("form").as_str() {
        "KEY" => "Key",
        "INLINE" => "Inline",
        "COMPARISON" => "Comparison",
        "SET" => "Set",
        _ => "Mapping",
    };
    writeln!(text, "    pub static {}: FieldRules = FieldRules {{", field.name().to_uppercase())?;
    writeln!(text, "        number: {}, name: {:?}, file: {:?},", field.descriptor.number(), field.name(), field.file)?;
    writeln!(text, "        shape: Shape::{shape}, kind: {}, unit: Unit::{:?},", kind(field), field.unit)?;
    writeln!(text, "        form: Form::{form}, choice: {:?},", field.oneof())?;
    writeln!(text, "        is_zero_a_value: {}, default: {default},", field.choice("zero") == "ZERO_IS_A_VALUE")?;
    writeln!(text, "        is_default_conditional: {},", field.flag("conditional"))?;
    writeln!(text, "        default_unless: {:?}, is_needed: {},", option("unless"), field.flag("needed"))?;
    writeln!(text, "        unset: {:?}, min: {:?}, max: {:?},", field.text("unset"), field.min, field.max)?;
    let max_items = Some(field.max_items()).filter(|most| *most > 0);
    writeln!(text, "        max_items: {max_items:?}, noun: {:?},", field.text("noun"))?;
    writeln!(text, "        hint: {:?}, single: {:?},", field.text("hint"), option("single"))?;
    writeln!(text, "        is_lone: {}, without: &{:?},", field.flag("lone"), field.texts("without"))?;
    writeln!(text, "        words: {words:?}, is_inverted: {},", field.flag("inverted"))?;
    writeln!(text, "        concerns_only_job: {},", field.choice("concerns") == "JOB")?;
    writeln!(text, "        aurora: &{:?}, doc: {:?},\n    }};", field.texts("aurora"), field.text("doc"))
}

fn kind(field: &Field) -> String {
    if let Some(message) = field.message() {
        return format!("Kind::Message(&super::{})", module(message.name()).to_uppercase());
    }
    match field.value_kind() {
        Kind::Bool => "Kind::YesNo".to_string(),
        Kind::String => "Kind::Text".to_string(),
        Kind::Uint64 => "Kind::U64".to_string(),
        Kind::Int32 => "Kind::I32".to_string(),
        Kind::Enum(values) => format!("Kind::Word(&{:?})", words(values.parent_pool(), &values)),
        Kind::Message(_) => "Kind::Opaque".to_string(),
        _ => "Kind::U32".to_string(),
    }
}
