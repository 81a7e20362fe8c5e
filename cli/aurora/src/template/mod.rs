//! Templates: text with `{{references}}`, resolved from the inside out. Not here: which scopes a value sees.

mod interpolate;
pub mod reference;

use std::sync::Arc;

use self::reference::Ref;
use super::value::scope::{Bound, Scope};
use super::value::{Node, Obj};
pub use interpolate::{Context, Fault, interpolate};

/// A piece of a template.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    /// `{{&name}}`: shown as `{{name}}` in the end, never looked up.
    Escaped(&'a str),
    Reference(&'a str, Ref),
}

/// Replacements in one text before it counts as circular.
const MAX_ROUNDS: usize = 100;

/// Whether text has references, escaped ones left out.
///
/// # Errors
/// Something between double braces is no reference.
pub fn has_references(text: &str) -> Result<bool, String> {
    Ok(split(text)?.iter().any(|piece| matches!(piece, Piece::Reference(..))))
}

/// Splits at `{{…}}` without braces inside.
fn split(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut plain_from = 0;
    let mut search_from = 0;
    while let Some(found) = text[search_from..].find("{{") {
        let open = search_from + found;
        let inner_from = open + 2;
        let Some(length) = text[inner_from..].find(['{', '}']) else { break };
        let inner = &text[inner_from..inner_from + length];
        let tail = &text[inner_from + length..];
        if inner.is_empty() || !tail.starts_with("}}") {
            search_from = open + 1;
            continue;
        }
        if plain_from < open {
            pieces.push(Piece::Text(&text[plain_from..open]));
        }
        pieces.push(match inner.strip_prefix('&') {
            Some(name) => Piece::Escaped(name.strip_suffix('&').unwrap_or(name)),
            None => Piece::Reference(inner, Ref::parse(inner).ok_or_else(|| not_a_reference(inner))?),
        });
        plain_from = inner_from + length + 2;
        search_from = plain_from;
    }
    if plain_from < text.len() {
        pieces.push(Piece::Text(&text[plain_from..]));
    }
    Ok(pieces)
}

fn not_a_reference(inner: &str) -> String {
    format!("'{{{{{inner}}}}}' is no reference; write '{{{{&{inner}}}}}' to have the braces as text")
}

/// Resolves text as far as the scopes allow. Returns it with the references that remain.
fn resolve(text: &str, scopes: &[Scope], context: &mut Context) -> Result<(String, Vec<Ref>), Fault> {
    let mut found: Vec<(Ref, String)> = Vec::new();
    let mut text = text.to_string();
    for _ in 0..MAX_ROUNDS {
        context.spend(1 + text.len() / 64)?;
        let mut replaced = false;
        let mut next = String::with_capacity(text.len());
        for piece in split(&text).map_err(Fault::text)? {
            match piece {
                Piece::Text(text) => next.push_str(text),
                Piece::Escaped(name) => next.push_str(&format!("{{{{&{name}}}}}")),
                Piece::Reference(written, reference) => match look_up(&reference, scopes, &mut found, context)? {
                    Some(value) => {
                        replaced = true;
                        next.push_str(&value);
                    }
                    None => next.push_str(&format!("{{{{{written}}}}}")),
                },
            }
        }
        text = next;
        if !replaced {
            return finish(&text);
        }
    }
    Err(Fault::text(format!("its references lead back to themselves ({MAX_ROUNDS} replacements)")))
}

fn finish(text: &str) -> Result<(String, Vec<Ref>), Fault> {
    let mut shown = String::with_capacity(text.len());
    let mut unbound = Vec::new();
    for piece in split(text).map_err(Fault::text)? {
        match piece {
            Piece::Text(text) => shown.push_str(text),
            Piece::Escaped(name) => shown.push_str(&format!("{{{{{name}}}}}")),
            Piece::Reference(written, reference) => {
                shown.push_str(&format!("{{{{{written}}}}}"));
                unbound.push(reference);
            }
        }
    }
    Ok((shown, unbound))
}

fn look_up(
    reference: &Ref,
    scopes: &[Scope],
    found: &mut Vec<(Ref, String)>,
    context: &mut Context,
) -> Result<Option<String>, Fault> {
    if let Some((_, value)) = found.iter().find(|(name, _)| name == reference) {
        return Ok(Some(value.clone()));
    }
    context.spend(scopes.len())?;
    let Some(bound) = scopes.iter().find_map(|scope| scope.find(&reference.0)) else { return Ok(None) };
    let value = match bound {
        Bound::Text(text) => text,
        Bound::Object(object) => shown_in_text(&object, reference, context)?,
    };
    found.push((reference.clone(), value.clone()));
    Ok(Some(value))
}

/// A named value as text. It is resolved in its own scopes first; what remains resolves where it is used.
fn shown_in_text(object: &Obj, reference: &Ref, context: &mut Context) -> Result<String, Fault> {
    match &*object.node {
        Node::Leaf(..) => {
            let inner = context.nested(reference, |context| interpolate(object, context))?;
            match &*inner.node {
                Node::Leaf(_, scalar) => Ok(scalar.text()),
                _ => Err(Fault::text(format!("{{{{{reference}}}}} is no plain value"))),
            }
        }
        Node::Choice(_, options) if options.len() == 1 => {
            shown_in_text(&options[0].in_scope(&object.scopes), reference, context)
        }
        _ => Err(Fault::text(format!(
            "{{{{{reference}}}}} names {}, which can't stand in text; name one of its fields",
            object.class().described()
        ))),
    }
}

/// Shared by everything that binds names: one table from pairs.
pub fn bindings(pairs: Vec<(Ref, Bound)>) -> Scope {
    Scope::Bindings(Arc::new(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(pairs: &[(&str, &str)]) -> Vec<Scope> {
        let pairs = pairs.iter().map(|(name, text)| (Ref::parse(name).unwrap(), Bound::Text(text.to_string())));
        vec![bindings(pairs.collect())]
    }

    fn resolved(text: &str, scopes: &[Scope]) -> (String, Vec<String>) {
        let (text, unbound) = resolve(text, scopes, &mut Context::default()).unwrap();
        (text, unbound.iter().map(Ref::to_string).collect())
    }

    #[test]
    fn references_resolve_inside_out_and_the_rest_stays() {
        let scopes = bound(&[("a", "{{b}}-{{c}}"), ("b", "x"), ("ports[x]", "80")]);
        assert_eq!(resolved("{{a}}", &scopes), ("x-{{c}}".into(), vec!["c".into()]));
        assert_eq!(resolved("p={{ports[{{b}}]}}", &scopes), ("p=80".into(), vec![]));
    }

    #[test]
    fn an_escaped_reference_is_text() {
        assert_eq!(resolved("{{&b}} {b} {{{b}}}", &bound(&[("b", "x")])), ("{{b}} {b} {x}".into(), vec![]));
    }

    #[test]
    fn a_reference_to_itself_is_refused() {
        let error = resolve("{{a}}", &bound(&[("a", "{{a}}")]), &mut Context::default()).unwrap_err();
        assert!(error.message.contains("lead back to themselves"), "{}", error.message);
    }

    #[test]
    fn braces_around_something_else_are_refused_with_the_way_out() {
        let error = has_references("docker ps --format '{{ json . }}'").unwrap_err();
        assert!(error.contains("'{{& json . }}'"), "{error}");
    }
}
