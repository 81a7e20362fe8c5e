//! Job specs: checked and normalised at the door, parsed into the form decisions use.

use dawn_proto::v1::{self, Comparison, JobKind, Misfire, Overlap, RestartOn, Tier};
use dawn_proto::validate::{self, FieldError};
use dawn_proto::{JobKey, Resources, Timestamp};

use super::parse_schedule;
use super::policy::{sla_policy, update_policy};
use crate::model::{Affinity, Constraint, CronPolicy, Dependency, FlowSpec, JobSpec, Near, PortDemand};
use crate::model::{RestartPolicy, Rule, Spread, whole_regex};

/// Checks a spec from outside, fills in defaults, and parses it.
///
/// # Errors
/// Everything that is wrong, by field.
pub fn parse_job_spec(spec: v1::JobSpec) -> Result<JobSpec, Vec<FieldError>> {
    at_the_door(&validate::job_spec(spec)?)
}

/// The same for a spec with its defaults in it, which an agent brings: it is taken as it is.
///
/// # Errors
/// Everything that is wrong, by field.
pub fn brought_spec(spec: v1::JobSpec) -> Result<JobSpec, Vec<FieldError>> {
    validate::job_spec_with_defaults(spec.clone())?;
    at_the_door(&spec)
}

fn at_the_door(spec: &v1::JobSpec) -> Result<JobSpec, Vec<FieldError>> {
    let parsed = stored_job_spec(spec)?;
    let mut errors = wrong_expressions(&parsed);
    if parsed.cron.as_ref().is_some_and(|cron| cron.schedule.next_after(ANY_TIME).is_none()) {
        let message = "never fires: there is no such day".to_string();
        errors.push(FieldError { path: "cron.schedule".to_string(), message });
    }
    if errors.is_empty() { Ok(parsed) } else { Err(errors) }
}

/// Regular expressions that are none, or would take too much. Only looked for at the door: what is in a journal stays
/// readable.
fn wrong_expressions(spec: &JobSpec) -> Vec<FieldError> {
    let constraints = spec.constraints.iter().enumerate().map(|(i, rule)| (format!("constraints[{i}].regex"), rule));
    let wishes = spec.affinities.iter().enumerate().filter_map(|(i, affinity)| match &affinity.near {
        Near::Attribute(rule) => Some((format!("affinities[{i}].attribute.regex"), rule)),
        Near::Job { .. } => None,
    });
    let wrong = constraints.chain(wishes).filter_map(|(path, constraint)| match &constraint.rule {
        Rule::Regex(expression) => Some(FieldError { path, message: whole_regex(expression).err()?.to_string() }),
        _ => None,
    });
    wrong.collect()
}

/// Schedules have no years: what does not fire after this never does.
const ANY_TIME: Timestamp = Timestamp(1_700_000_000_000);

/// Parses a spec that was checked before: from the journal.
///
/// # Errors
/// Everything that can't be said in the model, by field.
pub fn stored_job_spec(spec: &v1::JobSpec) -> Result<JobSpec, Vec<FieldError>> {
    let mut reader = Reader { errors: Vec::new() };
    let parsed = reader.job(spec);
    match parsed {
        Some(job) if reader.errors.is_empty() => Ok(job),
        _ => Err(reader.errors),
    }
}

/// Collects errors while it reads on, so that all are named at once.
struct Reader {
    errors: Vec<FieldError>,
}

/// Whether a duration or count is given; the wire's 0 is "none".
fn given(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
}

/// What a stop takes besides its grace period.
fn ladder_ms(task: &v1::TaskSpec) -> u64 {
    let lifecycle = task.http_lifecycle.as_ref();
    let endpoints_ms = lifecycle.map_or(0, |one| one.graceful_wait_ms.saturating_add(one.shutdown_wait_ms));
    endpoints_ms.saturating_add(task.finalization_wait_ms)
}

impl Reader {
    fn wrong<T>(&mut self, path: impl Into<String>, message: impl ToString) -> Option<T> {
        self.errors.push(FieldError { path: path.into(), message: message.to_string() });
        None
    }

