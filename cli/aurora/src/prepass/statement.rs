//! Statements of Python that Starlark writes differently or doesn't have. Not here: expressions inside them.

use super::rewrite::{File, Include};
use super::token::{Kind, Token};
use crate::errors::ConfigError;

/// Modules whose names the language provides, or whose import has nothing left to do.
const SHIMMED: [&str; 5] = ["os", "json", "textwrap", "getpass", "math"];
const WITHOUT_EFFECT: [&str; 4] = ["__future__", "pystachio", "sys", "string"];

/// Python statements with no counterpart, and what to write.
const REFUSED: [(&str, &str); 11] = [
    ("while", "loops run over something: `for x in range(n):`"),
    ("try", "a configuration doesn't catch errors"),
    ("except", "a configuration doesn't catch errors"),
    ("finally", "a configuration doesn't catch errors"),
    ("del", "build the value without it"),
    ("global", "return the value and assign it at the top level"),
    ("nonlocal", "return the value"),
    ("assert", "write `if not …: fail(…)`"),
    ("yield", "return a list"),
    ("async", "evaluation has no side effects to wait for"),
    ("@", "call the function where its result is needed"),
];

pub fn rewrite(file: &mut File, tokens: &[Token], indent: usize) -> Result<(), ConfigError> {
    let first = &tokens[0];
    let word = file.word(first);
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == word) {
        return Err(file.refuse(first, format!("`{word}` is not part of the configuration language; {instead}")));
    }
    let body = match tokens.split_last() {
        Some((last, body)) if file.word(last) == ";" => body,
        _ => tokens,
    };
    match word {
        "import" | "from" => import(file, body),
        "print" => {
            print(file, body);
            Ok(())
        }
        "raise" => {
            raise(file, body);
            Ok(())
        }
        "with" => with(file, tokens),
        "include" => include(file, tokens, indent),
        _ => match tokens.windows(2).find(|pair| file.word(&pair[0]) == "include" && file.word(&pair[1]) == "(") {
            Some(pair) if pair[0].kind == Kind::Name => {
                Err(file.refuse(&pair[0], "include('…') must stand alone at the top level"))
            }
            _ => Ok(()),
        },
    }
}

/// The name a module's part is known by once imported: (as imported, module, part).
fn import(file: &mut File, tokens: &[Token]) -> Result<(), ConfigError> {
    let words: Vec<&str> = tokens.iter().map(|token| file.word(token)).collect();
    let from = words[0] == "from";
    let module_end = words.iter().position(|word| *word == "import" || *word == "as" || *word == ",");
    let module_end = module_end.filter(|at| *at > 0).unwrap_or(words.len());
    let mut assigned = Vec::new();
    if from {
        let module = words[1..module_end].concat();
        let shimmed = allowed(file, &tokens[0], &module)?;
        let names: Vec<&str> = words[(module_end + 1).min(words.len())..].to_vec();
        if shimmed && names != ["*"] {
            let names: Vec<_> = names.into_iter().filter(|word| !["(", ")"].contains(word)).collect();
            for item in names.split(|word| *word == ",").filter(|item| !item.is_empty()) {
                assigned.push(format!("{} = {module}.{}", item[item.len() - 1], item[0]));
            }
        }
    } else {
        for item in words[1..].split(|word| *word == ",") {
            let (module, alias) = match item.iter().position(|word| *word == "as") {
                Some(at) => (item[..at].concat(), item.get(at + 1).copied()),
                None => (item.concat(), None),
            };
            if allowed(file, &tokens[0], &module)?
                && let Some(alias) = alias
            {
                assigned.push(format!("{alias} = {module}"));
            }
        }
    }
    let end = tokens[tokens.len() - 1].end;
    file.edits.drop_within(tokens[0].start, end);
    file.edits.blank(file.text, tokens[0].start, end);
    file.edits.insert(end, if assigned.is_empty() { "pass".to_string() } else { assigned.join("; ") });
    Ok(())
}

/// Whether a module is there (true) or its import merely has no effect (false).
fn allowed(file: &File, at: &Token, module: &str) -> Result<bool, ConfigError> {
    let top = module.split('.').next().unwrap_or(module);
    if SHIMMED.contains(&top) {
        Ok(true)
    } else if WITHOUT_EFFECT.contains(&top) || module.starts_with("apache.") || module.starts_with("twitter.common") {
        Ok(false)
    } else {
        let known = SHIMMED.join(", ");
        Err(file.refuse(at, format!("can't import `{module}`: a configuration has {known}, and include('…')")))
    }
}

