//! Names of things, as types that can only be valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::v1;

/// A job's name, `role/env/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    role: Arc<str>,
    env: Arc<str>,
    name: Arc<str>,
}

/// Why a text is no job key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobKeyError {
    /// Not three parts with `/` between.
    Shape(String),
    /// `part` is "role", "env" or "name".
    Part { part: &'static str, value: String },
}

impl fmt::Display for JobKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobKeyError::Shape(text) => write!(f, "{text:?} is no job key; write role/env/name"),
            JobKeyError::Part { part, value } => write!(
                f,
                "{part} {value:?} is not valid: 1-63 characters of a-z A-Z 0-9 _ . -, the first a letter or digit"
            ),
        }
    }
}

impl std::error::Error for JobKeyError {}

/// Whether `text` may name a part of a job key or a process.
pub(crate) fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

impl JobKey {
    /// # Errors
    /// When a part is not 1-63 characters of `[a-zA-Z0-9_.-]` starting with a letter or digit.
    pub fn new(role: &str, env: &str, name: &str) -> Result<Self, JobKeyError> {
        for (part, value) in [("role", role), ("env", env), ("name", name)] {
            if !is_name(value) {
                return Err(JobKeyError::Part { part, value: value.chars().take(80).collect() });
            }
        }
        Ok(JobKey { role: role.into(), env: env.into(), name: name.into() })
    }

    pub fn role(&self) -> &str {
        &self.role
    }

    pub fn env(&self) -> &str {
        &self.env
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.role, self.env, self.name)
    }
}

impl FromStr for JobKey {
    type Err = JobKeyError;

    fn from_str(text: &str) -> Result<Self, JobKeyError> {
        match text.split('/').collect::<Vec<_>>()[..] {
            [role, env, name] => JobKey::new(role, env, name),
            _ => Err(JobKeyError::Shape(text.chars().take(200).collect())),
        }
    }
}

impl TryFrom<&v1::JobKey> for JobKey {
    type Error = JobKeyError;

    fn try_from(key: &v1::JobKey) -> Result<Self, JobKeyError> {
        JobKey::new(&key.role, &key.env, &key.name)
    }
}

impl From<&JobKey> for v1::JobKey {
    fn from(key: &JobKey) -> Self {
        v1::JobKey { role: key.role.to_string(), env: key.env.to_string(), name: key.name.to_string() }
    }
}

/// One life of an instance; unique in the cluster, never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl FromStr for TaskId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix('t').unwrap_or(text).parse().map(TaskId)
    }
}

/// A stored job spec; unique in the cluster, never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecId(pub u64);

impl fmt::Display for SpecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// The order of leaders: a higher epoch was elected later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An agent's lasting name, made at its first start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// None unless `text` is 1-63 characters of `[a-zA-Z0-9_.-]` starting with a letter or digit.
    pub fn new(text: &str) -> Option<Self> {
        is_name(text).then(|| AgentId(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_written() {
        let key: JobKey = "www/prod/web-1.2".parse().unwrap();
        assert_eq!(key.to_string(), "www/prod/web-1.2");
        assert_eq!(JobKey::try_from(&v1::JobKey::from(&key)), Ok(key));
    }

    #[test]
    fn keys_that_could_escape_a_path_or_a_table_are_refused() {
        for text in ["", "a/b", "a/b/c/d", "a//c", "../b/c", "a/b/c d", "a/b/-c", "a/b/c\n"] {
            assert!(text.parse::<JobKey>().is_err(), "{text:?}");
        }
        assert!(JobKey::new("r", "e", &"x".repeat(64)).is_err());
    }
}
