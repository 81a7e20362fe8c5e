//! Splits a file into tokens and logical lines, as Python would. Not here: what is changed in them.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Name,
    Number,
    Text,
    Op,
}

/// A token by its byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// The tokens between two ends of statements.
#[derive(Clone, Debug)]
pub struct LogicalLine {
    pub indent: usize,
    pub tokens: Vec<Token>,
}

/// Why a file can't be split, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub offset: usize,
    pub message: String,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    open: Vec<(u8, usize)>,
    lines: Vec<LogicalLine>,
    current: LogicalLine,
}

/// Splits `text`; comments and blank lines leave no trace.
///
/// # Errors
/// A string or bracket that is never closed, or a bracket that closes another kind.
pub fn split(text: &str) -> Result<Vec<LogicalLine>, Unreadable> {
    let current = LogicalLine { indent: 0, tokens: Vec::new() };
    let mut scanner = Scanner { text, at: 0, open: Vec::new(), lines: Vec::new(), current };
    scanner.measure_indent();
    while scanner.step()? {}
    if let Some((bracket, offset)) = scanner.open.first() {
        return Err(Unreadable { offset: *offset, message: format!("`{}` is never closed", char::from(*bracket)) });
    }
    scanner.end_line();
    Ok(scanner.lines)
}

impl Scanner<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn measure_indent(&mut self) {
        let mut width = 0;
        loop {
            match self.byte(0) {
                b' ' => width += 1,
                b'\t' => width = (width / 8 + 1) * 8,
                _ => break,
            }
            self.at += 1;
        }
        self.current.indent = width;
    }

    fn end_line(&mut self) {
        let next = LogicalLine { indent: 0, tokens: Vec::new() };
        let line = std::mem::replace(&mut self.current, next);
        if !line.tokens.is_empty() {
            self.lines.push(line);
        }
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.current.tokens.push(Token { kind, start: self.at, end: self.at + length });
        self.at += length;
    }

    fn step(&mut self) -> Result<bool, Unreadable> {
        if self.at >= self.text.len() {
            return Ok(false);
        }
        let rest = &self.text[self.at..];
        match self.byte(0) {
            b'\n' => {
                self.at += 1;
                if self.open.is_empty() {
                    self.end_line();
                    self.measure_indent();
                }
            }
            b' ' | b'\t' | 0x0c => self.at += 1,
            b'#' => self.at += rest.find('\n').unwrap_or(rest.len()),
            b'\\' if self.byte(1) == b'\n' => self.at += 2,
            b'"' | b'\'' => self.text_literal(0)?,
            b'0'..=b'9' => {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '.' && c != '_').unwrap_or(rest.len());
                self.push(Kind::Number, length);
            }
            _ => self.name_or_operator(rest)?,
        }
        Ok(true)
    }

    fn name_or_operator(&mut self, rest: &str) -> Result<(), Unreadable> {
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if length > 0 {
            let is_prefix = length <= 2 && rest[..length].bytes().all(|b| b"rRbBuUfF".contains(&b));
            return match rest.as_bytes().get(length) {
                Some(b'"' | b'\'') if is_prefix => self.text_literal(length),
                _ => {
                    self.push(Kind::Name, length);
                    Ok(())
                }
            };
        }
        let first = self.byte(0);
        match first {
            b'(' | b'[' | b'{' => self.open.push((first, self.at)),
            b')' | b']' | b'}' => {
                let expected = match first {
                    b')' => b'(',
                    b']' => b'[',
                    _ => b'{',
                };
                match self.open.pop() {
                    Some((open, _)) if open == expected => {}
                    _ => {
                        let message = format!("`{}` closes nothing that is open", char::from(first));
                        return Err(Unreadable { offset: self.at, message });
                    }
                }
            }
            _ => {}
        }
        let two = ["==", "!=", "<>", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "//", "**", "->", ">>", "<<"];
        let length = match two.iter().any(|op| rest.starts_with(op)) {
            true => 2,
            false => rest.chars().next().map_or(1, char::len_utf8),
        };
        self.push(Kind::Op, length);
        Ok(())
    }

    fn text_literal(&mut self, prefix: usize) -> Result<(), Unreadable> {
        let bytes = self.text.as_bytes();
        let quote = bytes[self.at + prefix];
        let from = self.at + prefix;
        let triple = bytes[from..].starts_with(&[quote, quote, quote]);
        let mut at = from + if triple { 3 } else { 1 };
        loop {
            match bytes.get(at) {
                None => break,
                Some(b'\n') if !triple => break,
                Some(b'\\') => at += 2,
                Some(byte) if *byte == quote && !triple => {
                    self.push(Kind::Text, at + 1 - self.at);
                    return Ok(());
                }
                Some(_) if triple && bytes[at..].starts_with(&[quote, quote, quote]) => {
                    self.push(Kind::Text, at + 3 - self.at);
                    return Ok(());
                }
                Some(_) => at += 1,
            }
        }
        Err(Unreadable { offset: self.at, message: "this string is never closed".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let lines = split(text).unwrap();
        lines.iter().map(|line| line.tokens.iter().map(|t| text[t.start..t.end].to_string()).collect()).collect()
    }

    #[test]
    fn statements_span_brackets_and_continued_lines() {
        let lines = words("a = [1,\n  2]  # note\nb = 'x' \\\n  \"y#\"\n\n  c\n");
        assert_eq!(lines[0], ["a", "=", "[", "1", ",", "2", "]"]);
        assert_eq!(lines[1], ["b", "=", "'x'", "\"y#\""]);
        assert_eq!(lines[2], ["c"]);
    }

    #[test]
    fn strings_keep_quotes_prefixes_and_newlines_inside() {
        assert_eq!(words("u'a\\'b' r\"c\" '''d\n'e''' bar'f'")[0], ["u'a\\'b'", "r\"c\"", "'''d\n'e'''", "bar", "'f'"]);
    }

    #[test]
    fn what_is_left_open_is_named_with_its_place() {
        assert_eq!(split("a = (\n b").unwrap_err(), Unreadable { offset: 4, message: "`(` is never closed".into() });
        assert_eq!(split("a = 'b\n").unwrap_err().offset, 4);
        assert_eq!(split("a = '''b\n").unwrap_err().offset, 4);
        assert_eq!(split("a = (]").unwrap_err().message, "`]` closes nothing that is open");
    }
}
