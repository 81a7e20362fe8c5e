//! The configuration language: job files in Starlark with Aurora's vocabulary and meaning, evaluated in a process of
//! its own within bounds. Not here: YAML and JSON specs, and what the commands do with a job.

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
mod tests;

pub use child::{CHILD_COMMAND, child_main, evaluate};
#[cfg(test)]
pub use errors::{ConfigError, ErrorKind};
#[cfg(test)]
pub use evaluate::{Evaluated, evaluate_in_process};
pub use evaluate::{EvaluatedJob, Options, Problem};
pub use lower::lower;
pub use schema::json::json_schema;
