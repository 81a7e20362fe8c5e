//! Job files of either kind: YAML and JSON read as they are, Starlark (with Aurora's words) evaluated first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use dawn_proto::v1::JobSpec;
use dawn_proto::validate;

use crate::config::{self, EvaluatedJob, Options};
use crate::exit::{Exit, Failure, chain};
use crate::render::{self, time};
use crate::spec;

/// Endings of files that are evaluated.
const EVALUATED: [&str; 4] = ["aurora", "star", "mesos", "bzl"];
/// Endings of files that are read as they are.
const PLAIN: [&str; 3] = ["yaml", "yml", "json"];

/// What an evaluated file may see.
#[derive(Args, Clone, Debug, Default)]
pub struct Reading {
    /// In evaluated files (.aurora, .star), give a {{name}} this value
    #[arg(long, value_name = "NAME=VALUE", value_parser = bind)]
    bind: Vec<(String, String)>,
    /// Let evaluated files see the environment
    #[arg(long)]
    allow_env: bool,
    /// Let evaluated files read files beside them
    #[arg(long)]
    allow_read: bool,
}

fn bind(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("write NAME=VALUE".to_string()),
    }
}

fn ending(path: &Path) -> &str {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

/// Whether a name is one that only a job file has.
pub fn is_named_as_file(target: &str) -> bool {
    let ending = ending(Path::new(target));
    target == "-" || PLAIN.contains(&ending) || EVALUATED.contains(&ending)
}

/// The jobs of all files, each key once; or everything that is wrong.
pub fn load(files: &[PathBuf], reading: &Reading) -> Result<Vec<JobSpec>, Failure> {
    let mut specs = Vec::new();
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<String, &PathBuf> = BTreeMap::new();
    for file in files {
        let read = match EVALUATED.contains(&ending(file)) {
            true => evaluate(file, reading),
            false => spec::load(file, time::now_ms()).map_err(|error| chain(&error)),
        };
        match read {
            Ok(more) => {
                for spec in more {
                    let key = render::key(spec.key.as_ref());
                    if let Some(first) = seen.insert(key.clone(), file) {
                        wrong.push(format!("{}: {key} is in {} too", file.display(), first.display()));
                    }
                    specs.push(spec);
                }
            }
            Err(error) => wrong.push(error),
        }
    }
    match wrong.is_empty() {
        true => Ok(specs),
        false => Err(Failure::new(Exit::Usage, wrong.join("\n"))),
    }
}

/// Evaluates one file in a process of its own and makes specs of its jobs. What it printed, and what of it has no
/// effect in Dawn, goes to standard error.
fn evaluate(file: &Path, reading: &Reading) -> Result<Vec<JobSpec>, String> {
    let mut options = Options { binds: reading.bind.clone(), ..Options::default() };
    if reading.allow_env {
        options = options.allow_env();
    }
    if reading.allow_read {
        options = options.allow_read_beside(file);
    }
    let evaluated = config::evaluate(file, &options).map_err(|error| error.to_string())?;
    for line in &evaluated.printed {
        eprintln!("{}", render::safe(line));
    }
    for note in &evaluated.notes {
        eprintln!("dawn: note: {}", render::safe(note));
    }
    let specs: Vec<_> = evaluated.jobs.iter().map(|job| lowered(file, job)).collect();
    let (specs, wrong): (Vec<_>, Vec<_>) = specs.into_iter().partition(Result::is_ok);
    let wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).collect();
    match wrong.is_empty() {
        true => Ok(specs.into_iter().filter_map(Result::ok).collect()),
        false => Err(wrong.join("\n")),
    }
}

fn lowered(file: &Path, job: &EvaluatedJob) -> Result<JobSpec, String> {
    let key = job.key();
    let all = |problems: Vec<String>| problems.join("\n");
    let told = |problem: &config::Problem| match problem.position {
        Some(_) => problem.to_string(),
        None => format!("{}: {key}: {problem}", file.display()),
    };
    if !job.problems.is_empty() {
        return Err(all(job.problems.iter().map(told).collect()));
    }
    let lowered = config::lower(job).map_err(|problems| all(problems.iter().map(told).collect()))?;
    for warning in &lowered.warnings {
        eprintln!("dawn: note: {}", render::safe(&told(warning)));
    }
    let place = |error: &validate::FieldError| format!("{}: {key}: {error}", file.display());
    validate::job_spec(lowered.spec).map_err(|errors| all(errors.iter().map(place).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_has_a_name_and_keeps_every_other_equals_sign() {
        assert_eq!(bind("a=b=c"), Ok(("a".to_string(), "b=c".to_string())));
        assert!(bind("=b").is_err() && bind("b").is_err());
    }

    #[test]
    fn names_of_files_are_told_from_keys() {
        assert!(is_named_as_file("a/b/c.aurora") && is_named_as_file("x.yaml") && is_named_as_file("-"));
        assert!(!is_named_as_file("www/prod/web") && !is_named_as_file("www/prod/web-1.2"));
    }
}
