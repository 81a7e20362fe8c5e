//! What a command is about: a job, or some of its instances: `www/prod/web`, `www/prod/web/0-3,7`.

use std::str::FromStr;

use dawn_proto::{JobKey, v1};

use crate::exit::{Exit, Failure};
use crate::render;

/// Most ranges one selection may have.
const MAX_RANGES: usize = 1_000;

/// A job and, unless empty, some of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub key: JobKey,
    pub instances: Vec<v1::InstanceRange>,
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (key, ranges) = match parts[..] {
            [role, env, name] => (JobKey::new(role, env, name), None),
            [first, role, env, name] if !starts_with_digit(name) => {
                let wrong = range(name).err().unwrap_or_default();
                let (first, rest) = (crate::render::safe(first), with_cluster(role, env, name));
                return Err(format!("{wrong}; if `{first}` is a cluster: {rest}"));
            }
            [_, role, env, name, _] => return Err(with_cluster(role, env, name)),
            [role, env, name, ranges] => (JobKey::new(role, env, name), Some(ranges)),
            _ => return Err("write ROLE/ENV/NAME, or ROLE/ENV/NAME/0-3,7 for some instances".to_string()),
        };
        let key = key.map_err(|error| error.to_string())?;
        let instances = ranges.map_or(Ok(Vec::new()), |ranges| ranges.split(',').map(range).collect())?;
        if instances.len() > MAX_RANGES {
            return Err(format!("more than {MAX_RANGES} ranges of instances"));
        }
        Ok(Selection { key, instances })
    }
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-') || text.is_empty()
}

/// Aurora's keys begin with a cluster.
fn with_cluster(role: &str, env: &str, name: &str) -> String {
    let key = crate::render::safe(&format!("{role}/{env}/{name}"));
    format!("keys have no cluster here; leave it out: {key}")
}

fn range(text: &str) -> Result<v1::InstanceRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(v1::InstanceRange { first, last }),
        _ => Err(format!("`{}` is neither an instance nor a range of them such as 0-3", crate::render::safe(text))),
    }
}

impl Selection {
    pub fn has(&self, instance: u32) -> bool {
        self.instances.is_empty() || self.instances.iter().any(|range| (range.first..=range.last).contains(&instance))
    }
}

/// As it is typed.
impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ranges = crate::commands::update::ranges(&self.instances);
        let slash = if ranges.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{ranges}", self.key)
    }
}

impl Selection {
    /// Refuses a selection of instances that the job does not have.
    ///
    /// # Errors
    /// Which instances there are.
    pub fn must_be_there(&self, status: &v1::JobStatus) -> Result<(), Failure> {
        let summary = status.summary.clone().unwrap_or_default();
        let has_any = status.tasks.iter().any(|task| self.has(task.instance));
        let below_count = !has_gaps(status) && self.instances.iter().any(|range| range.first < summary.instances);
        // A daemon job's instances are numbered as its nodes come.
        if self.instances.is_empty() || has_any || (below_count && summary.kind() != v1::JobKind::Daemon) {
            return Ok(());
        }
        let there = numbered(status);
        let message = match &self.instances[..] {
            [one] if one.first == one.last => format!("{} has no instance {}; {there}", self.key, one.first),
            ranges => {
                format!("{} has none of the instances {}; {there}", self.key, crate::commands::update::ranges(ranges))
            }
        };
        Err(Failure::new(Exit::NotFound, message).hint(format!("see `dawn job status {}`", self.key)))
    }
}

/// Whether the job has had more instances: numbers below its highest one are no instances.
fn has_gaps(status: &v1::JobStatus) -> bool {
    let summary = status.summary.clone().unwrap_or_default();
    let is_above = |task: &v1::Task| task.instance >= summary.instances;
    summary.kind() == v1::JobKind::Service && status.tasks.iter().any(is_above)
}

/// How many instances a job has, and their numbers where they have gaps: "it has 3: 0, 2-3".
fn numbered(status: &v1::JobStatus) -> String {
    let count = status.summary.as_ref().map_or(0, |summary| summary.instances);
    if !has_gaps(status) {
        return format!("it has {count}, numbered from 0");
    }
    let mut numbers: Vec<u32> = status.tasks.iter().map(|task| task.instance).collect();
    numbers.sort_unstable();
    numbers.dedup();
    format!("it has {count}: {}", render::instances(&numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_names_a_job_and_maybe_instances() {
        let whole: Selection = "www/prod/web".parse().unwrap();
        assert!(whole.instances.is_empty() && whole.has(99_999));
        let some: Selection = "www/prod/web/0-3,7".parse().unwrap();
        let has: Vec<u32> = (0..10).filter(|instance| some.has(*instance)).collect();
        assert_eq!(has, [0, 1, 2, 3, 7]);
        for text in ["", "www", "www/prod", "a/b/c/", "a/b/c/x", "a/b/c/3-1", "a/b/c/1,", "a/b/c/-1", "a/b/c/1/2"] {
            assert!(text.parse::<Selection>().is_err(), "{text}");
        }
        let said = "nobody/w/minute/x".parse::<Selection>().unwrap_err();
        let expected = "`x` is neither an instance nor a range of them such as 0-3; if `nobody` is a cluster: keys have no \
                        cluster here; leave it out: w/minute/x";
        assert_eq!(said, expected);
        for text in ["devcluster/www/prod/web", "devcluster/www/prod/web/0"] {
            let said = text.parse::<Selection>().unwrap_err();
            assert!(said.ends_with("keys have no cluster here; leave it out: www/prod/web"), "{said}");
        }
        assert!("a/b/c/3-x".parse::<Selection>().unwrap_err().contains("neither an instance nor a range"));
    }
}
