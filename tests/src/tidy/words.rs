//! Words that have no place in the repository's text, and names no module may have.

use super::{Finding, Repository, SourceFile};

/// The tables of the rules name what they forbid.
const OWN_TABLES: [&str; 2] = ["tests/src/tidy/", "tests/tests/tidy.rs"];

/// A text, whether it must stand alone as a word, and what to do instead.
const BANNED: [(&str, bool, &str); 14] = [
    ("todo!", true, "do it, or refuse the case with a clear error"),
    ("unimplemented!", true, "do it, or refuse the case with a clear error"),
    ("dbg!", true, "remove it, or trace the event"),
    ("TODO", true, "do it; what is not there is simply not there"),
    ("FIXME", true, "mend it now"),
    ("XXX", true, "say what is meant, or mend it"),
    ("/root/", false, "name no machine's home directory; take the path from the environment"),
    ("/Users/", false, "name no machine's home directory; take the path from the environment"),
    ("/work/", true, "name no machine's directory; use a path relative to the workspace"),
    ("index.crates.io", false, "name no registry; cargo's own configuration does"),
    ("static.crates.io", false, "name no registry; cargo's own configuration does"),
    ("crates.io-index", false, "name no registry; cargo's own configuration does"),
    ("registry.npmjs.org", false, "name no registry; the tool's own configuration does"),
    ("pypi.org", false, "name no registry; the tool's own configuration does"),
];

/// Modules that would collect whatever has no home.
const BANNED_MODULES: [&str; 9] = ["common", "util", "utils", "helper", "helpers", "core", "misc", "shared", "stuff"];

pub fn banned_text(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    if OWN_TABLES.iter().any(|own| file.path.starts_with(own)) {
        return;
    }
    for (number, line) in file.text.lines().enumerate() {
        for (word, alone, advice) in BANNED {
            if line.match_indices(word).any(|(at, _)| !alone || stands_alone(line, at)) {
                let advice = format!("{word:?}: {advice}");
                findings.push(Finding { path: file.path.clone(), line: number + 1, rule: "banned text", advice });
            }
        }
    }
}

/// Whether the text at `at` does not continue a word or a path.
fn stands_alone(line: &str, at: usize) -> bool {
    !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '}' | '-'))
}

/// A status without details: whoever is answered with it must read its words to know what is wrong.
const UNTYPED: [&str; 12] = [
    "Status::aborted(",
    "Status::already_exists(",
    "Status::data_loss(",
    "Status::deadline_exceeded(",
    "Status::failed_precondition(",
    "Status::internal(",
    "Status::invalid_argument(",
    "Status::new(",
    "Status::not_found(",
    "Status::resource_exhausted(",
    "Status::unavailable(",
    "Status::unknown(",
];

/// The scheduler answers with reasons. A lint can't tell its rooms from those that read others' statuses.
pub fn untyped_statuses(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    let reads_others = file.path.starts_with("scheduler/src/etcd/") || file.path.contains("/tests");
    if !file.path.starts_with("scheduler/src/") || reads_others || !file.is_rust() {
        return;
    }
    for (number, line) in file.text.lines().enumerate() {
        let is_status = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if UNTYPED.iter().any(|made| line.match_indices(made).any(|(at, _)| is_status(at))) {
            let advice = "answer with a reason: dawn_proto::errors::RefusedRequest".to_string();
            findings.push(Finding { path: file.path.clone(), line: number + 1, rule: "untyped status", advice });
        }
    }
}

/// Units as only single figures of programs have them; people read durations as job files have them: "5m18s".
const SPELLED_UNITS: [&str; 4] = ["} ms", "} s", "} min", "} h"];

pub fn spelled_durations(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    if !file.is_rust()
        || file.path.starts_with("tests/")
        || file.path.contains("/tests")
        || file.path.contains("/benches/")
    {
        return;
    }
    for (number, line) in file.text.lines().enumerate() {
        let ends = |unit: &str, at: usize| !line[at + unit.len()..].starts_with(|c: char| c.is_alphanumeric());
        let is_spelled = SPELLED_UNITS.iter().any(|unit| line.match_indices(unit).any(|(at, _)| ends(unit, at)));
        if is_spelled && line.contains('"') && !line.contains("assert") {
            let advice = "write a duration by `amounts::duration` or `amounts::seconds`: \"5m18s\"".to_string();
            findings.push(Finding { path: file.path.clone(), line: number + 1, rule: "spelled duration", advice });
        }
    }
}

pub fn banned_modules(_: &Repository, file: &SourceFile, findings: &mut Vec<Finding>) {
    if !file.is_rust() {
        return;
    }
    let parts = file.path.trim_end_matches(".rs").split('/');
    for part in parts.filter(|part| BANNED_MODULES.contains(part)) {
        let advice = format!("no module is called {part:?}; name it after what it does");
        findings.push(Finding { path: file.path.clone(), line: 1, rule: "module name", advice });
    }
    for (number, line) in file.code.lines().enumerate() {
        let name = line.split("mod ").nth(1).map(|rest| rest.trim_end_matches([';', ' ', '{', '}']));
        if let Some(name) = name.filter(|name| BANNED_MODULES.contains(name)) {
            let advice = format!("no module is called {name:?}; name it after what it does");
            findings.push(Finding { path: file.path.clone(), line: number + 1, rule: "module name", advice });
        }
    }
}
