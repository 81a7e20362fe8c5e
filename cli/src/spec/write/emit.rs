//! Fields as text: YAML that reads back as the same texts, JSON in the same order.

use serde_json::Value;

use super::{Fields, Out};

pub(super) fn yaml(text: &mut String, fields: &Fields, indent: usize) {
    let pad = " ".repeat(indent);
    for (i, (name, value)) in fields.0.iter().enumerate() {
        // The first field of an item follows its dash.
        let at_dash = i == 0 && text.ends_with("- ");
        text.push_str(if at_dash { "" } else { &pad });
        text.push_str(name);
        text.push(':');
        match value {
            Out::One(value) => write_scalar(text, value, indent + 2),
            Out::Row(values) => write_row(text, values),
            Out::List(items) => {
                text.push('\n');
                for item in items {
                    text.push_str(&format!("{pad}  - "));
                    match item {
                        Out::Map(fields) => yaml(text, fields, indent + 4),
                        Out::One(value) => text.push_str(&format!("{}\n", flow(value))),
                        Out::Row(_) | Out::List(_) | Out::Table(_) => {}
                    }
                }
            }
            Out::Map(fields) => {
                text.push('\n');
                yaml(text, fields, indent + 2);
            }
            Out::Table(entries) => {
                text.push('\n');
                for (name, value) in entries {
                    text.push_str(&format!("{pad}  {}:", flow(&Value::String(name.clone()))));
                    write_scalar(text, value, indent + 4);
                }
            }
        }
    }
}

fn write_row(text: &mut String, values: &[Value]) {
    let row: Vec<String> = values.iter().map(flow).collect();
    text.push_str(&format!(" [{}]\n", row.join(", ")));
}

/// Several lines as a block where that keeps them as they are, everything else on one line.
fn write_scalar(text: &mut String, value: &Value, indent: usize) {
    let block = value.as_str().filter(|lines| {
        let plain = |line: &str| !line.chars().any(|c| c.is_control() || c == '\u{feff}' || c == '\u{85}');
        let first = lines.lines().next().is_some_and(|line| !line.is_empty() && !line.starts_with([' ', '\t']));
        lines.trim_end().contains('\n') && first && lines.split('\n').all(plain) && !lines.ends_with("\n\n")
    });
    let Some(lines) = block else {
        text.push_str(&format!(" {}\n", flow(value)));
        return;
    };
    text.push_str(if lines.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in lines.strip_suffix('\n').unwrap_or(lines).split('\n') {
        let pad = if line.is_empty() { 0 } else { indent };
        text.push_str(&format!("{}{line}\n", " ".repeat(pad)));
    }
}

/// A value on one line: plain where nothing else could be meant, otherwise quoted as JSON does, which YAML reads too.
fn flow(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let starts = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '/');
    let meant = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let number = text.parse::<f64>().is_ok() || text.starts_with("0x") || text.starts_with("0o");
    if starts && text.chars().all(word) && !number && !meant.contains(&text.to_lowercase().as_str()) {
        return text.clone();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    for c in Value::String(text.clone()).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

pub(super) fn json(text: &mut String, fields: &Fields, indent: usize) {
    let entries = fields.0.iter().map(|(name, value)| (Value::String((*name).to_string()), value));
    json_block(text, ('{', '}'), indent, entries, |text, (name, value), indent| {
        text.push_str(&format!("{name}: "));
        json_value(text, value, indent);
    });
}

fn json_value(text: &mut String, value: &Out, indent: usize) {
    match value {
        Out::One(value) => text.push_str(&value.to_string()),
        Out::Row(values) => text.push_str(&Value::Array(values.clone()).to_string()),
        Out::List(items) => json_block(text, ('[', ']'), indent, items, json_value),
        Out::Map(fields) => json(text, fields, indent),
        Out::Table(entries) => json_block(text, ('{', '}'), indent, entries, |text, (name, value), _| {
            text.push_str(&format!("{}: {value}", Value::String(name.clone())));
        }),
    }
}

fn json_block<T>(
    text: &mut String,
    (open, close): (char, char),
    indent: usize,
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut String, T, usize),
) {
    text.push(open);
    for (i, item) in items.into_iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.push_str(&" ".repeat(indent + 2));
        write(text, item, indent + 2);
    }
    text.push_str(&format!("\n{}{close}", " ".repeat(indent)));
}
