//! Reads fields of an evaluated job. The job has been checked: a field that isn't there is one that isn't set.
//! Not here: what the fields mean.

use serde_json::{Map, Value};

/// A struct of the tree, and the way to it.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    pub path: String,
    tree: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    pub fn new(tree: &'a Value) -> Fields<'a> {
        Fields { path: String::new(), tree: tree.as_object() }
    }

    pub fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_string() } else { format!("{}.{field}", self.path) }
    }

    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.tree?.get(field)
    }

    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    pub fn text(&self, field: &str) -> &'a str {
        self.get(field).and_then(Value::as_str).unwrap_or("")
    }

    pub fn integer(&self, field: &str) -> i64 {
        self.get(field).and_then(Value::as_i64).unwrap_or(0)
    }

    pub fn float(&self, field: &str) -> f64 {
        self.get(field).and_then(Value::as_f64).unwrap_or(0.0)
    }

    pub fn boolean(&self, field: &str) -> bool {
        self.get(field).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A field that is a struct itself; one without fields if it isn't set.
    pub fn inner(&self, field: &str) -> Fields<'a> {
        Fields { path: self.path_of(field), tree: self.get(field).and_then(Value::as_object) }
    }

    pub fn is_set(&self) -> bool {
        self.tree.is_some()
    }

    pub fn items(&self, field: &str) -> Vec<Fields<'a>> {
        let items = self.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let item = |(index, tree): (usize, &'a Value)| Fields {
            path: format!("{}[{index}]", self.path_of(field)),
            tree: tree.as_object(),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The strings of a list.
    pub fn texts(&self, field: &str) -> Vec<&'a str> {
        let items = self.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().filter_map(Value::as_str).collect()
    }

    /// The entries of a map from strings to strings.
    pub fn entries(&self, field: &str) -> Vec<(&'a str, &'a str)> {
        let Some(entries) = self.get(field).and_then(Value::as_object) else { return Vec::new() };
        entries.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
    }
}
