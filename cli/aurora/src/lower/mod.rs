//! Dawn's job spec from a job in Aurora's vocabulary. What Dawn has nothing for is named: as a warning where the job
//! runs the same without it, as a refusal where it would not. Not here: the rules that hold for every spec.

mod fields;
mod health;
mod leftover;
mod place;
mod policy;
mod ports;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use dawn_proto::v1;

use self::fields::Fields;
use self::ports::Ports;
use super::errors::nearest;
use super::evaluate::{EvaluatedJob, Problem};

/// A spec, and the parts of the job that have no effect in it.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// Not validated and without Dawn's defaults.
    pub spec: v1::JobSpec,
    pub warnings: Vec<Problem>,
}

/// What was found on the way.
#[derive(Debug, Default)]
struct Found {
    refusals: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Found {
    fn refuse(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.refusals.push(Problem { path: path.into(), position: None, message: message.into() });
    }

    fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Problem { path: path.into(), position: None, message: message.into() });
    }

    /// A number that the wire holds as unsigned; refused below zero.
    fn unsigned<T: TryFrom<i64> + Default>(&mut self, fields: &Fields, field: &str) -> T {
        let number = fields.integer(field);
        T::try_from(number).unwrap_or_else(|_| {
            self.refuse(fields.path_of(field), format!("{number} is out of range"));
            T::default()
        })
    }

    /// Seconds as milliseconds; refused below zero.
    fn seconds(&mut self, fields: &Fields, field: &str) -> u64 {
        let seconds = fields.float(field);
        if !(0.0..1e12).contains(&seconds) {
            self.refuse(fields.path_of(field), format!("{seconds}s is out of range"));
            return 0;
        }
        (seconds * 1000.0).round() as u64
    }
}

/// Makes Dawn's spec of a job. The job's cluster is not in it: a spec goes to the cluster it is sent to.
///
/// # Errors
/// Everything that keeps the job from running as it says: its own problems, references that nobody fills in, and
/// parts that Dawn has nothing for.
pub fn lower(job: &EvaluatedJob) -> Result<Lowered, Vec<Problem>> {
    if !job.problems.is_empty() {
        return Err(job.problems.clone());
    }
    let fields = Fields::new(&job.tree);
    let mut found = Found::default();
    let ports = Ports::discover(job, &fields, &mut found);
    let kind = kind(&fields, &mut found);
    let (constraints, dedicated) = place::constraints(&fields, &mut found);
    let spec = v1::JobSpec {
        key: Some(v1::JobKey {
            role: fields.text("role").into(),
            env: fields.text("environment").into(),
            name: fields.text("name").into(),
        }),
        kind: kind.into(),
        instances: found.unsigned(&fields, "instances"),
        task: Some(task::task(&fields, &ports, &mut found)),
        tier: tier(&fields, &mut found).into(),
        priority: found.unsigned(&fields, "priority"),
        constraints,
        dedicated,
        restart: restart(&fields, kind),
        cron: cron(&fields, kind, &mut found),
        labels: labels(&fields, &mut found),
        partition: partition(&fields, &mut found),
        update: policy::update(&fields, kind, &mut found),
        sla: policy::sla(&fields, kind, &mut found),
        announce: ports.announced(&fields),
        ..v1::JobSpec::default()
    };
    leftover::report(job, &fields, &mut found);
    if found.refusals.is_empty() { Ok(Lowered { spec, warnings: found.warnings }) } else { Err(found.refusals) }
}

fn kind(fields: &Fields, found: &mut Found) -> v1::JobKind {
    match (fields.text("cron_schedule").is_empty(), fields.boolean("service")) {
        (false, true) => {
            found.refuse("cron_schedule", "a service runs for ever and has no schedule; use Job instead of Service");
            v1::JobKind::Cron
        }
        (false, false) => v1::JobKind::Cron,
        (true, true) => v1::JobKind::Service,
        (true, false) => v1::JobKind::Batch,
    }
}

/// Aurora's tiers: a job without one is `preferred` if it is `production`, else `preemptible`.
fn tier(fields: &Fields, found: &mut Found) -> v1::Tier {
    match fields.text("tier") {
        "" if fields.boolean("production") => v1::Tier::Production,
        "" | "preemptible" => v1::Tier::Batch,
        "preferred" => v1::Tier::Production,
        "revocable" => v1::Tier::Revocable,
        other => {
            found.refuse("tier", format!("'{other}' is not one of preferred, preemptible, revocable"));
            v1::Tier::Unspecified
        }
    }
}

/// Only for batch and cron: a service is never given up, in Aurora as in Dawn.
fn restart(fields: &Fields, kind: v1::JobKind) -> Option<v1::RestartPolicy> {
    if kind == v1::JobKind::Service {
        return None;
    }
    // Aurora's -1 is "any number".
    let max_failures = u32::try_from(fields.integer("max_task_failures")).unwrap_or(u32::MAX);
    Some(v1::RestartPolicy { max_failures, ..v1::RestartPolicy::default() })
}

fn cron(fields: &Fields, kind: v1::JobKind, found: &mut Found) -> Option<v1::CronPolicy> {
    if kind != v1::JobKind::Cron {
        return None;
    }
    const POLICIES: [(&str, v1::Overlap); 3] = [
        ("KILL_EXISTING", v1::Overlap::KillExisting),
        ("CANCEL_NEW", v1::Overlap::CancelNew),
        ("RUN_OVERLAP", v1::Overlap::Allow),
    ];
    let given = fields.text("cron_collision_policy");
    let overlap = POLICIES.iter().find(|(name, _)| *name == given).map(|(_, overlap)| *overlap);
    if overlap.is_none() {
        let names = POLICIES.map(|(name, _)| name);
        let hint = nearest(given, names.into_iter()).map_or(String::new(), |name| format!("; did you mean {name}?"));
        found.refuse("cron_collision_policy", format!("'{given}' is not one of {}{hint}", names.join(", ")));
    }
    Some(v1::CronPolicy {
        schedule: fields.text("cron_schedule").into(),
        overlap: overlap.unwrap_or_default().into(),
        ..v1::CronPolicy::default()
    })
}

/// Metadata and the contact: what Aurora keeps with a job for people.
fn labels(fields: &Fields, found: &mut Found) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if fields.has("contact") {
        labels.insert("contact".to_string(), fields.text("contact").to_string());
    }
    for item in fields.items("metadata") {
        let (key, value) = (item.text("key").to_string(), item.text("value").to_string());
        if let Some(before) = labels.insert(key.clone(), value)
            && key != "contact"
        {
            found.warn(item.path.clone(), format!("labels are unique: '{key}' loses its value '{before}'"));
        }
    }
    labels
}

fn partition(fields: &Fields, found: &mut Found) -> Option<v1::PartitionPolicy> {
    let policy = fields.inner("partition_policy");
    if !policy.is_set() {
        return None;
    }
    let wait = !policy.boolean("reschedule");
    let delay_ms = if wait { 0 } else { found.seconds(&policy, "delay_secs") };
    Some(v1::PartitionPolicy { wait, delay_ms })
}