    fn ok<T, E: ToString>(&mut self, path: &str, value: Result<T, E>) -> Option<T> {
        value.map_or_else(|error| self.wrong(path, error), Some)
    }

    /// An enum's value; its first name, UNSPECIFIED, is none.
    fn name<E: TryFrom<i32> + Copy + Into<i32>>(&mut self, path: &str, value: i32) -> Option<E> {
        match E::try_from(value) {
            Ok(known) if value != 0 => Some(known),
            _ => self.wrong(path, format!("{value} is no value of this field")),
        }
    }

    fn job(&mut self, spec: &v1::JobSpec) -> Option<JobSpec> {
        let key = match &spec.key {
            Some(key) => self.ok("key", JobKey::try_from(key)),
            None => self.wrong("key", "is missing; give role, env and name"),
        };
        let task = spec.task.clone().unwrap_or_default();
        let kind = self.name::<JobKind>("kind", spec.kind);
        let cron = match (&spec.cron, kind) {
            (Some(policy), Some(JobKind::Cron)) => self.cron(policy),
            (None, Some(JobKind::Cron)) => self.wrong("cron", "is missing; a cron job needs a schedule"),
            _ => None,
        };
        let partition = spec.partition.unwrap_or_default();
        let tier = self.name::<Tier>("tier", spec.tier);
        let priority = u16::try_from(spec.priority).ok().filter(|priority| *priority <= 1000);
        let priority = priority.or_else(|| self.wrong("priority", format!("{} is above 1000", spec.priority)));
        let ports = self.ports(&task.ports);
        let constraints = self.list("constraints", &spec.constraints, Reader::constraint);
        let affinities = self.list("affinities", &spec.affinities, Reader::affinity);
        let spreads = self.list("spreads", &spec.spreads, Reader::spread);
        let restart = self.restart(spec.restart.as_ref());
        Some(JobSpec {
            key: key?,
            kind: kind?,
            instances: spec.instances,
            tier: tier?,
            priority: priority?,
            demand: task.resources.as_ref().map(Resources::from).unwrap_or_default(),
            ports,
            constraints,
            affinities,
            spreads,
            dedicated: (!spec.dedicated.is_empty()).then(|| spec.dedicated.clone()),
            restart: restart?,
            cron,
            partition_wait: partition.wait,
            partition_delay_ms: partition.delay_ms,
            max_run_time_ms: given(spec.max_run_time_ms),
            disruption_budget: (spec.disruption_budget > 0).then_some(spec.disruption_budget),
            grace_period_ms: task.grace_period_ms,
            ladder_ms: ladder_ms(&task),
            at_most_one: spec.at_most_one,
            has_root_fs: spec.task.as_ref().is_some_and(|task| task.root_fs.is_some()),
            has_artifacts: spec.task.as_ref().is_some_and(|task| !task.artifacts.is_empty()),
            flow: self.flow(spec),
            update: update_policy(spec.update.as_ref()),
            sla: spec.sla.as_ref().and_then(sla_policy),
            wire: spec.into(),
        })
    }

    fn flow(&mut self, spec: &v1::JobSpec) -> FlowSpec {
        let after = self.list("dependencies", &spec.dependencies, |reader, path, wire| {
            let key = wire.job.as_ref().map(JobKey::try_from);
            let key = key.or_else(|| reader.wrong(format!("{path}.job"), "is missing"))?;
            let job = reader.ok(&format!("{path}.job"), key)?;
            Some(Dependency { job, on: reader.name(&format!("{path}.on"), wire.on)? })
        });
        FlowSpec {
            after,
            max_running: (spec.max_running > 0).then_some(spec.max_running),
            gang: spec.gang,
            deadline_ms: given(spec.deadline_ms),
            is_template: spec.parameters.is_some(),
        }
    }

    fn list<T, M>(&mut self, path: &str, wire: &[M], read: fn(&mut Reader, &str, &M) -> Option<T>) -> Vec<T> {
        wire.iter().enumerate().filter_map(|(i, item)| read(self, &format!("{path}[{i}]"), item)).collect()
    }

