//! Rules for the texts of a spec: names, environment, labels, commands.

use std::collections::BTreeMap;

use super::{Errors, MAX_COMMAND_BYTES, MAX_LABEL_VALUE_BYTES, MAX_VALUE_BYTES};

/// `text` for a message: cut, and quoted so that nothing in it reaches a terminal raw.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", cut.escape_debug())
}

/// "there are: a, b", each once and the first of many; "there are none".
pub(super) fn there_are<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut listed: Vec<String> = Vec::new();
    for name in names {
        let name: String = name.chars().take(MAX_SHOWN_NAME).flat_map(char::escape_debug).collect();
        if !listed.contains(&name) {
            listed.push(name);
        }
        if listed.len() == MOST_LISTED {
            break;
        }
    }
    if listed.is_empty() { "there are none".to_string() } else { format!("there are: {}", listed.join(", ")) }
}

/// Names of a list that are shown.
const MOST_LISTED: usize = 20;
/// Longer names are not part of a path.
const MAX_SHOWN_NAME: usize = 128;

pub(super) const NAME_RULE: &str = "1-63 characters of a-z A-Z 0-9 _ . -, the first a letter or digit";

pub(super) fn name(path: &str, what: &str, text: &str, errors: &mut Errors) -> bool {
    let valid = crate::ids::is_name(text);
    if text.is_empty() {
        errors.at(path, format!("{what} needs a name: {NAME_RULE}"));
    } else if !valid {
        errors.at(path, format!("{} is no valid name of {what}: {NAME_RULE}", shown(text)));
    }
    valid
}

/// A value of an attribute.
pub(super) fn value(path: &str, text: &str, errors: &mut Errors) {
    if text.is_empty() {
        errors.at(path, "an attribute's value is never empty");
    } else if text.len() > MAX_VALUE_BYTES {
        errors.at(path, format!("{} bytes; at most {MAX_VALUE_BYTES} are allowed", text.len()));
    } else if text.chars().any(char::is_control) {
        errors.at(path, format!("{} has a control character", shown(text)));
    }
}

/// Something given to exec: a command, an argument.
pub(super) fn command(path: &str, text: &str, errors: &mut Errors) {
    if text.len() > MAX_COMMAND_BYTES {
        errors.at(path, format!("{} bytes; at most {MAX_COMMAND_BYTES} are allowed", text.len()));
    } else if text.contains('\0') {
        errors.at(path, "has a NUL character, which no command can");
    }
}

pub(super) fn env(path: &str, env: &BTreeMap<String, String>, errors: &mut Errors) {
    if errors.refuses(path) {
        return;
    }
    for (name, value) in env {
        let own = own_path(path, name);
        if env_name(&own, name, errors) {
            command(&own, value, errors);
        }
    }
}

/// Of an entry with a free name, which may be any text.
fn own_path(path: &str, name: &str) -> String {
    if name.is_empty() || name.len() > MAX_SHOWN_NAME { path.to_string() } else { format!("{path}.{name}") }
}

/// The name of an environment variable that a user may set.
pub(super) fn env_name(path: &str, name: &str, errors: &mut Errors) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || name.len() > 128 {
        let rule = "letters, digits and _, the first no digit, at most 128";
        errors.at(path, format!("{} is no name of an environment variable: {rule}", shown(name)));
    } else if name.starts_with("DAWN_") {
        errors.at(path, format!("{}: names that start with DAWN_ are set by Dawn itself", shown(name)));
    } else {
        return true;
    }
    false
}

pub(super) fn labels(path: &str, labels: &BTreeMap<String, String>, errors: &mut Errors) {
    if errors.refuses(path) {
        return;
    }
    for (name, value) in labels {
        let part = |part: &str| crate::ids::is_name(part);
        if name.len() > 128 || !name.split('/').all(part) {
            let message = format!("{} is no name of a label: {NAME_RULE}; parts with / between", shown(name));
            errors.at(own_path(path, name), message);
        } else if value.len() > MAX_LABEL_VALUE_BYTES || value.chars().any(char::is_control) {
            let rule = format!("at most {MAX_LABEL_VALUE_BYTES} bytes without control characters");
            errors.at(format!("{path}.{name}"), format!("a label's value is {rule}"));
        }
    }
}
