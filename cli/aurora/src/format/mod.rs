//! One way to write job files: spaces and indents put right, comments and line ends kept where they are, tokens untouched.
//! Formatting what is formatted changes nothing. Not here: YAML, reading and writing files.

mod spacing;
#[cfg(test)]
mod tests;

use super::prepass::{Kind, LogicalLine, Token, split};
use spacing::{Bracket, needs_space};

/// Of a block, and of what stands in brackets over several lines.
const INDENT: usize = 2;

/// Formats a file in the language, or JSON, which is written alike.
///
/// # Errors
/// Line and reason when it can't be split into tokens.
pub fn language(text: &str) -> Result<String, (usize, String)> {
    let text = text.replace("\r\n", "\n");
    let lines = split_at(&text)?;
    let mut writer = Writer { text: &text, out: String::new(), at: 0, indents: vec![0], brackets: Vec::new(), line: 0 };
    for line in &lines {
        writer.logical_line(line);
    }
    writer.gap(text.len(), 0, true);
    let mut out = writer.out;
    out.truncate(out.trim_end().len());
    if !out.is_empty() {
        out.push('\n');
    }
    // A formatter that changes what a file says is worse than none.
    let same = split_at(&out).is_ok_and(|again| words(&out, &again) == words(&text, &lines));
    if same { Ok(out) } else { Err((1, "can't be formatted without changing what it says".to_string())) }
}

fn split_at(text: &str) -> Result<Vec<LogicalLine>, (usize, String)> {
    let line = |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    split(text).map_err(|error| (line(error.offset), error.message))
}

/// Each logical line's tokens, and how deep it is.
fn words<'a>(text: &'a str, lines: &[LogicalLine]) -> Vec<(usize, Vec<&'a str>)> {
    let mut indents = vec![0];
    let mut words = Vec::new();
    for line in lines {
        while indents.last().is_some_and(|width| *width > line.indent) {
            indents.pop();
        }
        if indents.last() != Some(&line.indent) {
            indents.push(line.indent);
        }
        words.push((indents.len(), line.tokens.iter().map(|token| &text[token.start..token.end]).collect()));
    }
    words
}

struct Writer<'a> {
    text: &'a str,
    out: String,
    /// Behind the last token that was written.
    at: usize,
    /// Original widths of the blocks that are open.
    indents: Vec<usize>,
    brackets: Vec<Bracket>,
    /// Indent of the line that is being written.
    line: usize,
}

impl Writer<'_> {
    fn logical_line(&mut self, line: &LogicalLine) {
        let Some(first) = line.tokens.first() else { return };
        self.gap(first.start, line.indent, true);
        while self.indents.last().is_some_and(|width| *width > line.indent) {
            self.indents.pop();
        }
        if self.indents.last() != Some(&line.indent) {
            self.indents.push(line.indent);
        }
        self.begin_line((self.indents.len() - 1) * INDENT);
        let mut before: Option<Token> = None;
        for (i, token) in line.tokens.iter().enumerate() {
            if let Some(before) = before {
                let earlier = i.checked_sub(2).map(|i| line.tokens[i]);
                self.between(earlier, before, *token);
            }
            self.token(*token, before);
            before = Some(*token);
        }
    }

    fn begin_line(&mut self, indent: usize) {
        self.line = indent;
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    fn token(&mut self, token: Token, before: Option<Token>) {
        let text = &self.text[token.start..token.end];
        if token.kind == Kind::Op {
            match text {
                "(" | "[" | "{" => self.brackets.push(Bracket::new(text, self.line, before, self.text)),
                ")" | "]" | "}" => _ = self.brackets.pop(),
                _ => {}
            }
        }
        self.out.push_str(text);
        self.at = token.end;
    }

    /// What stands between two tokens of one statement: a space or none, or line ends and comments.
    fn between(&mut self, earlier: Option<Token>, before: Token, next: Token) {
        let gap = &self.text[before.end..next.start];
        if !gap.contains('\n') {
            if needs_space(self.text, &self.brackets, earlier, before, next) {
                self.out.push(' ');
            }
            return;
        }
        if self.brackets.is_empty() {
            // Only a backslash goes on without brackets.
            self.out.push_str(" \\\n");
            self.at = next.start;
            return self.begin_line((self.indents.len() - 1) * INDENT + 2 * INDENT);
        }
        self.gap(next.start, 0, false);
        let closes = matches!(&self.text[next.start..next.end], ")" | "]" | "}") && next.kind == Kind::Op;
        let opened = self.brackets.last().map_or(0, |bracket| bracket.line);
        self.begin_line(if closes { opened } else { opened + INDENT });
    }

    /// Comments and empty lines up to `end`, and the end of the line before them. `statement`: what follows is one, of
    /// this indent.
    fn gap(&mut self, end: usize, next_indent: usize, statement: bool) {
        let gap = &self.text[self.at..end];
        self.at = end;
        let mut lines = gap.split('\n');
        let behind = lines.next().unwrap_or_default().trim().trim_end_matches('\\').trim();
        let first = self.out.is_empty();
        if !behind.is_empty() {
            self.out.push_str(if first { "" } else { "  " });
            self.out.push_str(behind);
        }
        let rest: Vec<&str> = lines.collect();
        if first && behind.is_empty() && rest.is_empty() {
            return;
        }
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        let most = if statement && self.indents.len() == 1 { 2 } else { 1 };
        let mut empty = 0;
        // The last piece is the indent of what follows.
        for line in &rest[..rest.len().saturating_sub(1)] {
            let said = line.trim();
            if said.is_empty() || said == "\\" {
                empty += 1;
                continue;
            }
            self.empty_lines(empty.min(most));
            empty = 0;
            let indent = if statement { self.comment_indent(line, next_indent) } else { self.inner_indent() };
            self.out.extend(std::iter::repeat_n(' ', indent));
            self.out.push_str(said);
            self.out.push('\n');
        }
        self.empty_lines(empty.min(most));
    }

    fn empty_lines(&mut self, count: usize) {
        if !self.out.is_empty() {
            self.out.extend(std::iter::repeat_n('\n', count));
        }
    }

    fn inner_indent(&self) -> usize {
        self.brackets.last().map_or(0, |bracket| bracket.line + INDENT)
    }

    /// A comment between statements belongs to the deepest block it is indented for.
    fn comment_indent(&self, line: &str, next_indent: usize) -> usize {
        let width = line.len() - line.trim_start().len();
        let open = self.indents.iter().rposition(|indent| *indent <= width).unwrap_or(0);
        // One that leads into a deeper block.
        let deeper = next_indent > *self.indents.last().unwrap_or(&0) && width >= next_indent;
        (open + usize::from(deeper)) * INDENT
    }
}
