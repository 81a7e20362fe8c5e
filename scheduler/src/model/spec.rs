//! A job spec in the form decisions use: parsed once at the door, valid from then on.
//! Not here: the processes of a task, which only agents read (they travel in `wire`).

use std::collections::BTreeMap;

use dawn_proto::v1::{Comparison, JobKind, Misfire, Overlap, RestartOn, Tier};
use dawn_proto::{EncodedSpec, JobKey, Resources, SpecId, Timestamp};

use super::{FlowSpec, Instances};

/// One stored job spec; tasks point to it.
#[derive(Clone, Debug)]
pub struct Spec {
    pub id: SpecId,
    pub version: u32,
    pub job: JobSpec,
    /// Numbers below [`Spec::bound`] that no instance has: of a service that has had more instances.
    pub gaps: Instances,
}

impl PartialEq for Spec {
    /// `job` is read from its bytes, which say all of it.
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.version, &self.gaps) == (other.id, other.version, &other.gaps) && self.job.wire == other.job.wire
    }
}

impl Spec {
    /// Instances are numbered from 0 without a gap.
    pub fn new(id: SpecId, version: u32, job: JobSpec) -> Spec {
        Spec { id, version, job, gaps: Instances::default() }
    }

    /// Instances are numbered below this. Of a daemon job it says nothing.
    pub fn bound(&self) -> u32 {
        self.job.instances.saturating_add(u32::try_from(self.gaps.len()).unwrap_or(u32::MAX))
    }

    /// Whether an instance has that number. Of a daemon job it says nothing.
    pub fn has(&self, instance: u32) -> bool {
        instance < self.bound() && !self.gaps.contains(instance)
    }
}

#[derive(Clone, Debug)]
pub struct JobSpec {
    pub key: JobKey,
    pub kind: JobKind,
    pub instances: u32,
    pub tier: Tier,
    /// 0-1000, higher first.
    pub priority: u16,
    /// What one task takes.
    pub demand: Resources,
    pub ports: Vec<PortDemand>,
    pub constraints: Vec<Constraint>,
    pub affinities: Vec<Affinity>,
    pub spreads: Vec<Spread>,
    pub dedicated: Option<String>,
    pub restart: RestartPolicy,
    pub cron: Option<CronPolicy>,
    /// Wait for an unreachable agent for ever instead of replacing the task.
    pub partition_wait: bool,
    pub partition_delay_ms: u64,
    pub max_run_time_ms: Option<u64>,
    /// Most tasks taken by preemption at the same time; None: any number.
    pub disruption_budget: Option<u32>,
    pub grace_period_ms: u64,
    /// The rest of a stop: the waits of lifecycle endpoints and final processes.
    pub ladder_ms: u64,
    /// No instance may live twice, whatever fails.
    pub at_most_one: bool,
    /// What has to be made before anything of a task runs: a root file system, artifacts.
    pub has_root_fs: bool,
    pub has_artifacts: bool,
    pub flow: FlowSpec,
    /// How a service goes from one version to the next.
    pub update: super::UpdatePolicy,
    /// What stops of Dawn's own choosing leave of a service; None: see `decide::sla`.
    pub sla: Option<SlaPolicy>,
    /// The whole spec, normalised: equal jobs have equal bytes.
    pub wire: EncodedSpec,
}

impl JobSpec {
    /// Whether all is equal.
    pub fn same_as(&self, other: &JobSpec) -> bool {
        self.wire == other.wire
    }

    /// Whether its tasks are to go on for ever: one that ends has failed, whatever its exit code.
    pub fn goes_on(&self) -> bool {
        self.kind.runs_for_ever() && self.restart.on == RestartOn::AnyExit
    }

    /// Whether the job has succeeded once every instance has finished.
    pub fn may_succeed(&self) -> bool {
        match self.kind {
            JobKind::Batch => !self.flow.is_template,
            JobKind::Service => !self.goes_on(),
            _ => false,
        }
    }

    /// Whether nothing but the number of instances differs.
    pub fn same_but_for_instances(&self, other: &JobSpec) -> bool {
        self.wire.is_same_but_for_instances(&other.wire)
    }

    /// The same with another number of instances. None: not between 1 and the most there may be.
    pub fn with_instances(&self, instances: u32) -> Option<JobSpec> {
        if !(1..=dawn_proto::validate::MAX_INSTANCES).contains(&instances) {
            return None;
        }
        Some(JobSpec { instances, wire: self.wire.with_instances(instances), ..self.clone() })
    }

    /// Whether a task of the one is as good as a task of the other.
    pub fn same_task(&self, other: &JobSpec) -> bool {
        self.wire.has_same_task(&other.wire)
    }
}

