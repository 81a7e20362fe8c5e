//! Reads job files in Apache Aurora's language: Starlark with Aurora's vocabulary and meaning, evaluated in a process of its
//! own within bounds. Only the client uses this crate. Not here: YAML and JSON specs, and what the commands do with a job.

#![warn(clippy::expect_used, clippy::unwrap_used)]

mod child;
mod errors;
mod evaluate;
pub mod format;
mod language;
mod limits;
mod lower;
mod prepass;
mod rules;
mod schema;
mod template;
mod value;

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
#[path = "../../../tests/src/skip.rs"]
mod skip;
#[cfg(test)]
mod tests;

pub use child::{CHILD_COMMAND, child_main, evaluate};
pub use errors::{ConfigError, ErrorKind, Position};
pub use evaluate::{Evaluated, EvaluatedJob, Options, Problem, evaluate_in_process};
pub use lower::lower;
pub use schema::json::json_schema;

/// Container images come by no name yet; what there is instead.
pub const NO_IMAGES: &str = "Dawn fetches no container images; a task runs in the node's own file system, or in what \
    `root_fs` names: a directory, a tarball or an OCI layout on the node, as `skopeo copy docker://IMAGE oci:DIRECTORY` makes";
