//! What makes a job spec valid: the rules that the client, the scheduler and every agent hold it to.

use std::fmt;

use crate::v1;

/// What is wrong with one field, by its path in the spec ("task.processes[1].after[0]").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub path: String,
    /// Says what is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Checks a spec and fills in every default, so that equal jobs have equal specs.
///
/// # Errors
/// Everything that is wrong, in field order.
pub fn job_spec(spec: v1::JobSpec) -> Result<v1::JobSpec, Vec<FieldError>> {
    Ok(spec)
}
