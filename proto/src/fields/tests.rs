//! Whether the options make sense, and the ways through them.

use std::collections::BTreeSet;

use super::*;

fn fields() -> impl Iterator<Item = (&'static MessageRules, &'static FieldRules)> {
    messages().into_iter().flat_map(|message| message.fields.iter().map(move |field| (message, *field)))
}

#[test]
fn every_field_of_a_job_says_what_it_is() {
    let known: Vec<&str> = messages().iter().map(|message| message.name).collect();
    for name in ["JobSpec", "TaskSpec", "ProcessSpec", "Isolation", "IoLimits", "UpdatePolicy", "Coordinator"] {
        assert!(known.contains(&name), "{name}: {known:?}");
    }
    for (message, field) in fields() {
        let name = format!("{}.{}", message.name, field.name);
        assert!(!field.doc.is_empty() && !field.file.is_empty(), "{name}");
        assert!(!field.doc.ends_with('.'), "{name}: its sentence stands in a table");
        assert!(!message.heading.is_empty() || message.name == "TaskSpec", "{name} has no section");
    }
}

#[test]
fn names_in_files_are_unique_but_for_a_value_and_its_list() {
    for message in messages() {
        let mut names = BTreeSet::new();
        for field in message.fields.iter().filter(|field| field.form != Form::Inline) {
            let is_list = field.shape == Shape::List && matches!(field.kind, Kind::Text);
            assert!(names.insert((field.file, is_list)), "{}.{}", message.name, field.file);
        }
    }
}

#[test]
fn words_defaults_and_bounds_agree() {
    for (message, field) in fields() {
        let name = format!("{}.{}", message.name, field.name);
        if let Kind::Word(words) = field.kind {
            assert!(!words.is_empty(), "{name}");
            for (word, _) in words {
                assert!(field.doc.contains(&format!("`{word}`")), "{name} does not explain {word}");
            }
        }
        if let Default::Number(default) = field.default {
            let is_within = field.min.is_none_or(|min| min <= default) && field.max.is_none_or(|max| default <= max);
            assert!(is_within || default == 0, "{name}: {default}");
        }
        assert!(field.min.unwrap_or(i64::MIN) <= field.max.unwrap_or(i64::MAX), "{name}");
        assert!(field.single.is_none_or(|inner| field.message().is_some_and(|rules| rules.field(inner).is_some())));
        assert!(field.default_unless.is_none_or(|other| message.field(other).is_some()), "{name}");
    }
}

#[test]
fn the_order_of_files_names_fields_that_there_are() {
    for message in messages() {
        let known: Vec<&str> = message.names().collect();
        for name in message.order {
            assert!(known.contains(name), "{} has no {name}", message.name);
        }
        assert_eq!(known.iter().collect::<BTreeSet<_>>().len(), known.len(), "{}: {known:?}", message.name);
    }
    assert_eq!(JOB_SPEC.names().collect::<Vec<_>>(), JOB_SPEC.order, "the order of a job's fields is said in full");
}

#[test]
fn what_concerns_only_the_job_restarts_nothing() {
    let of_job = JOB_SPEC.fields.iter().filter(|field| ONLY_THE_JOBS.contains(&field.number));
    assert_eq!(of_job.map(|field| field.name).collect::<Vec<_>>(), ["instances", "update", "sla", "announce"]);
}

#[test]
fn paths_lead_to_rules_and_to_names_in_files() {
    for (path, file) in [
        ("key.role", "job"),
        ("task.grace_period_ms", "grace_period"),
        ("task.processes[1].min_duration_ms", "processes[1].min_duration"),
        ("task.processes[0].argv[2]", "processes[0].run[2]"),
        ("task.processes[0].env.A.b", "processes[0].env.A.b"),
        ("task.http_lifecycle.graceful_wait_ms", "lifecycle.graceful_wait"),
        ("task.health.http.expected_status", "health.http.status"),
        ("task.resources.custom_milli.a", "resources.custom.a"),
        ("dependencies[3].on", "after[3].on"),
        ("constraints[0].one_of.values[1]", "constraints[0].in[1]"),
        ("affinities[0].attribute.one_of.values[1]", "affinities[0].in[1]"),
        ("affinities[0].attribute.number.op", "affinities[0].number"),
        ("spreads[2].share_percent.a", "spread[2].shares.a"),
        ("no_such_field", "no_such_field"),
    ] {
        assert_eq!(path_in_file(&JOB_SPEC, path), file, "{path}");
    }
    assert_eq!(path_in_file(&CONSTRAINT, "[4].none_of.values[1]"), "[4].not_in[1]");
    assert_eq!(field_at("task.max_pids").and_then(|field| field.max), Some(4_194_304));
    assert_eq!(message_at("task.processes[7]").map(|message| message.name), Some("ProcessSpec"));
    assert!(message_at("").is_some_and(|message| message.name == "JobSpec"));
    assert!(field_at("task.nothing").is_none());
}
