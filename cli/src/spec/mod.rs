//! Job files: YAML or JSON in, valid specs out, or everything that is wrong with file, line, column and field.
//! Not here: what makes a spec valid (`dawn_proto::validate`), other languages that make specs.

mod decode;
mod format;
mod forms;
mod node;
mod read;
mod repeating;
mod schema;
mod units;
mod value;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

use dawn_proto::v1::JobSpec;
use dawn_proto::validate::FieldError;
use dawn_proto::{JobKey, validate};

use decode::{Problem, Reader};
use node::{Mark, Node, Value};

pub use format::format_yaml;
pub use repeating::{check as check_schedule, restricts_both_days};
pub use schema::json_schema;
pub use units::{duration, milli, show_milli, size};
pub use write::{to_json, to_yaml};

/// Larger files are refused.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most problems said at once.
const MAX_PROBLEMS: usize = 50;

/// Everything that is wrong with a file.
#[derive(Debug)]
pub struct SpecError {
    file: String,
    problems: Vec<Problem>,
    cause: Option<std::io::Error>,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().take(MAX_PROBLEMS).enumerate() {
            let Problem { at, path, message } = problem;
            let newline = if i == 0 { "" } else { "\n" };
            let file = &self.file;
            match (at.line, path.as_str()) {
                (0, _) => write!(f, "{newline}{file}: {message}")?,
                (line, "") => write!(f, "{newline}{file}:{line}:{}: {message}", at.column)?,
                (line, path) => write!(f, "{newline}{file}:{line}:{}: {path}: {message}", at.column)?,
            }
        }
        match self.problems.len().checked_sub(MAX_PROBLEMS) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n{}: and {more} more", self.file),
        }
    }
}

impl std::error::Error for SpecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

fn refused(file: &str, at: Mark, message: impl Into<String>) -> SpecError {
    let problem = Problem { at, path: String::new(), message: message.into() };
    SpecError { file: file.to_string(), problems: vec![problem], cause: None }
}

/// The jobs of a file, valid and with every default filled in, and what their author may not have meant; `-` is standard
/// input.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path, now_ms: i64) -> Result<(Vec<JobSpec>, Vec<String>), SpecError> {
    let file = path.display().to_string();
    let unreadable = |cause: std::io::Error| SpecError {
        cause: Some(cause),
        ..refused(&file, Mark::default(), "the job file can't be read")
    };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refused(&file, Mark::default(), "is larger than 4 MiB, the most a job file may be"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        refused(&file, Mark { line, column: 1 }, "is no UTF-8 text")
    })?;
    let jobs = parse_each(&file, &text, now_ms)?;
    let mut notes = Vec::new();
    for job in &jobs {
        notes.extend((!job.names_user).then(|| user_note(&job.spec)));
        notes.extend(job.doubts.iter().map(|doubt| format!("{file}:{doubt}")));
    }
    Ok((jobs.into_iter().map(|job| job.spec).collect(), notes))
}

/// The jobs in a text; `file` is what to call it.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(file: &str, text: &str, now_ms: i64) -> Result<Vec<JobSpec>, SpecError> {
    Ok(parse_each(file, text, now_ms)?.into_iter().map(|job| job.spec).collect())
}

/// A job as its file has it.
struct JobOfFile {
    spec: JobSpec,
    /// `user` is given.
    names_user: bool,
    /// "line:column: field: what its author may not have meant".
    doubts: Vec<String>,
}

/// The unix user is the role where none is given, and few machines have a user of that name.
fn user_note(spec: &JobSpec) -> String {
    let user = spec.task.as_ref().map_or("", |task| &task.user);
    let key = crate::render::key(spec.key.as_ref());
    format!("{key}: no `user:` is given, so it runs as the unix user `{user}`, its role")
}

