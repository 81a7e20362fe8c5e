//! What the language does, and what it says when a file is wrong.

mod bad;
mod chance;
mod meaning;

use std::path::Path;

use super::{ConfigError, Evaluated, EvaluatedJob, Options, evaluate_in_process};

/// A process, a task and the fields every job needs.
const BASE: &str = "P = Process(name = 'p', cmdline = 'run')
T = Task(processes = [P], resources = Resources(cpu = 1, ram = 64*MB, disk = 1*GB))
J = Job(role = 'r', cluster = 'c', environment = 'e', name = 'n', task = T)
";

/// Lines in `BASE`.
const BASE_LINES: usize = 3;

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Evaluates files given as name and text, the first of them. Paths in messages are relative to their folder.
fn evaluate_files(files: &[(&str, &str)], options: impl FnOnce(&Path) -> Options) -> Result<Evaluated, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    let root = folder.path().join(files[0].0);
    let prefix = format!("{}/", folder.path().display());
    evaluate_in_process(&root, &options(folder.path()), None).map_err(|error| error.to_string().replace(&prefix, ""))
}

fn evaluate(text: &str) -> Result<Evaluated, String> {
    evaluate_files(&[("t.aurora", text)], |_| Options::default())
}

/// The message for a file that must be refused.
fn refused(text: &str) -> String {
    evaluate(text).map(|evaluated| evaluated.jobs).expect_err("should be refused")
}

/// The jobs of `BASE` with more text.
fn jobs(text: &str) -> Vec<EvaluatedJob> {
    evaluate(&format!("{BASE}{text}")).unwrap_or_else(|error| panic!("{error}")).jobs
}

fn job(text: &str) -> EvaluatedJob {
    let mut jobs = jobs(text);
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

#[test]
fn an_error_is_printable_and_has_no_hidden_cause() {
    let error = ConfigError::new(super::ErrorKind::Syntax, None, "x");
    assert_eq!(error.to_string(), "x");
    assert!(std::error::Error::source(&error).is_none());
}
