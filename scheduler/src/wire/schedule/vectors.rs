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
        return parse_schedule(&vector.expression, &vector.zone).map_err(|error| error.to_string());
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

#[test]
fn probe() {
    let Some(vectors) = vectors() else { return };
    let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for vector in &vectors {
        let count = counts.entry((vector.source.clone(), vector.dialect.clone())).or_default();
        count.0 += 1;
        match differs(vector) {
            None => count.1 += 1,
            Some(found) => println!(
                "{}|{}|{}|{}|{}|{}|{}|{}|{found}",
                vector.dialect,
                vector.test,
                vector.zone,
                vector.expression,
                vector.from,
                vector.inclusive,
                vector.expected,
                vector.extra
            ),
        }
    }
    println!("{counts:?}");
}
