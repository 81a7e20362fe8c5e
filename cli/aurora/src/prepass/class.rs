//! `class X(Struct):` as a value. Not here: what a struct is (`language::class`).

use super::rewrite::{File, expressions};
use super::token::{Kind, LogicalLine, Token};
use crate::errors::ConfigError;

/// Rewrites a class. Returns how many logical lines it took, its own included.
pub fn rewrite(file: &mut File, header: &LogicalLine, block: &[LogicalLine]) -> Result<usize, ConfigError> {
    let tokens = &header.tokens;
    let Some(name) = tokens.get(1).filter(|token| token.kind == Kind::Name) else {
        return Err(file.refuse(&tokens[0], "`class` needs a name"));
    };
    let Some(colon) = tokens.iter().position(|token| file.word(token) == ":") else {
        return Err(file.refuse(name, "`class` needs a `:`"));
    };
    let base: String = tokens[2..colon].iter().map(|token| file.word(token)).collect();
    let class_name = file.word(name);
    match base.as_str() {
        "(Struct)" | "(pystachio.Struct)" => {
            let mut fields: Vec<&[Token]> = vec![&tokens[colon + 1..]];
            fields.extend(block.iter().map(|line| line.tokens.as_slice()));
            struct_type(file, tokens, colon, class_name, &fields)?;
        }
        "" | "()" | "(object)" => {
            file.edits.replace(tokens[0].start, tokens[colon].end, format!("{class_name} = _opaque('{class_name}')"));
            if let (Some(first), Some(last)) = (block.first(), block.last()) {
                file.edits.blank(file.text, first.tokens[0].start, last.tokens[last.tokens.len() - 1].end);
            }
            let position = file.position(tokens[0].start);
            file.notes.push(format!("{position}: class {class_name} is Python code (a client hook) and is not run"));
        }
        _ => {
            let message = format!("class {class_name}{base}: only `class {class_name}(Struct):` is understood");
            return Err(file.refuse(name, message));
        }
    }
    Ok(1 + block.len())
}

fn struct_type(
    file: &mut File,
    header: &[Token],
    colon: usize,
    name: &str,
    lines: &[&[Token]],
) -> Result<(), ConfigError> {
    file.edits.replace(header[0].start, header[colon].end, format!("{name} = Struct('{name}',"));
    let mut end = header[colon].end;
    for tokens in lines.iter().filter(|tokens| !tokens.is_empty()) {
        let (first, last) = (tokens[0], tokens[tokens.len() - 1]);
        end = last.end;
        let is_field = first.kind == Kind::Name && file.is(tokens.get(1), "=");
        if is_field {
            expressions(file, tokens);
            let separator = file.word(&last) == ";";
            file.edits.replace(if separator { last.start } else { last.end }, last.end, ",");
        } else if file.word(&first) == "pass" || tokens.iter().all(|token| token.kind == Kind::Text) {
            file.edits.blank(file.text, first.start, last.end);
        } else {
            return Err(file.refuse(&first, format!("{name}: the body of a Struct has only fields, `name = Type`")));
        }
    }
    file.edits.insert(end, ")");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rewrite::rewrite;

    fn rewritten(text: &str) -> String {
        rewrite("t.aurora", text).unwrap().edited.lines.join("\n")
    }

    #[test]
    fn a_struct_becomes_a_value_on_the_same_lines() {
        let text =
            "class P(Struct):\n  'doc'\n  a = Required(String)  # note\n  b = Default(String,\n    'x' 'y')\n\nc = P()";
        let expected =
            "P = Struct('P',\n  \n  a = Required(String),  # note\n  b = Default(String,\n    ('x'+ 'y')),)\n\nc = P()";
        assert_eq!(rewritten(text), expected);
        assert_eq!(rewritten("class P(Struct): pass\nx = 1"), "P = Struct('P', )\nx = 1");
    }

    #[test]
    fn other_classes_are_left_out_with_a_note() {
        let done = rewrite("t.aurora", "class H:\n  def f(self):\n    print 1\n\nhooks = [H(1)]").unwrap();
        assert_eq!(done.edited.lines, ["H = _opaque('H')", "  ", "", "", "hooks = [H(1)]"]);
        assert_eq!(done.notes.len(), 1);
    }

    #[test]
    fn what_is_no_field_is_refused_with_its_place() {
        let error = rewrite("t.aurora", "class P(Struct):\n  a = String\n  def f(self): pass").unwrap_err().to_string();
        assert!(error.starts_with("t.aurora:3:3: P: the body"), "{error}");
        let error = rewrite("t.aurora", "class P(Q):\n  a = String").unwrap_err().to_string();
        assert!(error.contains("class P(Q): only `class P(Struct):`"), "{error}");
    }
}
