//! The module paths that code names, from `use` trees and from expressions alike.

/// A path named in code, at a line (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRef {
    pub line: usize,
    pub segments: Vec<String>,
}

impl PathRef {
    /// Whether the path begins with these segments.
    pub fn starts_with(&self, start: &[&str]) -> bool {
        self.segments.len() >= start.len() && self.segments.iter().zip(start).all(|(own, other)| own == other)
    }
}

/// Every path of at least two segments in masked code, `use a::{b, c::d}` spread out.
pub fn all(code: &str) -> Vec<PathRef> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let end = if is_name_byte(bytes[at]) { tree(code, at, line, &mut Vec::new(), &mut found) } else { at + 1 };
        line += code[at..end].matches('\n').count();
        at = end;
    }
    found.retain(|path| path.segments.len() > 1);
    found
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Reads one tree at `at`; returns where it ends.
fn tree(code: &str, at: usize, mut line: usize, prefix: &mut Vec<String>, found: &mut Vec<PathRef>) -> usize {
    let bytes = code.as_bytes();
    let depth = prefix.len();
    let mut here = at;
    loop {
        let length = bytes[here..].iter().take_while(|byte| is_name_byte(**byte)).count();
        if length > 0 {
            prefix.push(code[here..here + length].to_string());
            here += length;
        }
        let next = skip_space(bytes, here);
        if length == 0 || !code[next..].starts_with("::") {
            found.push(PathRef { line, segments: prefix.clone() });
            break;
        }
        let after = skip_space(bytes, next + 2);
        line += code[here..after].matches('\n').count();
        here = after;
        if bytes.get(here) == Some(&b'{') {
            here = group(code, here + 1, line, prefix, found);
            break;
        }
    }
    prefix.truncate(depth);
    here
}

/// Reads `a, b::c}` after an opening brace.
fn group(code: &str, at: usize, mut line: usize, prefix: &mut Vec<String>, found: &mut Vec<PathRef>) -> usize {
    let bytes = code.as_bytes();
    let mut here = at;
    while here < bytes.len() && bytes[here] != b'}' {
        if is_name_byte(bytes[here]) {
            let end = tree(code, here, line, prefix, found);
            line += code[here..end].matches('\n').count();
            here = end;
        } else {
            line += usize::from(bytes[here] == b'\n');
            here += 1;
        }
    }
    here + 1
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::all;

    fn named(code: &str) -> Vec<String> {
        all(code).into_iter().map(|path| format!("{}:{}", path.line, path.segments.join("::"))).collect()
    }

    #[test]
    fn use_trees_and_inline_paths_are_spread_out() {
        assert_eq!(named("use crate::a::b;\nlet x = super::c::D { e };"), ["1:crate::a::b", "2:super::c::D"]);
        let found = named("use crate::{\n  a::{B, c},\n  d,\n};");
        for path in ["2:crate::a::B", "2:crate::a::c", "3:crate::d"] {
            assert!(found.contains(&path.to_string()), "{path} in {found:?}");
        }
    }
}
