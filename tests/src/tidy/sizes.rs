//! How long things may be, and the line that says what a file is for.

use super::source::closing_brace;
use super::{Finding, Repository, SourceFile};

/// A file is a room; above this it is a hall.
const MAX_FILE_LINES: usize = 400;
/// From the line of `fn` to its closing brace.
const MAX_FUNCTION_LINES: usize = 69;

/// Every Rust file opens with one `//!` line of duty.
pub fn duty_line(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    if file.is_rust() && !file.text.starts_with("//! ") {
        let advice = "open the file with a `//!` line: what it does, and what is deliberately not in it".to_string();
        findings.push(Finding { path: file.path.clone(), line: 1, rule: "duty line", advice });
    }
}

pub fn file_length(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let lines = file.text.lines().count();
    if file.is_rust() && lines > MAX_FILE_LINES {
        let advice = format!("{lines} lines, at most {MAX_FILE_LINES}; split it by what it does");
        findings.push(Finding { path: file.path.clone(), line: MAX_FILE_LINES + 1, rule: "file length", advice });
    }
}

pub fn function_length(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let code = &file.code;
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && !code.as_bytes()[at - 1].is_ascii_whitespace() {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(open) = body(code, at).filter(|_| !name.is_empty()) else { continue };
        let (first, last) = (file.line_at(at), file.line_at(closing_brace(code, open).min(file.text.len())));
        let lines = last - first + 1;
        if lines > MAX_FUNCTION_LINES {
            let advice = format!("{name} has {lines} lines, at most {MAX_FUNCTION_LINES}; split it by its steps");
            findings.push(Finding { path: file.path.clone(), line: first, rule: "function length", advice });
        }
    }
}

/// Offset of the brace that opens a function's body; none for a declaration without one.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
