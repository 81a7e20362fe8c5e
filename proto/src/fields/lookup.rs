//! The way from a path of the contract (`task.processes[0].max_failures`) to rules and to the name in a job file.

use super::{FieldRules, Form, JOB_SPEC, MessageRules, Shape};

/// One step of a path: the field's name, what stands in brackets behind it, and what comes after it.
fn step(path: &str) -> (&str, &str, &str) {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let close = if rest.starts_with('[') { rest.find(']').map_or(rest.len(), |at| at + 1) } else { 0 };
    let (index, rest) = rest.split_at(close);
    (name, index, rest.strip_prefix('.').unwrap_or(rest))
}

/// The rules of a field of a job.
pub fn field_at(path: &str) -> Option<&'static FieldRules> {
    let (name, _, rest) = step(path);
    walk(&JOB_SPEC, name, rest)
}

fn walk(message: &'static MessageRules, name: &str, rest: &str) -> Option<&'static FieldRules> {
    let field = message.field(name)?;
    if rest.is_empty() || field.shape == Shape::Table {
        return Some(field);
    }
    let (name, _, rest) = step(rest);
    walk(field.message()?, name, rest)
}

/// The rules of the message that a path of a job leads to; of the job itself for an empty path.
pub fn message_at(path: &str) -> Option<&'static MessageRules> {
    if path.is_empty() { Some(&JOB_SPEC) } else { field_at(path)?.message() }
}

/// Where the field of a path stands in the contract: for an order of fields.
pub fn place_of(path: &str) -> Vec<usize> {
    let (mut message, mut left, mut place) = (Some(&JOB_SPEC), path, Vec::new());
    while !left.is_empty() {
        let (name, index, rest) = step(left);
        let at = message.and_then(|message| message.fields.iter().position(|field| field.name == name));
        place.push(at.unwrap_or(usize::MAX));
        place.extend(index.trim_matches(['[', ']']).parse::<usize>());
        message = message.and_then(|message| message.field(name)?.message());
        left = rest;
    }
    place
}

/// What a job file calls the path of a field below a message.
pub fn path_in_file(message: &'static MessageRules, path: &str) -> String {
    let mut said = String::new();
    let (mut message, mut left) = (Some(message), path);
    while !left.is_empty() {
        let (name, index, rest) = step(left);
        let field = message.and_then(|message| message.field(name));
        let Some(field) = field.filter(|_| !name.is_empty()) else {
            if name.is_empty() && !index.is_empty() {
                // Behind a list, of which the path before told the items' message.
                said.push_str(index);
                left = rest;
                continue;
            }
            push(&mut said, left);
            break;
        };
        if field.form != Form::Inline {
            push(&mut said, field.file);
        }
        said.push_str(index);
        match (field.form, field.shape) {
            (Form::Key | Form::Comparison, _) => break,
            (Form::Set, _) => {
                let (_, index, _) = step(rest);
                said.push_str(index);
                break;
            }
            (_, Shape::Table) => {
                push(&mut said, rest);
                break;
            }
            _ => {}
        }
        message = field.message();
        left = rest;
    }
    said
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() && !name.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