    fn ports(&mut self, ports: &[v1::PortSpec]) -> Vec<PortDemand> {
        self.list("task.ports", ports, |reader, path, port| {
            let path = format!("{path}.fixed");
            let fixed = u16::try_from(port.fixed).map_err(|_| format!("{} is no port; 1-65535", port.fixed));
            let fixed = reader.ok(&path, fixed)?;
            Some(PortDemand { name: port.name.clone(), fixed: (fixed > 0).then_some(fixed) })
        })
    }

    fn constraint(&mut self, path: &str, wire: &v1::Constraint) -> Option<Constraint> {
        use v1::constraint::Rule as Wire;
        let rule = match &wire.rule {
            Some(Wire::OneOf(set)) => Rule::OneOf(set.values.clone()),
            Some(Wire::NoneOf(set)) => Rule::NoneOf(set.values.clone()),
            Some(Wire::Exists(_)) => Rule::Exists,
            Some(Wire::Regex(regex)) => Rule::Regex(regex.clone()),
            Some(Wire::Number(compare)) => Rule::Number(self.op(path, compare)?, compare.value.clone()),
            Some(Wire::Version(compare)) => Rule::Version(self.op(path, compare)?, compare.value.clone()),
            Some(Wire::Limit(limit)) => Rule::Limit(*limit),
            None => return self.wrong(path, "has no rule"),
        };
        Some(Constraint { attribute: wire.attribute.clone(), rule })
    }

    fn op(&mut self, path: &str, compare: &v1::Compare) -> Option<Comparison> {
        self.name::<Comparison>(&format!("{path}.op"), compare.op)
    }

    fn affinity(&mut self, path: &str, wire: &v1::Affinity) -> Option<Affinity> {
        use v1::affinity::Target;
        let near = match &wire.target {
            Some(Target::Attribute(constraint)) => {
                Near::Attribute(self.constraint(&format!("{path}.attribute"), constraint)?)
            }
            Some(Target::Job(key)) => {
                let job = self.ok(&format!("{path}.job"), JobKey::try_from(key))?;
                let topology = if wire.topology.is_empty() { "host" } else { &wire.topology };
                Near::Job { job, topology: topology.to_string() }
            }
            None => return self.wrong(path, "has no target; give attribute or job"),
        };
        Some(Affinity { weight: wire.weight, required: wire.required, near })
    }

    fn spread(&mut self, _path: &str, wire: &v1::Spread) -> Option<Spread> {
        let share_percent = wire.share_percent.clone();
        Some(Spread { attribute: wire.attribute.clone(), share_percent, weight: wire.weight.max(1) })
    }

    fn restart(&mut self, wire: Option<&v1::RestartPolicy>) -> Option<RestartPolicy> {
        let Some(wire) = wire else { return self.wrong("restart", "is missing") };
        Some(RestartPolicy {
            on: self.name::<RestartOn>("restart.on", wire.on)?,
            max_failures: wire.max_failures.max(1),
            initial_backoff_ms: wire.initial_backoff_ms,
            max_backoff_ms: wire.max_backoff_ms,
            stable_after_ms: wire.stable_after_ms,
        })
    }

    fn cron(&mut self, wire: &v1::CronPolicy) -> Option<CronPolicy> {
        let schedule = match parse_schedule(&wire.schedule, &wire.time_zone) {
            Ok(schedule) => Some(schedule),
            Err(error @ crate::model::ScheduleError::Zone { .. }) => self.wrong("cron.time_zone", error),
            Err(error) => self.wrong("cron.schedule", error),
        };
        let overlap = self.name::<Overlap>("cron.overlap", wire.overlap);
        let misfire = self.name::<Misfire>("cron.misfire", wire.misfire);
        Some(CronPolicy {
            schedule: schedule?,
            overlap: overlap?,
            misfire: misfire?,
            misfire_limit: wire.misfire_limit,
            starting_deadline_ms: given(wire.starting_deadline_ms),
            jitter_ms: wire.jitter_ms,
        })
    }
}
