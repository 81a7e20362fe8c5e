//! A YAML (or JSON) text as a tree that remembers where everything stands.
//! Not here: what fields mean. Bounded: depth, number of nodes with aliases written out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// Nodes of a file, every alias written out: an alias bomb stops here.
const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 32;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub at: Mark,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Null,
    /// `plain`: not quoted, so it may be a number or a boolean.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub struct Key {
    pub text: String,
    pub at: Mark,
}

impl Node {
    /// For messages: "a list".
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn count(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar { .. } => 1,
            Value::List(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Value::Map(fields) => 1 + fields.iter().map(|(_, node)| 1 + node.count()).sum::<usize>(),
        }
    }
}

/// Why a text is no tree.
#[derive(Debug)]
pub struct SyntaxError {
    pub at: Mark,
    pub message: String,
}

fn wrong<T>(at: Mark, message: impl Into<String>) -> Result<T, SyntaxError> {
    Err(SyntaxError { at, message: message.into() })
}

/// The documents of a text; empty ones are left out.
///
/// # Errors
/// The first thing that is no YAML, or that is more than the bounds allow.
pub fn documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let options = granit_parser::options! { emit_comments: false, disallow_directives: true };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| SyntaxError {
            at: Mark { line: error.marker().line(), column: error.marker().col() + 1 },
            message: explained(error.info()),
        })?;
        builder.event(event, mark(&span))?;
    }
    builder.done.retain(|node| !matches!(node.value, Value::Null));
    Ok(builder.done)
}

/// The parser's words, and what people mostly meant where they meet them.
fn explained(said: String) -> String {
    let hint = if said.contains("mapping values are not allowed") {
        "put quotes around the whole text, or write it below `run: |`"
    } else if said.contains("unknown anchor") {
        "a text that begins with * needs quotes around it, as in \"*/5 * * * *\""
    } else if said.contains("found unexpected end of stream") || said.contains("unclosed") {
        "a quote or a bracket is opened and never closed"
    } else {
        return said;
    };
    format!("{said}; {hint}")
}

fn mark(span: &Span) -> Mark {
    Mark { line: span.start.line(), column: span.start.col() + 1 }
}

/// The fields of a mapping, in the order of the file.
type Pairs = Vec<(Key, Node)>;

/// A list or mapping that is not complete yet.
struct Open {
    at: Mark,
    anchor: usize,
    items: Vec<Node>,
    /// For mappings: the fields so far and the key whose value comes next.
    fields: Option<(Pairs, Option<Key>)>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    done: Vec<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, at: Mark) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = Node { at, value: scalar(&text, style, tag, at)? };
                self.complete(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.start(at, anchor, tag, false),
            Event::MappingStart(_, anchor, tag) => self.start(at, anchor, tag, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = match open.fields {
                    Some((fields, _)) => Value::Map(merged(fields)?),
                    None => Value::List(open.items),
                };
                self.complete(Node { at: open.at, value }, open.anchor)
            }
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => {
                    self.nodes += node.count();
                    self.complete(node, 0)
                }
                None => wrong(at, "an alias inside of what it stands for"),
            },
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, at: Mark, anchor: usize, tag: Option<Cow<'_, Tag>>, is_map: bool) -> Result<(), SyntaxError> {
        if let Some(tag) = tag {
            return wrong(at, format!("the tag {tag} has no meaning here; leave it out"));
        }
        if self.open.len() == MAX_DEPTH {
            return wrong(at, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.open.push(Open { at, anchor, items: Vec::new(), fields: is_map.then(Default::default) });
        Ok(())
    }

    /// Puts a complete node where it belongs: as a key, as a key's value, into a list, or as a document.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return wrong(node.at, format!("more than {MAX_NODES} values, every alias written out"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.done.push(node);
            return Ok(());
        };
        let Some((fields, key)) = &mut open.fields else {
            open.items.push(node);
            return Ok(());
        };
        match key.take() {
            Some(key) => fields.push((key, node)),
            None => match node.value {
                Value::Scalar { text, .. } => *key = Some(Key { text, at: node.at }),
                _ => return wrong(node.at, "a field's name is a single value; a text that begins with { needs quotes"),
            },
        }
        Ok(())
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<Cow<'_, Tag>>, at: Mark) -> Result<Value, SyntaxError> {
    let mut plain = style == ScalarStyle::Plain;
    if let Some(tag) = tag {
        if !tag.is_yaml_core_schema_tag("str") {
            return wrong(at, format!("the tag {tag} has no meaning here; leave it out"));
        }
        plain = false;
    }
    if plain && matches!(text, "" | "~" | "null") {
        return Ok(Value::Null);
    }
    Ok(Value::Scalar { text: text.to_string(), plain })
}

