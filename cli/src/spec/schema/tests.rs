//! The schema against what is read and written: no stricter than reading, and wrong where names, kinds or bounds are.

use dawn_proto::v1::JobSpec;

use super::*;
use crate::spec::{parse, to_json};

const FULL: &str = include_str!("../tests/full.yaml");

fn jobs(text: &str) -> Vec<JobSpec> {
    parse("web.yaml", text, 1_795_348_800_000).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What is wrong with a value by those words of JSON Schema that the schema uses; None: nothing.
fn wrong(value: &Value, schema: &Value, root: &Value, path: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}"));
        return wrong(value, schema, root, path);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let found: Vec<_> = any.iter().filter_map(|one| wrong(value, one, root, path)).collect();
        return (found.len() == any.len()).then(|| found.join(" or "));
    }
    if let Some(words) = schema["enum"].as_array() {
        return (!words.contains(value)).then(|| format!("{path}: {value} is none of {words:?}"));
    }
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    let allows =
        |kind: &str| schema["type"] == kind || schema["type"].as_array().is_some_and(|all| all.contains(&kind.into()));
    if !(schema["type"].is_null() || allows(kind) || kind == "integer" && allows("number")) {
        return Some(format!("{path}: {value} is no {}", schema["type"]));
    }
    let number = value.as_f64();
    let beyond = |bound: &str, is_beyond: fn(f64, f64) -> bool| {
        number.zip(schema[bound].as_f64()).is_some_and(|(number, bound)| is_beyond(number, bound))
    };
    if beyond("minimum", |number, bound| number < bound) || beyond("maximum", |number, bound| number > bound) {
        return Some(format!("{path}: {value} is out of bounds"));
    }
    let items = value.as_array().into_iter().flatten().enumerate();
    let mut items = items.filter_map(|(i, item)| wrong(item, schema.get("items")?, root, &format!("{path}[{i}]")));
    let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut missing = missing.filter(|name| value.get(name).is_none()).map(|name| format!("{path}.{name} is missing"));
    let fields = value.as_object().into_iter().flatten();
    let mut fields = fields.filter_map(|(name, field)| {
        let known = schema["properties"].get(name).or(schema.get("additionalProperties"))?;
        let place = format!("{path}.{name}");
        if known == &Value::Bool(false) {
            Some(format!("{place} is unknown"))
        } else {
            wrong(field, known, root, &place)
        }
    });
    items.next().or_else(|| missing.next()).or_else(|| fields.next())
}

fn wrong_job(value: &Value) -> Option<String> {
    let schema = json_schema();
    wrong(value, &schema, &schema, "")
}

#[test]
fn what_is_written_of_a_job_with_every_field_is_right_by_the_schema() {
    for spec in jobs(FULL) {
        let value: Value = serde_json::from_str(&to_json(&spec)).unwrap();
        assert_eq!(wrong_job(&value), None, "{value:#}");
    }
}

#[test]
fn short_forms_and_amounts_are_right_as_reading_takes_them() {
    for text in [
        r#"{"job": "www/prod/web", "kind": "service", "run": "exec server"}"#,
        r#"{"job": "www/prod/web", "kind": "service", "run": ["server", "--port", "80"], "env": {"PORT": 80, "DEBUG": true}}"#,
        r#"{"job": "www/prod/web", "kind": "service", "run": "x", "resources": {"cpu": 0.5, "memory": "128MiB", "disk": 4194304}, "ports": ["http"]}"#,
        r#"{"job": "www/prod/web", "kind": "service", "run": "x", "grace_period": "1h30m", "priority": 5, "instances": 3}"#,
        r#"{"job": "www/prod/b", "kind": "batch", "run": "x", "after": "www/prod/a"}"#,
        r#"{"job": "www/prod/web", "kind": "service", "run": "x", "constraints": [{"attribute": "rack", "in": ["a", "b"]}, {"attribute": "rack", "not_in": "c"}, {"distinct_hosts": true}]}"#,
    ] {
        jobs(text);
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(wrong_job(&value), None, "{text}");
        assert_eq!(wrong_job(&json!([value])), None, "several jobs are a list of them");
    }
}

#[test]
fn what_reading_refuses_of_names_kinds_and_bounds_is_wrong_by_the_schema_too() {
    for (text, said) in [
        (r#"{"kind": "service", "run": "x"}"#, ".job is missing"),
        (r#"{"job": "www/prod/web", "kind": "service", "run": "x", "instanecs": 3}"#, ".instanecs is unknown"),
        (r#"{"job": "www/prod/web", "run": "x", "kind": "deployment"}"#, "is none of"),
        (r#"{"job": "www/prod/web", "kind": "service", "run": "x", "resources": {"cpu": [1]}}"#, ".resources.cpu"),
        (r#"{"job": "www/prod/web", "kind": "service", "run": "x", "instances": 100001}"#, "out of bounds"),
        (r#"{"job": "www/prod/web", "kind": "service", "run": "x", "update": "fast"}"#, ".update"),
    ] {
        assert!(parse("web.yaml", text, 0).is_err(), "{text}");
        let value: Value = serde_json::from_str(text).unwrap();
        let found = wrong_job(&value).unwrap_or_else(|| panic!("{text} is right by the schema"));
        assert!(found.contains(said), "{text}: {found}");
    }
}

#[test]
fn every_name_of_a_job_is_explained() {
    for (message, definition) in json_schema()["$defs"].as_object().unwrap() {
        for (name, property) in definition["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{message}.{name}");
        }
    }
}
