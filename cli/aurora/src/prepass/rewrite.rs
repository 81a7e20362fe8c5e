//! The changes that make one file's Python into Starlark: which statement gets which. Not here: classes (`class`),
//! single statements (`statement`), and what the changed names mean (`language`).

use super::class;
use super::edit::{Edited, Edits};
use super::statement;
use super::token::{Kind, LogicalLine, Token, split};
use crate::errors::{ConfigError, ErrorKind, Position};

/// An `include('…')` and the line it stood on, from zero.
#[derive(Debug, PartialEq, Eq)]
pub struct Include {
    pub line: usize,
    pub column: usize,
    pub path: String,
}

#[derive(Debug)]
pub struct Rewritten {
    pub edited: Edited,
    pub includes: Vec<Include>,
    pub notes: Vec<String>,
}

/// One file on its way.
pub struct File<'a> {
    pub name: &'a str,
    pub text: &'a str,
    pub edits: Edits,
    pub includes: Vec<Include>,
    pub notes: Vec<String>,
}

impl<'a> File<'a> {
    pub fn word(&self, token: &Token) -> &'a str {
        &self.text[token.start..token.end]
    }

    pub fn is(&self, token: Option<&Token>, word: &str) -> bool {
        token.is_some_and(|token| self.word(token) == word)
    }

    pub fn position(&self, offset: usize) -> Position {
        let before = &self.text[..offset.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            file: self.name.to_string(),
            line: before.matches('\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
        }
    }

    pub fn refuse(&self, token: &Token, message: impl Into<String>) -> ConfigError {
        ConfigError::new(ErrorKind::Syntax, Some(self.position(token.start)), message)
    }
}

/// Rewrites one file.
///
/// # Errors
/// What can't be read, and Python that has no counterpart.
pub fn rewrite(name: &str, text: &str) -> Result<Rewritten, ConfigError> {
    let mut file = File { name, text, edits: Edits::default(), includes: Vec::new(), notes: Vec::new() };
    let lines =
        split(text).map_err(|e| ConfigError::new(ErrorKind::Syntax, Some(file.position(e.offset)), e.message))?;
    replace_tabs(&mut file, &lines);
    let mut index = 0;
    while index < lines.len() {
        let line = &lines[index];
        let block = &lines[index + 1..];
        let block = &block[..block.iter().position(|l| l.indent <= line.indent).unwrap_or(block.len())];
        if file.is(line.tokens.first(), "class") {
            index += class::rewrite(&mut file, line, block)?;
            continue;
        }
        for statement in small_statements(&file, &line.tokens) {
            statement::rewrite(&mut file, statement, line.indent)?;
        }
        expressions(&mut file, &line.tokens);
        index += 1;
    }
    Ok(Rewritten { edited: file.edits.apply(text), includes: file.includes, notes: file.notes })
}

/// Tabs between tokens: in an indent as wide as Python takes them, elsewhere a space.
fn replace_tabs(file: &mut File, lines: &[LogicalLine]) {
    let mut from = 0;
    let ends = lines.iter().flat_map(|line| line.tokens.iter().map(|t| (t.start, t.end)));
    for (start, end) in ends.chain([(file.text.len(), file.text.len())]) {
        let gap_from = from;
        from = end;
        if !file.text[gap_from..start].contains('\t') {
            continue;
        }
        let mut line_start = file.text[..gap_from].rfind('\n').map_or(0, |at| at + 1);
        let mut width = file.text[line_start..gap_from].chars().count();
        for (offset, c) in file.text[gap_from..start].char_indices() {
            let at = gap_from + offset;
            match c {
                '\n' => {
                    line_start = at + 1;
                    width = 0;
                }
                '\t' if file.text[line_start..at].trim().is_empty() => {
                    let spaces = 8 - width % 8;
                    width += spaces;
                    file.edits.replace(at, at + 1, " ".repeat(spaces));
                }
                '\t' => file.edits.replace(at, at + 1, " "),
                _ => width += 1,
            }
        }
    }
}

