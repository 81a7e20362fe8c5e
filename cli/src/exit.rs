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
  1  the job or the command failed, or a node is out of reach; what was to be checked could not be read
  2  wrong command line or job file; or --yes is missing where there is no terminal to ask on
  3  no such job, task or node
  4  refused by the scheduler
  5  no scheduler answered
  6  stopped waiting: timed out or interrupted
  7  something was found: a promise that is not kept, an instance that would stay pending
  8  a scheduler leads no more: start it again, and it follows

Environment:
  DAWN_SCHEDULER  as --scheduler; empty is as if it were not set
  DAWN_LOG        as --log; empty is as if it were not set
  NO_COLOR        no colours

Start here: `dawn dev` runs a cluster on this machine.";

/// Why a command could not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    message: String,
    /// What to do next; empty when the message says it.
    hint: String,
    /// The message's lines begin with places in files, as editors and other programs read them.
    placed: bool,
    /// It may be done when a node or a scheduler is back.
    passing: bool,
    /// What there is none of, where it can be looked for by a similar name.
    missing: Option<Missing>,
}

/// What was asked for and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// As ROLE/ENV/NAME.
    Job(String),
    /// By id or host name.
    Node(String),
}

impl Failure {
    /// The same with one text instead of another, wherever it stands.
    pub fn with_instead_of(mut self, text: &str, other: &str) -> Failure {
        self.message = self.message.replace(text, other);
        self.hint = self.hint.replace(text, other);
        self
    }

    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: String::new(), placed: false, passing: false, missing: None }
    }

    /// It is not there, and may be there by a similar name.
    pub fn missing(self, missing: Missing) -> Failure {
        Failure { missing: Some(missing), ..self }
    }

    /// What is wrong with files: every line of the message is `FILE:LINE:COLUMN: …`.
    pub fn in_files(message: impl Into<String>) -> Failure {
        Failure { placed: true, ..Failure::new(Exit::Usage, message) }
    }

    /// Of a node that is out of reach: asked again it may answer.
    pub fn passing(self) -> Failure {
        Failure { passing: true, ..self }
    }

    /// Whether the same may be done in a while.
    pub fn may_pass(&self) -> bool {
        self.passing || self.exit == Exit::Unreachable
    }

    /// What went wrong, without what to do next.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn is_missing(&self) -> Option<&Missing> {
        self.missing.as_ref()
    }

    /// What is printed on standard error. Other programs find `FILE:LINE:COLUMN` at the beginning of each line.
    pub fn said(&self) -> String {
        let who = if self.placed { "" } else { "dawn: " };
        format!("{who}{self}")
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
        Failure::in_files(chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_files_begin_with_their_place() {
        let file =
            Failure::in_files("a.yaml:1:1: job: is missing\na.yaml:2:1: run: is missing").hint("nothing was done");
        assert_eq!(file.said(), "a.yaml:1:1: job: is missing\na.yaml:2:1: run: is missing\n  nothing was done");
        assert_eq!(Failure::new(Exit::Failed, "no").said(), "dawn: no");
    }
}
