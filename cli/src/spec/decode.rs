//! Takes fields out of a tree and collects everything that is wrong, each with its place and its nearest right name.
//! Not here: which fields there are.

use std::collections::BTreeMap;

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
                let rest = spec[known.len()..].trim_start_matches('.');
                let rest = rest.strip_prefix("task.").unwrap_or(rest);
                return (*at, join(file, &in_file_words(rest)));
            }
            match known.rfind(['.', '[']) {
                Some(end) => known = &known[..end],
                None if known.is_empty() => return (Mark { line: 1, column: 1 }, spec.to_string()),
                None => known = "",
            }
        }
    }

    pub fn fields<'a>(&mut self, node: &'a Node, place: Place, known: &'static [&'static str]) -> Option<Fields<'a>> {
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

    /// A single text, or a list of them.
    pub fn texts(&mut self, node: &Node, place: &Place) -> Vec<String> {
        if matches!(node.value, Value::Scalar { .. }) {
            return self.text(node, place).map(str::to_string).into_iter().collect();
        }
        let mut texts = Vec::new();
        for (i, item) in self.items(node, place).iter().enumerate() {
            let place = place.item(i);
            self.remember(&place, item.at);
            texts.extend(self.text(item, &place).map(str::to_string));
        }
        texts
    }
}

/// A spec's field name without the unit at its end, as files have it.
fn in_file_words(rest: &str) -> String {
    let mut words = match rest {
        rest if rest == "key" || rest.starts_with("key.") => "job".to_string(),
        "dependencies" => "after".to_string(),
        rest => rest.to_string(),
    };
    for unit in ["_ms", "_bytes", "_milli"] {
        if let Some(short) = words.strip_suffix(unit) {
            words.truncate(short.len());
        }
    }
    words
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
        None => format!("{THERE_ARE}{}", known.join(", ")),
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

    /// A field that is there, and its place; `spec` is what the spec calls it, below this mapping's own place.
    pub fn take(&self, r: &mut Reader, name: &str, spec: &str) -> Option<(&'a Node, Place)> {
        let (_, node) = self.fields.iter().find(|(key, _)| key.text == name)?;
        let place = self.place.field(name, spec);
        r.remember(&place, node.at);
        Some((node, place))
    }

    pub fn fields(&self, r: &mut Reader, name: &str, spec: &str, known: &'static [&'static str]) -> Option<Fields<'a>> {
        let (node, place) = self.take(r, name, spec)?;
        r.fields(node, place, known)
    }

    pub fn text(&self, r: &mut Reader, name: &str, spec: &str) -> Option<String> {
        let (node, place) = self.take(r, name, spec)?;
        r.text(node, &place).map(str::to_string)
    }

    /// A single value through `parse`, whose error follows the value in the message: "`x` is no size".
    pub fn parsed<T>(
        &self,
        r: &mut Reader,
        (name, spec): (&str, &str),
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (node, place) = self.take(r, name, spec)?;
        match parse(r.text(node, &place)?) {
            Ok(value) => Some(value),
            Err(message) => {
                let text = r.text(node, &place).unwrap_or_default();
                r.wrong(node.at, &place.file, format!("`{}` {message}", safe(text)));
                None
            }
        }
    }

    /// A value that has a default when it is left out, so that zero says nothing.
    pub fn above_zero<T: Default + PartialEq>(
        &self,
        r: &mut Reader,
        names: (&str, &str),
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let parse = |text: &str| match parse(text) {
            Ok(value) if value == T::default() => Err("must be above zero; leave it out for the default".to_string()),
            other => other,
        };
        self.parsed(r, names, parse).unwrap_or_default()
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

    /// One of a few words.
    pub fn choice<T: Copy>(&self, r: &mut Reader, name: &str, choices: &[(&str, T)]) -> Option<T> {
        self.choice_of(r, (name, name), choices)
    }

    /// The same where the spec has another name for it.
    pub fn choice_of<T: Copy>(&self, r: &mut Reader, names: (&str, &str), choices: &[(&str, T)]) -> Option<T> {
        let parse = |text: &str| match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                let hint = nearest(text, &words);
                Err(format!(
                    "is not one of {}{}",
                    words.join(", "),
                    if hint.starts_with("did") { format!("; {hint}") } else { String::new() }
                ))
            }
        };
        self.parsed(r, names, parse)
    }

    /// Texts by name, whatever the names are.
    pub fn table(&self, r: &mut Reader, name: &str, spec: &str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (key, node, place) in self.entries(r, name, spec) {
            if let Some(text) = r.text(node, &place) {
                texts.insert(key.to_string(), text.to_string());
            }
        }
        texts
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

/// A whole number for `Fields::parsed`.
///
/// # Errors
/// What would be right.
pub fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "is no whole number from 0 on, or is too large".to_string())
}
