//! Finds the named argument inside a call, so that an error points at the field. Not here: reading the language.

use crate::value::At;

/// The place of `field =` in the call that starts at `call`; the call itself if it isn't there by name.
pub fn field_in_call(text: &str, call: At, field: &str) -> At {
    let Some(start) = offset(text, call) else { return call };
    if field.is_empty() {
        return call;
    }
    match argument(&text[start..], field) {
        Some(found) => place(text, start + found),
        None => call,
    }
}

fn offset(text: &str, at: At) -> Option<usize> {
    let mut line_start = 0;
    for _ in 0..at.line {
        line_start += text[line_start..].find('\n')? + 1;
    }
    let line = &text[line_start..];
    Some(line_start + line.char_indices().nth(at.column as usize).map_or(line.len(), |(offset, _)| offset))
}

fn place(text: &str, offset: usize) -> At {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    At { line: before.matches('\n').count() as u32, column: before[line_start..].chars().count() as u32 }
}

/// Byte offset of the argument named `field` in the call at the start of `text`, skipping strings and inner brackets.
/// Of several calls in a row (`job(…)(…)`) the last one counts.
fn argument(text: &str, field: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut found = None;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && !matches!(bytes.get(at + 1), Some(b'(' | b'.')) {
                    return found;
                }
            }
            b'\'' | b'"' => at += string_length(&text[at..]),
            b'#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
            b'\n' if depth == 0 => return found,
            _ if depth == 1 && starts_argument(text, at, field) => found = Some(at),
            _ => {}
        }
        at += 1;
    }
    found
}

fn starts_argument(text: &str, at: usize, field: &str) -> bool {
    // `at` may lie inside a character.
    let Some((before, rest)) = text.split_at_checked(at) else { return false };
    let before_ok = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let Some(rest) = rest.strip_prefix(field) else { return false };
    let rest = rest.trim_start();
    before_ok && rest.starts_with('=') && !rest.starts_with("==")
}

/// Length of the string literal at the start of `text`, less one.
fn string_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let quote = bytes[0];
    let width = if bytes.starts_with(&[quote, quote, quote]) { 3 } else { 1 };
    let mut at = width;
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += 1;
        } else if bytes[at..].len() >= width && bytes[at..at + width].iter().all(|byte| *byte == quote) {
            return at + width - 1;
        }
        at += 1;
    }
    bytes.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_of_the_call_itself_is_found() {
        let text = "x = 1\njobs = [Job(task = Task(name = 'name = 1'),\n  name = 5)]\n";
        let call = At { line: 1, column: 8 };
        assert_eq!(field_in_call(text, call, "name"), At { line: 2, column: 2 });
        assert_eq!(field_in_call(text, call, "task"), At { line: 1, column: 12 });
        assert_eq!(field_in_call(text, call, "role"), call);
        assert_eq!(field_in_call("f(é = 'ü', b = 1)", At { line: 0, column: 0 }, "b"), At { line: 0, column: 11 });
    }
}
