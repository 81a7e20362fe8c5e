//! What makes a job spec valid: the rules that the client, the scheduler and every agent hold it to.
//! Not here: whether a cron expression, a time zone or a regular expression parses; that needs parsers, which the doors have.

mod agent;
mod announce;
mod bounds;
mod defaults;
mod fill;
mod follow;
mod place;
mod policy;
mod progress;
mod repeat;
mod task;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use prost::Message;

use crate::v1::{JobKind, JobSpec};
use crate::{JobKey, JobKeyError, fields};
use bounds::{At, Bounded};

/// The short form stands in job files only.
const NO_PROCESS: &str = "a job needs at least one process: give `run`, the one command, or a list of `processes`";

pub use agent::*;
pub use defaults::*;
pub use policy::update_policy;
pub use progress::cannot_make_it;
pub use task::unreplaced_references;

/// What is wrong with one field, by its path in the spec (`task.processes[1].after[0]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub path: String,
    /// Says what is wrong and what would be right.
    pub message: String,
}

impl FieldError {
    /// The same of a message that is itself a field.
    pub fn below(self, path: &str) -> FieldError {
        FieldError { path: format!("{path}.{}", self.path), ..self }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name of the user's may stand in the path.
        self.path.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_debug()),
            false => write!(f, "{c}"),
        })?;
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for FieldError {}

/// Most errors said at once; what comes after them is left out.
const MAX_ERRORS: usize = 100;

/// What was found wrong so far.
#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn at(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let error = FieldError { path: path.into(), message: message.into() };
        if self.0.len() < MAX_ERRORS && !self.0.contains(&error) {
            self.0.push(error);
        }
    }

    /// Whether something is wrong with the field itself, as too many items are.
    fn refuses(&self, path: &str) -> bool {
        self.0.iter().any(|error| error.path == path)
    }
}

/// Checks a spec and fills in every default, so that equal jobs have equal specs: what comes out, put in again, comes out the same.
///
/// # Errors
/// Everything that is wrong, in field order, at most 100.
pub fn job_spec(spec: JobSpec) -> Result<JobSpec, Vec<FieldError>> {
    of_size(&spec, MAX_SPEC_BYTES)?;
    let mut errors = Errors(Vec::new());
    // Only where a spec is new: tasks that run with such a text go on.
    task::references(&spec, &mut errors);
    match checked(spec) {
        Ok(spec) if errors.0.is_empty() => Ok(spec),
        Ok(_) => Err(errors.0),
        Err(mut wrong) => {
            wrong.extend(errors.0);
            wrong.sort_by_cached_key(|error| fields::place_of(&error.path));
            wrong.truncate(MAX_ERRORS);
            Err(wrong)
        }
    }
}

/// The same for a spec that has its defaults already, and may be larger for them: what an agent says that a task of its runs.
///
/// # Errors
/// Everything that is wrong, in field order, at most 100.
pub fn job_spec_with_defaults(spec: JobSpec) -> Result<JobSpec, Vec<FieldError>> {
    of_size(&spec, MAX_SPEC_BYTES + MAX_DEFAULTS_BYTES)?;
    checked(spec)
}

fn of_size(spec: &JobSpec, most: usize) -> Result<(), Vec<FieldError>> {
    let size = spec.encoded_len();
    if size <= most {
        return Ok(());
    }
    let message = format!("the whole spec is {size} bytes; at most {most} are allowed");
    Err(vec![FieldError { path: String::new(), message }])
}

fn checked(mut spec: JobSpec) -> Result<JobSpec, Vec<FieldError>> {
    let mut errors = Errors(Vec::new());
    let role = key(&spec, &mut errors);
    let kind = JobKind::try_from(spec.kind).ok().filter(|kind| *kind != JobKind::Unspecified);
    fill::fill(&mut spec, kind, &role);
    spec.bound(At::root(""), &mut errors);
    match spec.task.as_mut() {
        Some(task) => task::check(task, kind, &mut errors),
        None => errors.at("task.processes", NO_PROCESS),
    }
    place::check(&mut spec, &mut errors);
    repeat::check(&mut spec, kind, &mut errors);
    follow::check(&mut spec, kind, &mut errors);
    policy::check(&spec, kind, &mut errors);
    announce::check(&spec, &mut errors);
    text::labels("labels", &spec.labels, &mut errors);
    if errors.0.is_empty() {
        return Ok(spec);
    }
    errors.0.sort_by_cached_key(|error| fields::place_of(&error.path));
    Err(errors.0)
}

/// The role, for the default user; empty when the key is wrong.
fn key(spec: &JobSpec, errors: &mut Errors) -> String {
    let Some(key) = &spec.key else {
        errors.at("key", "a job needs a key: role/env/name");
        return String::new();
    };
    match JobKey::try_from(key) {
        Ok(key) => key.role().to_string(),
        Err(error) => {
            let part =
                if let JobKeyError::Part { part, .. } = &error { format!("key.{part}") } else { "key".to_string() };
            errors.at(part, error.to_string());
            String::new()
        }
    }
}