/// Refuses a field that is there twice and writes out `<<`: fields of the merged mappings that are not there otherwise.
fn merged(fields: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, SyntaxError> {
    let mut own: Vec<(Key, Node)> = Vec::with_capacity(fields.len());
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut sources = Vec::new();
    for (key, node) in fields {
        if key.text == "<<" {
            sources.push(node);
            continue;
        }
        if let Some(line) = lines.insert(key.text.clone(), key.at.line) {
            let name = crate::render::safe(&key.text);
            return wrong(key.at, format!("`{name}` is there twice; first in line {line}"));
        }
        own.push((key, node));
    }
    for source in sources {
        let at = source.at;
        let maps = if let Value::List(items) = source.value { items } else { vec![source] };
        for map in maps {
            let Value::Map(fields) = map.value else { return wrong(at, "`<<` merges a mapping or a list of them") };
            for (key, node) in fields {
                if lines.insert(key.text.clone(), key.at.line).is_none() {
                    own.push((key, node));
                }
            }
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = documents(text).unwrap_err();
        format!("{}:{}: {}", error.at.line, error.at.column, error.message)
    }

    #[test]
    fn values_know_where_they_stand() {
        let docs = documents("a: 1\nb:\n  - x\n---\nc: 'y'\n").unwrap();
        assert_eq!(docs.len(), 2);
        let Value::Map(fields) = &docs[0].value else { panic!("{docs:?}") };
        assert_eq!(fields[1].0.at, Mark { line: 2, column: 1 });
        let Value::List(items) = &fields[1].1.value else { panic!("{fields:?}") };
        assert_eq!(items[0].at, Mark { line: 3, column: 5 });
    }

    #[test]
    fn json_with_tabs_is_read_too() {
        let docs = documents("{\n\t\"a\": [1, \"two\"],\n\t\"b\":{\"c\":null}\n}\n").unwrap();
        let Value::Map(fields) = &docs[0].value else { panic!("{docs:?}") };
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn merged_fields_give_way_to_own_ones() {
        let docs = documents("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n").unwrap();
        let Value::Map(fields) = &docs[0].value else { panic!("{docs:?}") };
        let Value::Map(b) = &fields[1].1.value else { panic!("{fields:?}") };
        let texts: Vec<String> = b.iter().map(|(key, node)| format!("{}={:?}", key.text, node.value)).collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].starts_with("y=") && texts[0].contains('3'), "{texts:?}");
        assert!(texts[1].starts_with("x="), "{texts:?}");
    }

    #[test]
    fn an_alias_bomb_is_refused_quickly() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            text += &format!("a{i}: &a{i} [{refs}]\n");
        }
        assert!(error(&text).contains("more than 200000 values"), "{}", error(&text));
    }

    #[test]
    fn what_is_no_tree_is_refused_with_its_place() {
        assert_eq!(error("a: 1\na: 2\n"), "2:1: `a` is there twice; first in line 1");
        assert_eq!(error("a: &x [*x]\n"), "1:8: an alias inside of what it stands for");
        assert_eq!(
            error("? [a]\n: b\n"),
            "1:3: a field's name is a single value; a text that begins with { needs quotes"
        );
        assert_eq!(error("a: !env HOME\n"), "1:9: the tag !env has no meaning here; leave it out");
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(error(&deep).contains("nested deeper than 32"), "{}", error(&deep));
        assert!(error("a: [1, 2\nb: 3\n").starts_with("2:"), "{}", error("a: [1, 2\nb: 3\n"));
        assert!(error("a: *nobody\n").starts_with("1:4: "), "{}", error("a: *nobody\n"));
    }
}