/// What is to be left of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaPolicy {
    pub what: Sla,
    /// An instance counts once it has been RUNNING for so long.
    pub duration_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sla {
    Count(u32),
    /// Of the instances wanted, rounded up.
    Percentage(u32),
    /// Asked over HTTP; `status_key` of the answer must be true.
    Coordinator {
        url: String,
        status_key: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDemand {
    pub name: String,
    /// None: any free one.
    pub fixed: Option<u16>,
}

/// A hard rule on an agent's attribute; "host" is the agent's own id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    pub attribute: String,
    pub rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    OneOf(Vec<String>),
    /// Lacking the attribute satisfies it.
    NoneOf(Vec<String>),
    Exists,
    /// A value matches as a whole.
    Regex(String),
    Number(Comparison, String),
    Version(Comparison, String),
    /// At most this many tasks of the job share a value.
    Limit(u32),
}

/// A wish, or for jobs and when `required` a rule, about neighbours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Affinity {
    /// -100..=100; negative repels.
    pub weight: i32,
    pub required: bool,
    pub near: Near,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Near {
    Attribute(Constraint),
    /// Tasks of `job` on agents with the same value of `topology`.
    Job {
        job: JobKey,
        topology: String,
    },
}

/// Spread a job's tasks over an attribute's values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spread {
    pub attribute: String,
    /// Target percent by value; empty: even.
    pub share_percent: BTreeMap<String, u32>,
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    pub on: RestartOn,
    /// Batch and cron: failures of one instance before it is given up.
    pub max_failures: u32,
    pub initial_backoff_ms: u64,
    pub max_backoff_ms: u64,
    pub stable_after_ms: u64,
}

#[derive(Clone, Debug)]
pub struct CronPolicy {
    pub schedule: Schedule,
    pub overlap: Overlap,
    pub misfire: Misfire,
    pub misfire_limit: u32,
    pub starting_deadline_ms: Option<u64>,
    pub jitter_ms: u64,
}

impl CronPolicy {
    /// The fixed part of `jitter_ms` by which a job's ticks are late: from its key, so that it lasts (FNV-1a, 64 bit).
    pub fn jitter_of(&self, key: &JobKey) -> u64 {
        if self.jitter_ms == 0 {
            return 0;
        }
        let parts = [key.role(), "/", key.env(), "/", key.name()];
        let hash = parts
            .iter()
            .flat_map(|part| part.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        hash % self.jitter_ms
    }
}

/// A parsed cron expression in its time zone. A local time that does not exist runs once, at the first instant after
/// the gap; a fixed one that happens twice runs once, the first time.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: croner::Cron,
    zone: jiff::tz::TimeZone,
}

/// Why a schedule is none.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("cron expression {expression:?} is not valid: {cause}")]
    Expression { expression: String, cause: String },
    #[error("time zone {zone:?} is not known here; use an IANA name such as Europe/Berlin")]
    Zone { zone: String },
}

impl Schedule {
    pub fn new(cron: croner::Cron, zone: jiff::tz::TimeZone) -> Self {
        Schedule { cron, zone }
    }

    /// An instant as people write it in its time zone.
    pub fn written(&self, at: Timestamp) -> String {
        super::amount::in_zone(at, self.zone.clone())
    }

    /// Whether it names days of the month and days of the week; it fires on either, as crontab(5) has it.
    pub fn restricts_both_days(&self) -> bool {
        !self.cron.pattern.is_dom_wildcard() && !self.cron.pattern.is_dow_wildcard()
    }

    /// The first tick strictly after `after`; None when it never fires again.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_millisecond(after.0).ok()?.to_zoned(self.zone.clone());
        let mut next = self.cron.find_next_occurrence(&after, false).ok();
        // Lists and ranges of times in the hour that a clock is put forward or back in need a second look.
        let shift = self.zone.following(after.timestamp()).next().map(|shift| shift.timestamp());
        if let Some(shift) = shift.filter(|shift| next.as_ref().is_none_or(|next| *shift <= next.timestamp()))
            && self.falls_into_gap(&after)
        {
            return Some(Timestamp(shift.as_millisecond()));
        }
        while let Some(at) = next.as_ref().filter(|at| self.is_fixed() && is_second_time(at)) {
            next = self.cron.find_next_occurrence(at, false).ok();
        }
        Some(Timestamp(next?.timestamp().as_millisecond()))
    }

    /// The fields that say when in a day: minute and hour, seconds before them where the parser takes such.
    fn times(&self) -> Vec<&str> {
        let fields: Vec<&str> = self.cron.pattern.as_str().split_whitespace().collect();
        fields.len().checked_sub(3).map_or_else(Vec::new, |times| fields[..times].to_vec())
    }

    /// Whether it names times of day; stars, steps and ranges are intervals, which go on in real time.
    fn is_fixed(&self) -> bool {
        let times = self.times();
        !times.is_empty() && !times.iter().any(|field| field.contains(['*', '/', '-']))
    }

    /// Whether the next time on the clock's face does not exist. What fires in every hour goes on in real time.
    fn falls_into_gap(&self, after: &jiff::Zoned) -> bool {
        let every_hour = self.times().last().is_none_or(|hour| *hour == "*");
        let face = after.datetime().to_zoned(jiff::tz::TimeZone::UTC).ok();
        let next = face.and_then(|face| self.cron.find_next_occurrence(&face, false).ok());
        let is_gap = |next: jiff::Zoned| {
            let place = self.zone.to_ambiguous_zoned(next.datetime());
            matches!(place.offset(), jiff::tz::AmbiguousOffset::Gap { .. })
        };
        !every_hour && next.is_some_and(is_gap)
    }
}

/// Whether the clock showed this time before.
fn is_second_time(at: &jiff::Zoned) -> bool {
    match at.time_zone().to_ambiguous_zoned(at.datetime()).offset() {
        jiff::tz::AmbiguousOffset::Fold { after, .. } => at.offset() == after,
        _ => false,
    }
}
