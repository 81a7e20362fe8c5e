//! What people are told when a configuration is refused. Not here: finding out what is wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in a file; line and column from one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub file: String,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// Where, if it is in one place.
    pub position: Option<Position>,
    pub kind: ErrorKind,
    pub message: String,
    /// Callers of the place, innermost first, when it lies in a function.
    pub called_from: Vec<Position>,
}

/// The kinds of refusal, for callers that treat them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// A file can't be read or included.
    File,
    /// Not the language.
    Syntax,
    /// A statement failed.
    Evaluation,
    /// A field's value is wrong.
    Field,
    /// A bound of `Options::limits` was reached.
    Limit,
    /// The file defines no `jobs`.
    NoJobs,
    /// Evaluation could not be started or its answer not read.
    Internal,
}

impl ConfigError {
    pub fn new(kind: ErrorKind, position: Option<Position>, message: impl Into<String>) -> ConfigError {
        ConfigError { position, kind, message: message.into(), called_from: Vec::new() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        f.write_str(&self.message)?;
        for caller in &self.called_from {
            write!(f, "\n  called from {caller}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The name that was probably meant: at most a third of it, and one edit in any case, is different.
pub fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::osa_distance(&given.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(given.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_a_near_name_is_suggested() {
        let names = ["cmdline", "name", "daemon"];
        assert_eq!(nearest("cmd_line", names.into_iter()), Some("cmdline"));
        assert_eq!(nearest("Name", names.into_iter()), Some("name"));
        assert_eq!(nearest("volume", names.into_iter()), None);
    }
}
