//! Writes what fills in defaults and refuses what is out of bounds: an implementation of `Bounded` for each message of a job.

use std::fmt::Write;

use prost_reflect::Kind;

use crate::fields::{Field, Message};
use crate::tables::module;

pub fn write(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        implementation(&mut text, message).unwrap_or_default();
    }
    text
}

fn implementation(text: &mut String, message: &Message) -> std::fmt::Result {
    writeln!(text, "#[allow(clippy::all)]\nimpl Bounded for v1::{} {{", message.name)?;
    writeln!(text, "    fn bound(&mut self, at: At<'_>, errors: &mut Errors) {{")?;
    // Some messages have nothing to look at.
    writeln!(text, "        _ = (at, &errors);")?;
    for field in message.fields.iter().filter(|field| field.oneof().is_none()) {
        of_field(text, message, field)?;
    }
    for (choice, _) in &message.choices {
        of_choice(text, message, choice)?;
    }
    writeln!(text, "    }}\n}}")
}

/// The name in Rust.
fn rust(name: &str) -> String {
    if matches!(name, "final" | "in" | "type" | "match") { format!("r#{name}") } else { name.to_string() }
}

fn camel(name: &str) -> String {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    name.split('_').map(capital).collect()
}

fn rules(message: &Message, field: &Field) -> String {
    format!("&fields::{}::{}", module(&message.name), field.name().to_uppercase())
}

fn of_field(text: &mut String, message: &Message, field: &Field) -> std::fmt::Result {
    let (value, rules) = (format!("self.{}", rust(field.name())), rules(message, field));
    let has_items = field.descriptor.is_list() || field.descriptor.is_map();
    if !has_items {
        let is_option = field.descriptor.supports_presence();
        let one = |value: &str| one(field, value, &rules);
        return match (one("value"), is_option) {
            (None, _) => Ok(()),
            (Some(check), true) => writeln!(text, "        if let Some(value) = &mut {value} {{ {check} }}"),
            (Some(_), false) => writeln!(text, "        {}", one(&format!("&mut {value}")).unwrap_or_default()),
        };
    }
    let name = field.name();
    let items = format!("self::items({value}.len(), {rules}, at.field({name:?}), errors)");
    let each = match (field.message().is_some(), field.value_kind()) {
        (true, _) => "value.bound(at, errors);".to_string(),
        (_, Kind::String) => format!("self::longest(value, {rules}, at, errors);"),
        (_, Kind::Uint32 | Kind::Uint64) => format!("self::within(*value, {rules}, at, errors);"),
        _ => String::new(),
    };
    let has_bounds = field.message().is_some() || field.min.is_some() || field.max.is_some();
    if !has_bounds {
        return if field.max_items() > 0 { writeln!(text, "        {items};") } else { Ok(()) };
    }
    let (values, at) = match field.descriptor.is_map() {
        true => (format!("(name, value) in &mut {value}"), format!("at.field({name:?}).named(name)")),
        false => (format!("(i, value) in {value}.iter_mut().enumerate()"), format!("at.field({name:?}).item(i)")),
    };
    writeln!(
        text,
        "        if {items} {{ for {values} {{ let outer = at.field({name:?}); let at = {}; {each} }} }}",
        at.replace(&format!("at.field({name:?})"), "outer")
    )
}

fn of_choice(text: &mut String, message: &Message, choice: &str) -> std::fmt::Result {
    writeln!(text, "        match &mut self.{} {{", rust(choice))?;
    let of = |field: &&Field| field.oneof().as_deref() == Some(choice);
    for field in message.fields.iter().filter(of) {
        let variant = format!("v1::{}::{}::{}", module(&message.name), camel(choice), camel(field.name()));
        let check = match (field.choice("form").as_str(), field.name()) {
            ("SET", name) => {
                let rules = rules(message, field);
                Some(format!("_ = self::items(value.values.len(), {rules}, at.field({name:?}), errors);"))
            }
            _ => one(field, "value", &rules(message, field)),
        };
        match check {
            Some(check) => writeln!(text, "            Some({variant}(value)) => {{ {check} }}")?,
            None => writeln!(text, "            Some({variant}(_)) => {{}}")?,
        }
    }
    writeln!(text, "            None => {{}}\n        }}")
}

/// What looks at one value. None: there is nothing to look at.
fn one(field: &Field, value: &str, rules: &str) -> Option<String> {
    let at = format!("at.field({:?})", field.name());
    if field.message().is_some() {
        // An implementation borrows, whatever it is called on.
        let value = value.trim_start_matches("&mut ");
        return Some(format!("let outer = at; let at = outer.field({:?}); {value}.bound(at, errors);", field.name()));
    }
    let look = match field.value_kind() {
        Kind::String if field.text("default").is_empty() && field.max.is_none() => return None,
        Kind::String => "text",
        Kind::Enum(_) => "word",
        Kind::Uint32 | Kind::Uint64 | Kind::Int32 => "number",
        _ => return None,
    };
    Some(format!("self::{look}({value}, {rules}, {at}, errors);"))
}
