//! Real Aurora job files against what the original evaluator made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Options, evaluate_in_process};

/// Files whose result is known to differ, and why. A file that is cured must leave the list.
const KNOWN_DIFFERENCES: [(&str, &str); 0] = [];

/// The variables under which the original results were made.
const VARIABLES: &str = "workload_name=wl job_uniq_id=7 job_name=job application=app load_generator=lg \
    env_uniq_id=16 application_host_ip=10.0.0.1 load_generator_host_ip=10.0.0.2 own_ip=10.0.0.3 image_tag=t1 \
    image_name=img controller_host_ip=10.0.0.4 specjbb_component_type=controller USER=golden \
    stress_ng_job_uniq_id=1 workload_uniq_id=7 name=job cluster=example LOGNAME=golden";

fn corpus() -> Option<PathBuf> {
    let shared = std::env::var_os("DAWN_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let corpus = shared.join("aurora-corpus");
    if !corpus.is_dir() {
        crate::skip::skip(&format!("no corpus at {}; set DAWN_SHARED", corpus.display()));
        return None;
    }
    Some(corpus)
}

/// The columns of a manifest row by their titles.
fn rows(corpus: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(corpus.join("MANIFEST.tsv")).unwrap();
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let row = |line: &str| titles.iter().map(|t| t.to_string()).zip(line.split('\t').map(str::to_string)).collect();
    lines.map(row).collect()
}

fn options(path: &Path) -> Options {
    let mut options = Options::default().allow_read_beside(path);
    let pairs: Vec<(&str, &str)> = VARIABLES.split(' ').filter_map(|pair| pair.split_once('=')).collect();
    options.env = Some(pairs.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect());
    options
}

#[test]
fn the_corpus_evaluates_as_the_original_did() {
    let Some(corpus) = corpus() else { return };
    let rows = rows(&corpus);
    let mut differences = BTreeMap::new();
    let mut counts = BTreeMap::from([("golden", (0, 0)), ("refused", (0, 0)), ("without jobs", (0, 0))]);
    for row in &rows {
        let file = &row["file"];
        let verdict = &row["pystachio_golden"];
        let (kind, outcome) = compare(&corpus, file, verdict);
        let count = counts.get_mut(kind).unwrap();
        count.1 += 1;
        match outcome {
            Ok(()) => count.0 += 1,
            Err(difference) => {
                differences.insert(file.as_str(), difference);
            }
        }
    }
    let equal = rows.len() - differences.len();
    println!("corpus: {equal} of {} files equal: {counts:?}", rows.len());
    for (file, difference) in &differences {
        println!("  {file}: {difference}");
    }
    let known: Vec<&str> = KNOWN_DIFFERENCES.iter().map(|(file, _)| *file).collect();
    assert_eq!(differences.keys().copied().collect::<Vec<_>>(), known);
    assert!(rows.len() >= 74, "the manifest has {} files", rows.len());
}

/// Every job becomes a spec that the scheduler takes, or is refused for what Dawn has nothing for.
#[test]
fn the_corpus_becomes_specs_or_is_refused_by_name() {
    let Some(corpus) = corpus() else { return };
    let (mut lowered, mut refused) = (0, BTreeMap::<String, usize>::new());
    for row in rows(&corpus).iter().filter(|row| row["pystachio_golden"].starts_with("golden")) {
        let path = corpus.join("files").join(&row["file"]);
        for job in evaluate_in_process(&path, &options(&path), None).unwrap().jobs {
            match super::lower(&job) {
                Ok(done) => {
                    lowered += 1;
                    if let Err(errors) = dawn_proto::validate::job_spec(done.spec) {
                        panic!("{} {}: {errors:?}", row["file"], job.key());
                    }
                }
                Err(refusals) => *refused.entry(refusals[0].path.clone()).or_default() += 1,
            }
        }
    }
    println!("corpus: {lowered} jobs become specs; refused by their first reason: {refused:?}");
    // Images; numbers and commands with names that only `--bind` gives.
    let expected = [
        ("container.docker.image", 32),
        ("container.image", 6),
        ("container.image.name", 16),
        ("instances", 2),
        ("task.processes[1].cmdline", 2),
    ];
    let found: Vec<(&str, usize)> = refused.iter().map(|(path, count)| (path.as_str(), *count)).collect();
    assert_eq!((lowered, found.as_slice()), (27, &expected[..]));
}

fn compare(corpus: &Path, file: &str, verdict: &str) -> (&'static str, Result<(), String>) {
    let path = corpus.join("files").join(file);
    let evaluated = evaluate_in_process(&path, &options(&path), None);
    if let Some(cause) = verdict.strip_prefix("ERR ") {
        let outcome = match evaluated {
            Ok(_) => Err(format!("should be refused: {cause}")),
            Err(error) => {
                println!("  refused as it should be: {error}");
                same_cause(cause, &error.to_string())
            }
        };
        return ("refused", outcome);
    }
    if verdict.starts_with("no jobs") {
        let outcome = match evaluated {
            Err(error) if error.kind == super::ErrorKind::NoJobs => Ok(()),
            other => Err(format!("should define no jobs: {other:?}")),
        };
        return ("without jobs", outcome);
    }
    let expected = std::fs::read_to_string(corpus.join("expected").join(format!("{file}.json"))).unwrap();
    let expected: Vec<Value> = serde_json::from_str(&expected).unwrap();
    ("golden", evaluated.map_err(|e| e.to_string()).and_then(|evaluated| same_jobs(&expected, &evaluated.jobs)))
}

/// Whether our message names what the original complained about.
fn same_cause(cause: &str, ours: &str) -> Result<(), String> {
    let words: Vec<&str> = match cause.split_once(": ") {
        Some(("FileNotFoundError", rest)) => {
            let path = rest.split('\'').nth(1).unwrap_or("?");
            // The manifest cuts the path short; its last part begins the file's name.
            vec!["no such file", path.rsplit('/').next().unwrap_or("?").trim_end_matches('.')]
        }
        Some(("AttributeError", rest)) => vec!["has no field", rest.rsplit(' ').next().unwrap_or("?")],
        Some(("NameError", rest)) => vec!["not found", rest.split('\'').nth(1).unwrap_or("?")],
        Some(("KeyError", rest)) => vec!["key", rest.trim_matches('\'')],
        _ => vec![cause],
    };
    let positioned = ours.split(':').nth(1).is_some_and(|line| line.parse::<u32>().is_ok());
    match words.iter().find(|word| !ours.to_lowercase().contains(&word.to_lowercase())) {
        Some(word) => Err(format!("refused, but without naming '{word}': {ours}")),
        None if !positioned => Err(format!("refused without a line: {ours}")),
        None => Ok(()),
    }
}

fn same_jobs(expected: &[Value], ours: &[super::EvaluatedJob]) -> Result<(), String> {
    if expected.len() != ours.len() {
        return Err(format!("{} jobs instead of {}", ours.len(), expected.len()));
    }
    for (expected, ours) in expected.iter().zip(ours) {
        let name = ours.key();
        let mut found = Vec::new();
        tree_differences("", &expected["job"], &ours.tree, &mut found);
        let unbound: Vec<&str> = ours.unbound.iter().map(|unbound| unbound.reference.as_str()).collect();
        let wanted: Vec<&str> = expected["unbound"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        if unbound != wanted {
            found.push(format!("unbound {unbound:?} instead of {wanted:?}"));
        }
        let check = expected["check"].as_str().unwrap();
        found.extend(check_difference(check, ours));
        if !found.is_empty() {
            return Err(format!("{name}: {}", found.join("; ")));
        }
    }
    Ok(())
}

/// The original stops at its first complaint, "MesosJob[field] failed: why"; ours must be about the same field.
fn check_difference(check: &str, ours: &super::EvaluatedJob) -> Option<String> {
    if check == "OK" {
        return ours.problems.first().map(|problem| format!("a problem that is none: {problem}"));
    }
    let field = check.split(['[', ']']).nth(1).unwrap_or("?");
    let value = check.split('\'').nth(1).unwrap_or("?");
    let complaint = check.rsplit("' not ").next().unwrap_or("?");
    match ours.problems.first() {
        Some(p) if p.path == field && p.message.contains(value) && p.message.contains(&format!("not {complaint}")) => {
            None
        }
        other => Some(format!("complains {other:?} instead of {check}")),
    }
}

/// Field by field; numbers as numbers, lists in order, an unset field equal to null.
fn tree_differences(path: &str, expected: &Value, ours: &Value, found: &mut Vec<String>) {
    match (expected, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let value = |tree: &serde_json::Map<String, Value>| tree.get(key).cloned().unwrap_or(Value::Null);
                tree_differences(&format!("{path}.{key}"), &value(a), &value(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                tree_differences(&format!("{path}[{index}]"), a, b, found);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        _ if expected == ours => {}
        _ => found.push(format!("{path}: {ours} instead of {expected}")),
    }
}
