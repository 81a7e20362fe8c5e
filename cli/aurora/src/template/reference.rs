//! References into a configuration, such as `profile.cmd` or `thermos.ports[http]`. Not here: looking them up.

use std::fmt;

/// One step of a reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// `.name`
    Field(String),
    /// `[key]`
    Index(String),
}

/// A path of at least one step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref(pub Vec<Step>);

impl Ref {
    /// Parses an address. `None` if it isn't one: spaces, empty steps and unclosed brackets are not allowed.
    pub fn parse(address: &str) -> Option<Ref> {
        let dotted = match address.chars().next()? {
            '.' | '[' => address.to_string(),
            first if first.is_ascii_alphabetic() || first == '_' => format!(".{address}"),
            _ => return None,
        };
        let mut steps = Vec::new();
        let mut rest = dotted.as_str();
        while !rest.is_empty() {
            let (step, tail) = if let Some(inner) = rest.strip_prefix('[') {
                let end = inner.find(']')?;
                (Step::Index(index_name(&inner[..end])?), &inner[end + 1..])
            } else {
                let inner = rest.strip_prefix('.')?;
                let end = inner.find(['.', '[']).unwrap_or(inner.len());
                (Step::Field(field_name(&inner[..end])?), &inner[end..])
            };
            steps.push(step);
            rest = tail;
        }
        Some(Ref(steps))
    }

    pub fn field(name: &str) -> Ref {
        Ref(vec![Step::Field(name.to_string())])
    }

    /// What remains after `prefix`, at least one step; `None` if this doesn't lie below it.
    pub fn below<'a>(&'a self, prefix: &[Step]) -> Option<&'a [Step]> {
        self.0.strip_prefix(prefix).filter(|rest| !rest.is_empty())
    }
}

fn index_name(text: &str) -> Option<String> {
    let valid = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    (!text.is_empty() && text.chars().all(valid)).then(|| text.to_string())
}

fn field_name(text: &str) -> Option<String> {
    let first = text.chars().next()?;
    let valid = (first.is_alphabetic() || first == '_') && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    valid.then(|| text.to_string())
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_printed_alike() {
        for address in ["role", "profile.cmd", "thermos.ports[http]", "docker.image[library/python][2.7-slim]"] {
            assert_eq!(Ref::parse(address).unwrap().to_string(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", " a", "a b", "a..b", "a[", "a[]", "1a", "a.1", "a[x y]"] {
            assert_eq!(Ref::parse(address), None, "{address}");
        }
    }
}
