//! Makes files written for Aurora readable as Starlark, token by token and without moving a line, and joins a file
//! with those it includes. Not here: evaluation.

mod class;
mod edit;
mod include;
mod rewrite;
mod statement;
mod token;

pub use include::{Source, prepare};
pub use token::{Kind, LogicalLine, Token, split};