fn parse_each(file: &str, text: &str, now_ms: i64) -> Result<Vec<JobOfFile>, SpecError> {
    let documents = node::documents(text).map_err(|error| refused(file, error.at, error.message))?;
    let mut problems = Vec::new();
    let mut jobs = Vec::new();
    let mut first_lines: BTreeMap<JobKey, usize> = BTreeMap::new();
    let listed: Vec<_> = documents.iter().flat_map(|document| listed(document, &mut problems)).collect();
    for (node, path) in listed {
        match one_job(node, &path, now_ms) {
            Ok(read) => {
                if let Some(key) = read.spec.key.as_ref().and_then(|key| JobKey::try_from(key).ok()) {
                    if let Some(line) = first_lines.get(&key) {
                        let message = format!("{key} is there twice; first in line {line}");
                        problems.push(Problem { at: node.at, path, message });
                    }
                    first_lines.entry(key).or_insert(node.at.line);
                }
                jobs.push(read);
            }
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() && jobs.is_empty() {
        return Err(refused(file, Mark { line: 1, column: 1 }, "contains no job"));
    }
    if problems.is_empty() {
        return Ok(jobs);
    }
    problems.sort_by_key(|problem| problem.at);
    decode::without_repetition(&mut problems);
    Err(SpecError { file: file.to_string(), problems, cause: None })
}

/// The jobs of a document: itself, or those under `jobs`. Fields that start with `x-` hold what others refer to.
fn listed<'a>(document: &'a Node, problems: &mut Vec<Problem>) -> Vec<(&'a Node, String)> {
    let Value::Map(fields) = &document.value else { return vec![(document, String::new())] };
    let Some((_, jobs)) = fields.iter().find(|(key, _)| key.text == "jobs") else {
        return vec![(document, String::new())];
    };
    for (key, _) in fields.iter().filter(|(key, _)| key.text != "jobs" && !key.text.starts_with("x-")) {
        let message = "stands beside `jobs`; only fields that start with x- may, to be referred to".to_string();
        problems.push(Problem { at: key.at, path: crate::render::safe(&key.text), message });
    }
    let Value::List(items) = &jobs.value else {
        let message = format!("is {}; a list of jobs belongs here", jobs.kind());
        problems.push(Problem { at: jobs.at, path: "jobs".to_string(), message });
        return Vec::new();
    };
    items.iter().enumerate().map(|(i, node)| (node, format!("jobs[{i}]"))).collect()
}

fn one_job(node: &Node, path: &str, now_ms: i64) -> Result<JobOfFile, Vec<Problem>> {
    let mut reader = Reader::default();
    let spec = read::job(&mut reader, node, path);
    let Some(spec) = spec else { return Err(reader.problems) };
    let names_user = spec.task.as_ref().is_some_and(|task| !task.user.is_empty());
    let never = repeating::check(&spec, now_ms);
    let errors = match (validate::job_spec(spec), never) {
        (Ok(spec), None) if reader.problems.is_empty() => {
            let doubts = doubts(&reader, &spec);
            return Ok(JobOfFile { spec, names_user, doubts });
        }
        (checked, never) => {
            let mut errors = checked.err().unwrap_or_default();
            let known = |error: &FieldError| errors.iter().any(|other| other.path == error.path);
            errors.extend(never.filter(|never| !known(never)));
            errors
        }
    };
    let said: Vec<String> = reader.problems.iter().map(|problem| problem.path.clone()).collect();
    for error in errors {
        let (at, path) = reader.locate(&error.path);
        // A field that could not be read is missing in the spec: its own problem says why.
        if !said.iter().any(|said| is_within(said, &path) || is_within(&path, said)) {
            reader.problems.push(Problem { at, path, message: error.message });
        }
    }
    Err(reader.problems)
}

fn doubts(reader: &Reader, spec: &JobSpec) -> Vec<String> {
    let told = |doubt: FieldError| {
        let (at, path) = reader.locate(&doubt.path);
        format!("{}:{}: {path}: {}", at.line, at.column, doubt.message)
    };
    validate::unreplaced_references(spec).into_iter().map(told).collect()
}

/// Whether a path is another one, or leads on from it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}
