//! Takes fields out of a tree and collects everything that is wrong, each with its place and its nearest right name.
//! Not here: which fields there are.

use std::collections::BTreeMap;

use dawn_proto::fields::{self, Form};

use super::node::{Key, Mark, Node, Value};
use crate::render::safe;

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub at: Mark,
    /// As the file calls it: `processes[0].env`. Empty: the whole.
    pub path: String,
    pub message: String,
}

/// A field, as the file calls it and as the spec does.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub file: String,
    pub spec: String,
}

impl Place {
    pub fn field(&self, file: &str, spec: &str) -> Place {
        Place { file: join(&self.file, file), spec: join(&self.spec, spec) }
    }

    pub fn item(&self, i: usize) -> Place {
        Place { file: format!("{}[{i}]", self.file), spec: format!("{}[{i}]", self.spec) }
    }
}

fn join(path: &str, name: &str) -> String {
    match (path, name) {
        (path, "") => path.to_string(),
        ("", name) => name.to_string(),
        (path, name) => format!("{path}.{name}"),
    }
}

/// What was found wrong, and where the fields of the spec came from.
#[derive(Debug, Default)]
pub struct Reader {
    pub problems: Vec<Problem>,
    places: BTreeMap<String, (Mark, String)>,
}

impl Reader {
    pub fn wrong(&mut self, at: Mark, path: &str, message: impl Into<String>) {
        self.problems.push(Problem { at, path: path.to_string(), message: message.into() });
    }

    pub fn remember(&mut self, place: &Place, at: Mark) {
        self.places.insert(place.spec.clone(), (at, place.file.clone()));
    }

    /// Where a field of the spec stands in the file, or would; by its nearest part that is there.
    pub fn locate(&self, spec: &str) -> (Mark, String) {
        let mut known = spec;
        loop {
            if let Some((at, file)) = self.places.get(known) {
                let below = below(known, spec[known.len()..].trim_start_matches('.'));
                let is_item = below.starts_with('[');
                return (*at, if is_item { format!("{file}{below}") } else { join(file, &below) });
            }
            match known.rfind(['.', '[']) {
                Some(end) => known = &known[..end],
                None if known.is_empty() => return (Mark { line: 1, column: 1 }, spec.to_string()),
                None => known = "",
            }
        }
    }

    pub fn fields<'a>(&mut self, node: &'a Node, place: Place, known: &[&str]) -> Option<Fields<'a>> {
        self.remember(&place, node.at);
        let fields = match &node.value {
            Value::Map(fields) => fields.as_slice(),
            Value::Null => &[],
            _ => {
                self.wrong(node.at, &place.file, format!("is {}; a mapping of fields belongs here", node.kind()));
                return None;
            }
        };
        for (key, _) in fields {
            if !known.contains(&key.text.as_str()) {
                let instead = foreign(&key.text).map_or_else(|| nearest(&key.text, known), str::to_string);
                let message = format!("unknown field `{}`; {instead}", safe(&key.text));
                self.wrong(key.at, &join(&place.file, &safe(&key.text)), message);
            }
        }
        Some(Fields { fields, place })
    }

    /// The items of a list; of one that is missing: none.
    pub fn items<'a>(&mut self, node: &'a Node, place: &Place) -> &'a [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                self.wrong(node.at, &place.file, format!("is {}; a list belongs here", node.kind()));
                &[]
            }
        }
    }

    pub fn text<'a>(&mut self, node: &'a Node, place: &Place) -> Option<&'a str> {
        match &node.value {
            Value::Scalar { text, .. } => return Some(text),
            Value::Null => self.wrong(node.at, &place.file, "has no value"),
            _ => self.wrong(node.at, &place.file, format!("is {}; a single value belongs here", node.kind())),
        }
        None
    }

    /// A single value, or the items of a list, each with its place.
    pub fn single_or_items<'a>(&mut self, node: &'a Node, place: &Place) -> Vec<(&'a Node, Place)> {
        if matches!(node.value, Value::Scalar { .. }) {
            return vec![(node, place.clone())];
        }
        let items: Vec<_> = self.items(node, place).iter().enumerate().map(|(i, item)| (item, place.item(i))).collect();
        for (item, place) in &items {
            self.remember(place, item.at);
        }
        items
    }

    /// A single text, or a list of them.
    pub fn texts(&mut self, node: &Node, place: &Place) -> Vec<String> {
        let items = self.single_or_items(node, place);
        items.iter().filter_map(|(item, place)| self.text(item, place).map(str::to_string)).collect()
    }
}

