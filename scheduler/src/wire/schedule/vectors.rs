//! Expressions with their next instants, from the tests of Apache Aurora, Cronos and robfig/cron; six fields serve where
//! the parser is used with seconds. What is left out is named by the rule of Dawn's that differs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use croner::parser::{CronParser, Seconds, Year};
use dawn_proto::Timestamp;

use super::parse_schedule;
use crate::model::Schedule;

struct Vector {
    source: String,
    test: String,
    dialect: String,
    zone: String,
    expression: String,
    from: String,
    inclusive: bool,
    expected: String,
    extra: String,
}

/// The shared vectors; None, said aloud, where they are not.
fn vectors() -> Option<Vec<Vector>> {
    let shared = std::env::var_os("DAWN_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let file = shared.join("cron/vectors.tsv");
    let Ok(text) = std::fs::read_to_string(&file) else {
        let line = format!("cron vectors: no {}; set DAWN_SHARED\n", file.display());
        eprint!("SKIPPED {line}");
        if let Some(path) = std::env::var_os("DAWN_SKIPPED") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
        }
        return None;
    };
    let vector = |line: &str| {
        let fields: Vec<String> = line.split('\t').map(str::to_string).collect();
        let [source, test, dialect, zone, expression, from, inclusive, expected, extra] =
            <[String; 9]>::try_from(fields).unwrap();
        Vector { source, test, dialect, zone, expression, from, inclusive: inclusive == "1", expected, extra }
    };
    Some(text.lines().skip(1).map(vector).collect())
}

fn parse(vector: &Vector) -> Result<Schedule, String> {
    if !vector.dialect.ends_with('6') || vector.expression.contains('@') {
        return parse_schedule(&normal(&vector.expression), &vector.zone).map_err(|error| error.to_string());
    }
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    let cron = parser.parse(&vector.expression).map_err(|error| error.to_string())?;
    let zone = if vector.zone.is_empty() { "UTC" } else { &vector.zone };
    Ok(Schedule::new(cron, jiff::tz::TimeZone::get(zone).map_err(|error| error.to_string())?))
}

fn instant(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn differs(vector: &Vector) -> Option<String> {
    let parsed = parse(vector);
    if vector.expected == "INVALID" {
        return parsed.ok().map(|_| "is accepted".to_string());
    }
    if vector.from.is_empty() {
        return Some("names no instant".to_string());
    }
    let schedule = match parsed {
        Ok(schedule) => schedule,
        Err(error) => return Some(format!("is refused: {error}")),
    };
    let from = instant(&vector.from);
    let next = schedule.next_after(if vector.inclusive { Timestamp(from.0 - 1) } else { from });
    let same = match vector.expected.as_str() {
        "NONE" => next.is_none(),
        "MATCH" => next == Some(from),
        "NO_MATCH" => next != Some(from),
        expected => next == Some(instant(expected)),
    };
    let shown = next.map(|at| jiff::Timestamp::from_millisecond(at.0).unwrap().to_string());
    (!same).then(|| format!("{shown:?}"))
}

/// As the check of a spec leaves it.
fn normal(expression: &str) -> String {
    match expression.trim() {
        "@midnight" => "@daily".to_string(),
        expression => {
            expression.split_whitespace().map(|field| field.trim_end_matches(',')).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The rule by which a vector that differs is none of Dawn's; None: it should not differ.
fn left_out(vector: &Vector, found: &str) -> Option<&'static str> {
    let fields: Vec<&str> = vector.expression.split_whitespace().collect();
    let days = fields.len().checked_sub(5).and_then(|at| Some((*fields.get(at + 2)?, *fields.get(at + 4)?)));
    let steps_from_number = fields.iter().any(|field| {
        let starts = field.split(',').filter_map(|part| part.split_once('/'));
        starts.into_iter().any(|(from, _)| !from.contains(['*', '-']))
    });
    let wraps = found.contains("out of bounds") || found.contains("Invalid start of range");
    if vector.extra.contains("jitterSeed") || vector.expression.contains('H') {
        Some("H (a hash) is none of crontab(5)'s; jitter is a field of its own")
    } else if vector.test.starts_with("Equals_") {
        Some("compares expressions, names no instant")
    } else if vector.expression.to_lowercase().starts_with("@every") {
        Some("@every is none of the names")
    } else if days.is_some_and(|(day, weekday)| !day.starts_with(['*', '?']) && !weekday.starts_with(['*', '?'])) {
        Some("day and weekday both given mean either")
    } else if steps_from_number && found.contains("refused") {
        Some("a step needs a range or *")
    } else if fields.iter().take(fields.len().saturating_sub(3)).any(|field| field.contains('?')) {
        Some("? stands for days alone")
    } else if wraps {
        Some("ranges do not wrap; L takes no offset")
    } else if vector.expected == "INVALID" {
        Some("more is accepted: the parser's own reading")
    } else if vector.source == "robfig/cron" && vector.zone != "UTC" {
        Some("a skipped time runs once after the gap, a doubled one once")
    } else if vector.from.split('.').nth(1).is_some_and(|part| part.starts_with("000")) {
        Some("instants are counted in milliseconds")
    } else if vector.expression.contains('L') || vector.expression.contains('W') || vector.expression.contains('#') {
        Some("L, W and # are the parser's own, none of crontab(5)'s")
    } else {
        None
    }
}

#[test]
fn every_applicable_vector_passes() {
    let Some(vectors) = vectors() else { return };
    // By source and dialect: all, passed; and what is left out, by rule.
    let mut counts: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    let mut out: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut failed = Vec::new();
    for vector in &vectors {
        let count = counts.entry((&vector.source, &vector.dialect)).or_default();
        count.0 += 1;
        let Some(found) = differs(vector) else {
            count.1 += 1;
            continue;
        };
        match left_out(vector, &found) {
            Some(rule) => *out.entry(rule).or_default().entry(&vector.test).or_default() += 1,
            None => {
                let Vector { dialect, test, zone, expression, from, expected, .. } = vector;
                failed.push(format!("{dialect} {test} {zone} {expression:?} from {from}: {expected}, not {found}"));
            }
        }
    }
    for ((source, dialect), (all, passed)) in &counts {
        println!("cron vectors: {source} {dialect}: {passed} of {all} pass");
    }
    for (rule, tests) in &out {
        println!("  left out, {rule}: {tests:?}");
    }
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n"));
    assert!(vectors.len() >= 2_800, "only {} vectors", vectors.len());
}