/// The statements of a line: split at `;`, and after the `:` of a block written on its header's line.
fn small_statements<'t>(file: &File, tokens: &'t [Token]) -> Vec<&'t [Token]> {
    const HEADERS: [&str; 7] = ["if", "elif", "else", "for", "while", "def", "with"];
    let mut statements = Vec::new();
    let mut from = 0;
    let mut depth = 0usize;
    let mut in_header = tokens.first().is_some_and(|token| HEADERS.contains(&file.word(token)));
    for (index, token) in tokens.iter().enumerate() {
        let ends = match file.word(token) {
            "(" | "[" | "{" => {
                depth += 1;
                false
            }
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                false
            }
            ":" => depth == 0 && std::mem::take(&mut in_header),
            ";" => depth == 0,
            _ => false,
        };
        if ends {
            statements.push(&tokens[from..=index]);
            from = index + 1;
        }
    }
    statements.push(&tokens[from..]);
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// Changes inside expressions: neighbouring strings are joined, `is` compares, prefixes Starlark lacks go, and
/// generator expressions become lists.
pub(super) fn expressions(file: &mut File, tokens: &[Token]) {
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Text => text(file, tokens, index),
            Kind::Name if file.word(token) == "is" => {
                let not = tokens.get(index + 1).filter(|next| file.word(next) == "not");
                file.edits.replace(token.start, token.end, if not.is_some() { "!=" } else { "==" });
                if let Some(not) = not {
                    file.edits.replace(not.start, not.end, "");
                }
            }
            Kind::Op if file.word(token) == "<>" => file.edits.replace(token.start, token.end, "!="),
            Kind::Op if file.word(token) == "(" => generator(file, tokens, index),
            _ => {}
        }
    }
}

fn text(file: &mut File, tokens: &[Token], index: usize) {
    let token = tokens[index];
    let word = file.word(&token);
    let prefix = &word[..word.find(['"', '\'']).unwrap_or(0)];
    let is_text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).is_some_and(|t| t.kind == Kind::Text);
    let (joins_before, joins_after) = (is_text(index.checked_sub(1)), is_text(Some(index + 1)));
    if joins_after && !joins_before {
        file.edits.insert(token.start, "(");
    }
    if prefix.contains(['u', 'U', 'b', 'B', 'R', 'F']) {
        let kept: String = prefix.to_lowercase().chars().filter(|c| "rf".contains(*c)).collect();
        file.edits.replace(token.start, token.start + prefix.len(), kept);
    }
    match (joins_before, joins_after) {
        (_, true) => file.edits.insert(token.end, "+"),
        (true, false) => file.edits.insert(token.end, ")"),
        _ => {}
    }
}

/// `(x for …)` becomes `([x for …])`.
fn generator(file: &mut File, tokens: &[Token], open: usize) {
    let mut depth = 0usize;
    let mut is_generator = false;
    for token in &tokens[open..] {
        match file.word(token) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    if is_generator {
                        file.edits.insert(tokens[open].end, "[");
                        file.edits.insert(token.start, "]");
                    }
                    return;
                }
            }
            "for" if depth == 1 && token.kind == Kind::Name => is_generator = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        rewrite("t.aurora", text).unwrap().edited.lines.join("\n")
    }

    #[test]
    fn neighbouring_strings_are_one_value() {
        assert_eq!(
            rewritten("a = 'b' \\\n  \"c\" % d\nf(u'x'.y, 'z'\n'w')"),
            "a = ('b'+ \\\n  \"c\") % d\nf('x'.y, ('z'+\n'w'))"
        );
    }

    #[test]
    fn identity_becomes_equality_and_generators_lists() {
        assert_eq!(rewritten("a is not None or b is c"), "a !=  None or b == c");
        assert_eq!(rewritten("','.join(x for x in y)"), "','.join([x for x in y])");
        assert_eq!(rewritten("f([x for x in y], z)"), "f([x for x in y], z)");
    }

    #[test]
    fn tabs_become_spaces_outside_of_strings() {
        assert_eq!(rewritten("if a:\n\tb =\t'\t'"), "if a:\n        b = '\t'");
    }

    #[test]
    fn statements_on_one_line_are_each_rewritten() {
        assert_eq!(rewritten("import os; a = 1"), "pass; a = 1");
        assert_eq!(rewritten("if a: print 'b', c"), "if a: print('b', c)");
    }

    #[test]
    fn an_unclosed_bracket_is_named_with_its_place() {
        let error = rewrite("t.aurora", "a = 1\nb = [1,\nc = 2\n").unwrap_err();
        assert_eq!(error.to_string(), "t.aurora:2:5: `[` is never closed");
    }
}
