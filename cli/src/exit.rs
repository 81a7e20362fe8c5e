//! How a command ends: its exit code, and for people what went wrong and what to do next.

use std::error::Error;
use std::fmt;

/// Exit codes; `dawn --help` lists them, so programs may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// The job or the command failed.
    Failed = 1,
    /// A wrong command line or job file; clap ends with the same code. Also: nobody can be asked, and `--yes` is missing.
    Usage = 2,
    NotFound = 3,
    /// The scheduler said no.
    Refused = 4,
    Unreachable = 5,
    /// Timed out or interrupted; what was waited for goes on.
    Waited = 6,
    /// What was to be checked does not hold, or would not.
    Findings = 7,
    /// A scheduler that leads no more; started again it follows.
    Deposed = 8,
}

pub const HELP: &str = "\
Exit codes:
  0  done
  1  the job or the command failed
  2  wrong command line or job file; or --yes is missing where there is no terminal to ask on
  3  no such job, task or node
  4  refused by the scheduler
  5  no scheduler answered
  6  stopped waiting: timed out or interrupted
  7  something was found: a promise that is not kept, an instance that would stay pending
  8  a scheduler leads no more: start it again, and it follows

Environment:
  DAWN_SCHEDULER  as --scheduler        NO_COLOR  no colours
  DAWN_LOG        as --log

Start here: `dawn dev` runs a cluster on this machine.";

/// Why a command could not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    message: String,
    /// What to do next; empty when the message says it.
    hint: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: String::new() }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "\n  {}", self.hint)?;
        }
        Ok(())
    }
}

impl Error for Failure {}

/// A message and everything that caused it, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = error.source();
    }
    text
}

impl From<crate::spec::SpecError> for Failure {
    fn from(error: crate::spec::SpecError) -> Failure {
        Failure::new(Exit::Usage, chain(&error))
    }
}
