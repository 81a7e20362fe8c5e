//! Specs to test with, as the door would parse them.

use dawn_proto::v1::{self, JobKind, Misfire, Overlap, RestartOn, Tier};
use dawn_proto::{JobKey, Resources};
use prost::Message;

use crate::model::{CronPolicy, FlowSpec, JobSpec, RestartPolicy, Schedule};

pub fn key(name: &str) -> JobKey {
    JobKey::new("www", "prod", name).unwrap()
}

/// `wire` anew, as the door makes it: equal specs have equal bytes.
pub fn encoded(mut spec: JobSpec) -> JobSpec {
    let wire = v1::JobSpec {
        key: Some(v1::JobKey::from(&spec.key)),
        kind: spec.kind.into(),
        instances: spec.instances,
        tier: spec.tier.into(),
        priority: spec.priority.into(),
        restart: Some(v1::RestartPolicy { on: spec.restart.on.into(), ..Default::default() }),
        cron: spec.cron.as_ref().map(|cron| v1::CronPolicy {
            overlap: cron.overlap.into(),
            misfire: cron.misfire.into(),
            jitter_ms: cron.jitter_ms,
            ..Default::default()
        }),
        ..Default::default()
    };
    spec.wire = wire.encode_to_vec().into();
    spec
}

pub fn spec(name: &str, kind: JobKind, instances: u32) -> JobSpec {
    let is_service = kind == JobKind::Service;
    encoded(JobSpec {
        key: key(name),
        kind,
        instances,
        tier: if is_service { Tier::Production } else { Tier::Batch },
        priority: 0,
        demand: Resources { cpu_milli: 100, memory_bytes: 1 << 20, ..Default::default() },
        ports: vec![],
        constraints: vec![],
        affinities: vec![],
        spreads: vec![],
        dedicated: None,
        restart: RestartPolicy {
            on: if is_service { RestartOn::AnyExit } else { RestartOn::Failure },
            max_failures: 3,
            initial_backoff_ms: 1_000,
            max_backoff_ms: 60_000,
            stable_after_ms: 60_000,
        },
        cron: None,
        partition_wait: false,
        partition_delay_ms: 30_000,
        max_run_time_ms: None,
        disruption_budget: None,
        grace_period_ms: 10_000,
        ladder_ms: 0,
        at_most_one: false,
        has_root_fs: false,
        has_artifacts: false,
        flow: FlowSpec::default(),
        update: crate::wire::update_policy(None),
        sla: None,
        wire: Vec::new().into(),
    })
}

pub fn service(name: &str, instances: u32) -> JobSpec {
    spec(name, JobKind::Service, instances)
}

pub fn batch(name: &str, instances: u32) -> JobSpec {
    spec(name, JobKind::Batch, instances)
}

/// One instance, every minute by default.
pub fn cron(name: &str, change: impl FnOnce(&mut CronPolicy)) -> JobSpec {
    let mut policy = CronPolicy {
        schedule: schedule("* * * * *"),
        overlap: Overlap::CancelNew,
        misfire: Misfire::Skip,
        misfire_limit: 3,
        starting_deadline_ms: None,
        jitter_ms: 0,
    };
    change(&mut policy);
    encoded(JobSpec { cron: Some(policy), ..spec(name, JobKind::Cron, 1) })
}

pub fn schedule(expression: &str) -> Schedule {
    Schedule::new(expression.parse().unwrap(), jiff::tz::TimeZone::UTC)
}