/// `print a, b` becomes `print(a, b)`.
fn print(file: &mut File, tokens: &[Token]) {
    let (first, last) = (tokens[0], tokens[tokens.len() - 1]);
    if tokens.len() == 1 {
        file.edits.insert(first.end, "()");
    } else if file.word(&tokens[1]) != "(" && !file.word(&tokens[1]).starts_with(['=', '.']) {
        file.edits.replace(first.end, tokens[1].start, "(");
        if file.word(&last) == "," {
            file.edits.replace(last.start, last.end, "");
        }
        file.edits.insert(last.end, ")");
    }
}

/// `raise Exception(…)` becomes a call of `fail`.
fn raise(file: &mut File, tokens: &[Token]) {
    let last = tokens[tokens.len() - 1];
    match tokens.get(1) {
        None => file.edits.replace(tokens[0].start, tokens[0].end, "fail('raised')"),
        Some(next) => {
            file.edits.replace(tokens[0].start, next.start, "fail(");
            file.edits.insert(last.end, ")");
        }
    }
}

/// `with x as y:` becomes a loop over one value.
fn with(file: &mut File, tokens: &[Token]) -> Result<(), ConfigError> {
    let colon = tokens.iter().rposition(|token| file.word(token) == ":");
    let alias = tokens.iter().rposition(|token| file.word(token) == "as");
    let (Some(colon), true) = (colon, tokens.len() > 2) else {
        return Err(file.refuse(&tokens[0], "`with` needs a value and `:`"));
    };
    let (name, value_end) = match alias {
        Some(at) if at + 2 == colon => (file.word(&tokens[at + 1]), at),
        _ => ("_", colon),
    };
    file.edits.replace(tokens[0].start, tokens[1].start, format!("for {name} in ["));
    let start = tokens[value_end - 1].end;
    file.edits.replace(start, tokens[colon].start, "]");
    Ok(())
}

fn include(file: &mut File, tokens: &[Token], indent: usize) -> Result<(), ConfigError> {
    let first = tokens[0];
    let is_call = file.is(tokens.get(1), "(");
    if !is_call {
        return Ok(());
    }
    if indent > 0 {
        return Err(file.refuse(&first, "include('…') must stand alone at the top level"));
    }
    let path = match tokens {
        [_, _, path, close] if path.kind == Kind::Text && file.word(close) == ")" => file.word(path),
        _ => return Err(file.refuse(&first, "include() takes one path, written as a string")),
    };
    let path = path.trim_start_matches(['u', 'r']).trim_matches(['"', '\'']).to_string();
    let position = file.position(first.start);
    file.includes.push(Include { line: position.line as usize - 1, column: position.column as usize - 1, path });
    file.edits.blank(file.text, first.start, tokens[3].end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rewrite::{Include, rewrite};

    fn rewritten(text: &str) -> String {
        rewrite("t.aurora", text).unwrap().edited.lines.join("\n")
    }

    fn refused(text: &str) -> String {
        rewrite("t.aurora", text).unwrap_err().to_string()
    }

    #[test]
    fn known_imports_go_and_aliases_stay() {
        assert_eq!(
            rewritten("import os, json as j\nfrom textwrap import (dedent,\n  wrap as w)"),
            "j = json\n\ndedent = textwrap.dedent; w = textwrap.wrap"
        );
        assert_eq!(rewritten("from pystachio import *\nfrom apache.thermos.config.schema import Task"), "pass\npass");
    }

    #[test]
    fn other_imports_are_refused_by_name() {
        let error = refused("x = 1\nimport subprocess");
        assert!(error.starts_with("t.aurora:2:1: can't import `subprocess`"), "{error}");
    }

    #[test]
    fn statements_without_a_counterpart_say_what_to_write() {
        assert!(refused("while True:\n  pass").contains("for x in range"));
        assert!(refused("if a:\n  try:\n    b\n  except: c").starts_with("t.aurora:2:3: `try`"));
    }

    #[test]
    fn raise_and_with_have_counterparts() {
        assert_eq!(rewritten("raise ValueError('a' % b)"), "fail(ValueError('a' % b))");
        assert_eq!(
            rewritten("with open('a', 'r') as f:\n  b = f.read()"),
            "for f in [open('a', 'r')]:\n  b = f.read()"
        );
    }

    #[test]
    fn includes_are_taken_out_and_noted() {
        let done = rewrite("t.aurora", "a = 1\ninclude('../b.aurora')\n").unwrap();
        assert_eq!(done.includes, [Include { line: 1, column: 0, path: "../b.aurora".into() }]);
        assert_eq!(done.edited.lines, ["a = 1", "", ""]);
        assert!(refused("if a:\n  include('b')").contains("top level"));
        assert!(refused("include('a' + b)").contains("one path"));
    }
}