/// What a job file calls the rest of a path whose beginning is known.
fn below(known: &str, rest: &str) -> String {
    match (fields::field_at(known), fields::message_at(known)) {
        // Such a value is one text in a file.
        (Some(field), None) if matches!(field.form, Form::Key | Form::Comparison) => String::new(),
        (Some(field), None) if field.form == Form::Set => rest.trim_start_matches("values").to_string(),
        (_, Some(message)) => fields::path_in_file(message, rest),
        (_, None) => rest.to_string(),
    }
}

fn foreign(name: &str) -> Option<&'static str> {
    matches!(name, "image" | "container").then_some(dawn_aurora::NO_IMAGES)
}

/// Begins the list of all that there is.
const THERE_ARE: &str = "there are: ";

/// The list of all fields is said once; after that only what is unknown.
pub fn without_repetition(problems: &mut [Problem]) {
    let mut said: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    for problem in problems {
        let Some((what, list)) = problem.message.split_once(THERE_ARE) else { continue };
        if !said.insert(list.to_string()) {
            problem.message = what.trim_end_matches("; ").to_string();
        }
    }
}

/// "did you mean `cpu`?", or all that there is.
pub fn nearest(text: &str, known: &[&str]) -> String {
    let lower = text.to_lowercase();
    let best = known.iter().map(|name| (strsim::jaro_winkler(&lower, name), name));
    let best = best.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.8);
    match best {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => {
            let mut once = std::collections::BTreeSet::new();
            let listed: Vec<&str> = known.iter().copied().filter(|name| once.insert(*name)).collect();
            format!("{THERE_ARE}{}", listed.join(", "))
        }
    }
}

/// A mapping whose fields are taken one by one.
pub struct Fields<'a> {
    fields: &'a [(Key, Node)],
    pub place: Place,
}

impl<'a> Fields<'a> {
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(key, _)| key.text == name)
    }

    /// A field that is there.
    pub fn peek(&self, name: &str) -> Option<&'a Node> {
        self.fields.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }

    /// The same mapping as a message whose fields stand in it.
    pub fn within(&self, spec: &str) -> Fields<'a> {
        Fields { fields: self.fields, place: self.place.field("", spec) }
    }

    /// A field that is there, and its place; `spec` is what the spec calls it, below this mapping's own place.
    pub fn take(&self, r: &mut Reader, name: &str, spec: &str) -> Option<(&'a Node, Place)> {
        let node = self.peek(name)?;
        let place = self.place.field(name, spec);
        r.remember(&place, node.at);
        Some((node, place))
    }

    pub fn flag(&self, r: &mut Reader, name: &str, spec: &str) -> bool {
        let Some((node, place)) = self.take(r, name, spec) else { return false };
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => return true,
            Value::Scalar { text, plain: true } if text == "false" => return false,
            _ => {}
        }
        let text = r.text(node, &place).map(safe);
        if let Some(text) = text {
            r.wrong(node.at, &place.file, format!("`{text}` is neither true nor false"));
        }
        false
    }

    /// The entries of a mapping with free names.
    pub fn entries(&self, r: &mut Reader, name: &str, spec: &str) -> Vec<(&'a str, &'a Node, Place)> {
        let Some((node, place)) = self.take(r, name, spec) else { return Vec::new() };
        let fields = match &node.value {
            Value::Map(fields) => fields.as_slice(),
            Value::Null => &[],
            _ => {
                r.wrong(node.at, &place.file, format!("is {}; names with values belong here", node.kind()));
                &[]
            }
        };
        let place = |key: &Key| place.field(&safe(&key.text), &key.text);
        let entries: Vec<_> = fields.iter().map(|(key, node)| (key.text.as_str(), node, place(key))).collect();
        for (_, node, place) in &entries {
            r.remember(place, node.at);
        }
        entries
    }
}

/// One of a few words.
///
/// # Errors
/// What would be right.
pub fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let hint = nearest(text, &words);
    let hint = if hint.starts_with("did") { format!("; {hint}") } else { String::new() };
    Err(format!("is not one of {}{hint}", words.join(", ")))
}
