//! YAML job files: white space at line ends, empty lines, and the space behind a field's colon. Block texts stay as they
//! are. What a file means is compared before and after by the caller.

/// Formats a YAML file.
pub fn format_yaml(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    // Indent of the field whose block text is being read.
    let mut block: Option<usize> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let is_blank = line.trim().is_empty();
        if block.is_some_and(|field| is_blank || indent > field) {
            out.push_str(if is_blank { "" } else { line });
            out.push('\n');
            continue;
        }
        block = None;
        if is_blank {
            empty += 1;
            continue;
        }
        if empty > 0 && !out.is_empty() && !out.ends_with("\n\n") {
            out.push('\n');
        }
        empty = 0;
        let line = line.trim_end();
        if begins_block(line) {
            block = Some(field_indent(line));
        }
        out.push_str(&one_space(line));
        out.push('\n');
    }
    let end = out.trim_end_matches('\n').len();
    out.truncate(end);
    out.push('\n');
    out
}

/// Whether a block text follows: `run: |`, `- >-`.
fn begins_block(line: &str) -> bool {
    let said = line.split(" #").next().unwrap_or(line).trim_end();
    let Some(last) = said.rsplit([' ', ':']).next().filter(|_| !said.trim_start().starts_with('#')) else {
        return false;
    };
    let mut marks = last.chars();
    matches!(marks.next(), Some('|' | '>')) && marks.all(|c| matches!(c, '+' | '-' | '1'..='9'))
}

/// The column of the field itself, behind the dashes of its item.
fn field_indent(line: &str) -> usize {
    let mut rest = line;
    loop {
        let trimmed = rest.trim_start_matches(' ');
        match trimmed.strip_prefix("- ") {
            Some(item) if item.contains(':') => rest = item,
            _ => return line.len() - trimmed.len(),
        }
    }
}

/// `key:   value` with one space; whatever is not plainly that stays.
fn one_space(line: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let start = line.len() - line.trim_start_matches([' ', '-']).len();
    let Some(colon) = line[start..].find(": ").map(|at| at + start) else { return line.to_string() };
    let value = line[colon + 1..].trim_start_matches(' ');
    match line[start..colon].chars().all(word) && colon > start && !value.starts_with('#') {
        true => format!("{}: {value}", &line[..colon]),
        false => line.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::format_yaml;

    #[test]
    fn yaml_keeps_its_texts() {
        let text = "\njob:   a/b/c  \r\n\n\n\nkind: batch # x\nrun: |\n  a   b:   c  \n\n\n  d\n\nprocesses:\n  - name:  x\n    run: >-\n      one:  two\n# end\n\n";
        let once = format_yaml(text);
        assert_eq!(
            once,
            "job: a/b/c\n\nkind: batch # x\nrun: |\n  a   b:   c  \n\n\n  d\n\nprocesses:\n  - name: x\n    run: >-\n      one:  two\n# end\n"
        );
        assert_eq!(format_yaml(&once), once);
    }
}
