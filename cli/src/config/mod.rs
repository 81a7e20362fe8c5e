//! The configuration language: job files in Starlark with Aurora's vocabulary and meaning, evaluated in a process of
//! its own within bounds. Not here: YAML and JSON specs, and what the commands do with a job.

mod child;
mod errors;
mod evaluate;
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
pub use errors::{ConfigError, ErrorKind, Position};
pub use evaluate::{Evaluated, EvaluatedJob, Options, Problem, UnboundReference, evaluate_in_process};
pub use limits::Limits;
pub use lower::{Lowered, lower};
pub use schema::json::json_schema;
