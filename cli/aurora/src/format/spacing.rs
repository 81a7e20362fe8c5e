//! Which tokens stand together and which have a space between them.

use crate::prepass::{Kind, Token};

/// An open bracket.
pub(super) struct Bracket {
    /// Indent of the line it was opened in.
    pub line: usize,
    /// `x[`: what is inside may be a slice.
    is_index: bool,
}

impl Bracket {
    pub fn new(text: &str, line: usize, before: Option<Token>, source: &str) -> Bracket {
        let is_index = text == "[" && before.is_some_and(|before| is_value(source, before));
        Bracket { line, is_index }
    }
}

/// Words after which an expression begins.
const KEYWORDS: [&str; 20] = [
    "and", "or", "not", "in", "is", "if", "else", "elif", "for", "while", "return", "lambda", "yield", "assert",
    "print", "raise", "del", "import", "from", "with",
];
const BINARY: [&str; 31] = [
    "=", "==", "!=", "<>", "<=", ">=", "<", ">", "+=", "-=", "*=", "/=", "%=", "//", "->", ">>", "<<", "/", "%", "|",
    "&", "^", "+", "-", "*", "**", "|=", "&=", "^=", ":=", "~=",
];
const UNARY: [&str; 5] = ["+", "-", "*", "**", "~"];

fn text(source: &str, token: Token) -> &str {
    &source[token.start..token.end]
}

/// Whether an expression may end with the token.
fn is_value(source: &str, token: Token) -> bool {
    match token.kind {
        Kind::Name => !KEYWORDS.contains(&text(source, token)),
        Kind::Number | Kind::Text => true,
        Kind::Op => matches!(text(source, token), ")" | "]" | "}"),
    }
}

/// Whether `token`, behind `before`, is an operator of one side.
fn is_unary(source: &str, before: Option<Token>, token: Token) -> bool {
    UNARY.contains(&text(source, token)) && before.is_none_or(|before| !is_value(source, before))
}

/// Whether a space belongs between two tokens of one line.
pub(super) fn needs_space(
    source: &str,
    brackets: &[Bracket],
    earlier: Option<Token>,
    before: Token,
    next: Token,
) -> bool {
    let (left, right) = (text(source, before), text(source, next));
    let is_op = |token: Token, texts: &[&str]| token.kind == Kind::Op && texts.contains(&text(source, token));
    let in_slice = brackets.last().is_some_and(|bracket| bracket.is_index);
    if is_op(before, &["(", "[", "{", "."]) || is_op(next, &[")", "]", "}", ",", ";", "."]) {
        // `from . import x` and numbers like `1 .real` are none of this language's.
        return false;
    }
    if is_op(before, &[",", ";"]) {
        return true;
    }
    if left == ":" && before.kind == Kind::Op {
        return !in_slice;
    }
    if right == ":" && next.kind == Kind::Op {
        return false;
    }
    if is_op(before, &["@"]) && earlier.is_none() {
        return false;
    }
    if before.kind == Kind::Op && is_unary(source, earlier, before) {
        return false;
    }
    if is_op(before, &BINARY) || is_op(next, &BINARY) {
        return true;
    }
    if is_op(next, &["(", "["]) {
        return !is_value(source, before);
    }
    // Names, numbers, texts beside each other; operators that are not known here keep apart.
    !(left.is_empty() || right.is_empty())
}
