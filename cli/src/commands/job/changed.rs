//! Which fields of a job differ between two specs, with the names and units of job files. Pure.

use std::collections::BTreeSet;

use dawn_proto::v1;
use serde_json::Value;

use crate::spec;

/// A text that takes more than this is cut.
const MOST_CHARS: usize = 60;

/// A field that differs. None: it is not there.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    path: String,
    old: Option<Value>,
    new: Option<Value>,
}

impl Change {
    /// "changes resources.cpu: 0.5 -> 1", "adds health.http.path: /healthz", "removes env.A: 1".
    pub fn sentence(&self) -> String {
        match (&self.old, &self.new) {
            (None, Some(new)) => format!("adds {}: {}", self.path, short(new)),
            (Some(old), None) => format!("removes {}: {}", self.path, short(old)),
            _ => format!("changes {}", self.arrow()),
        }
    }

    /// "resources.cpu: 0.5 -> 1"; for programs, too.
    pub fn arrow(&self) -> String {
        let of = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_string(), short);
        let (old, new) = (of(&self.old), of(&self.new));
        match old == new {
            // They differ behind the cut.
            true => format!("{}: another long value", self.path),
            false => format!("{}: {old} -> {new}", self.path),
        }
    }
}

/// Every field that differs, in order; none where there was nothing before.
pub fn fields(before: Option<&v1::JobSpec>, after: Option<&v1::JobSpec>) -> Vec<Change> {
    let spec = |spec: &v1::JobSpec| serde_json::from_str::<Value>(&spec::to_json(spec)).ok();
    let mut found = Vec::new();
    if let (Some(before), Some(after)) = (before.and_then(spec), after.and_then(spec)) {
        differ("", Some(&before), Some(&after), &mut found);
    }
    found
}

/// What is there on one side alone is told field by field, too.
fn differ(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let there = [before, after].into_iter().flatten();
    let is_empty = |value: &Value| [Value::Array(Vec::new()), serde_json::json!({})].contains(value);
    if there.clone().all(is_empty) {
        found.push(Change { path: path.to_string(), old: before.cloned(), new: after.cloned() });
    } else if there.clone().all(Value::is_object) {
        let names: BTreeSet<&String> = there.filter_map(Value::as_object).flat_map(serde_json::Map::keys).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let of = |value: Option<&'_ Value>| value.and_then(|value| value.get(name)).cloned();
            differ(&path, of(before).as_ref(), of(after).as_ref(), found);
        }
    } else if there.clone().all(Value::is_array) {
        let most = there.filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0);
        for at in 0..most {
            let of = |value: Option<&'_ Value>| value.and_then(|value| value.get(at)).cloned();
            differ(&format!("{path}[{at}]"), of(before).as_ref(), of(after).as_ref(), found);
        }
    } else {
        found.push(Change { path: path.to_string(), old: before.cloned(), new: after.cloned() });
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.chars().count() {
        0..=MOST_CHARS => text,
        _ => text.chars().take(MOST_CHARS - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sentences(before: Value, after: Value) -> Vec<String> {
        let mut found = Vec::new();
        differ("", Some(&before), Some(&after), &mut found);
        found.iter().map(Change::sentence).collect()
    }

    #[test]
    fn what_comes_and_what_goes_is_said_field_by_field() {
        let before = json!({ "env": { "A": "1" }, "resources": { "cpu": 0.5 }, "ports": ["http"] });
        let after = json!({
            "health": { "http": { "path": "/healthz" }, "interval": "5s" },
            "resources": { "cpu": 1 },
            "ports": ["http", "admin"],
        });
        let expected = [
            "removes env.A: 1",
            "adds health.http.path: /healthz",
            "adds health.interval: 5s",
            "adds ports[1]: admin",
            "changes resources.cpu: 0.5 -> 1",
        ];
        assert_eq!(sentences(before, after), expected);
    }

    #[test]
    fn a_long_value_is_cut_and_one_that_differs_behind_the_cut_is_said_to() {
        let long = |end: &str| json!({ "run": format!("{}{end}", "x".repeat(80)) });
        assert_eq!(sentences(long("a"), long("b")), ["changes run: another long value"]);
        let said = sentences(json!({ "run": "sleep 1" }), long(""));
        assert_eq!(said, [format!("changes run: sleep 1 -> {}…", "x".repeat(59))]);
        assert_eq!(sentences(json!({}), json!({ "isolation": {} })), ["adds isolation: {}"]);
    }
}
