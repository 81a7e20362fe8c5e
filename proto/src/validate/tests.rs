//! Each rule broken once, by itself; what is right stays as it is; what is left out is filled in.

mod follow;
mod refused;

use super::*;
use crate::v1::*;

/// A small valid job, nothing of which is a default.
fn job(kind: JobKind) -> JobSpec {
    JobSpec {
        key: Some(v1_key("www", "prod", "web")),
        kind: kind.into(),
        instances: 3,
        task: Some(TaskSpec { processes: vec![process("web")], ..Default::default() }),
        cron: (kind == JobKind::Cron).then(|| CronPolicy { schedule: "* * * * *".into(), ..Default::default() }),
        ..Default::default()
    }
}

fn v1_key(role: &str, env: &str, name: &str) -> crate::v1::JobKey {
    crate::v1::JobKey { role: role.into(), env: env.into(), name: name.into() }
}

fn process(name: &str) -> ProcessSpec {
    ProcessSpec { name: name.into(), shell: "exec server".into(), ..Default::default() }
}

fn one_of(attribute: &str, values: &[&str]) -> Constraint {
    let values = values.iter().map(ToString::to_string).collect();
    Constraint { attribute: attribute.into(), rule: Some(constraint::Rule::OneOf(ValueSet { values })) }
}

fn none_of(attribute: &str, values: &[&str]) -> Constraint {
    let values = values.iter().map(ToString::to_string).collect();
    Constraint { attribute: attribute.into(), rule: Some(constraint::Rule::NoneOf(ValueSet { values })) }
}

fn limit(attribute: &str, limit: u32) -> Constraint {
    Constraint { attribute: attribute.into(), rule: Some(constraint::Rule::Limit(limit)) }
}

#[test]
fn every_default_is_filled_in_by_kind() {
    let service = job_spec(job(JobKind::Service)).unwrap();
    let task = service.task.as_ref().unwrap();
    assert_eq!(service.tier(), Tier::Production);
    assert_eq!(task.user, "www");
    assert_eq!(task.grace_period_ms, 10_000);
    assert_eq!(task.finalization_wait_ms, 30_000);
    assert_eq!(task.max_failed_processes, 1);
    let resources = Resources { cpu_milli: 100, memory_bytes: 128 << 20, disk_bytes: 256 << 20, ..Default::default() };
    assert_eq!(task.resources, Some(resources));
    assert_eq!(task.logs, Some(LogPolicy { file_size_bytes: 100 << 20, files: 3 }));
    assert_eq!((task.processes[0].max_failures, task.processes[0].min_duration_ms), (1, 5_000));
    let restart = RestartPolicy {
        on: RestartOn::AnyExit.into(),
        max_failures: 0,
        initial_backoff_ms: 1_000,
        max_backoff_ms: 60_000,
        stable_after_ms: 60_000,
    };
    assert_eq!(service.restart, Some(restart));
    assert_eq!(service.partition, Some(PartitionPolicy { wait: false, delay_ms: 30_000 }));

    for kind in [JobKind::Batch, JobKind::Cron] {
        let batch = job_spec(job(kind)).unwrap();
        assert_eq!(batch.tier(), Tier::Batch);
        assert_eq!(batch.restart, Some(RestartPolicy { on: RestartOn::Failure.into(), max_failures: 1, ..restart }));
    }
    let cron = job_spec(job(JobKind::Cron)).unwrap().cron.unwrap();
    assert_eq!((cron.time_zone.as_str(), cron.overlap(), cron.misfire()), ("UTC", Overlap::CancelNew, Misfire::Skip));
    assert_eq!((cron.misfire_limit, cron.starting_deadline_ms, cron.jitter_ms), (0, 0, 0));
}

#[test]
fn defaults_inside_optional_parts_are_filled_in_where_the_part_is_there() {
    let mut spec = job(JobKind::Service);
    let task = spec.task.as_mut().unwrap();
    task.ports = vec![PortSpec { name: "http".into(), fixed: 0 }];
    let probe = HttpProbe { port: "http".into(), ..Default::default() };
    task.health = Some(HealthCheck { probe: Some(health_check::Probe::Http(probe)), ..Default::default() });
    let lifecycle = HttpLifecycle { port: "http".into(), shutdown_path: "/quit".into(), ..Default::default() };
    task.http_lifecycle = Some(lifecycle);
    spec.spreads = vec![Spread { attribute: "rack".into(), ..Default::default() }];
    let target = Some(affinity::Target::Job(v1_key("www", "prod", "db")));
    spec.affinities = vec![Affinity { weight: 10, target, ..Default::default() }];

    let spec = job_spec(spec).unwrap();
    let task = spec.task.unwrap();
    let health = task.health.unwrap();
    assert!(matches!(health.probe.unwrap(), health_check::Probe::Http(probe) if probe.path == "/"));
    assert_eq!((health.initial_delay_ms, health.interval_ms, health.timeout_ms), (0, 10_000, 1_000));
    assert_eq!((health.max_failures, health.min_successes), (3, 1));
    let lifecycle = task.http_lifecycle.unwrap();
    assert_eq!((lifecycle.graceful_wait_ms, lifecycle.shutdown_wait_ms), (0, 5_000));
    assert_eq!(spec.spreads[0].weight, 50);
    assert_eq!(spec.affinities[0].topology, "host");
}

#[test]
fn a_checked_spec_checked_again_is_the_same() {
    for kind in [JobKind::Service, JobKind::Batch, JobKind::Cron] {
        let mut spec = job(kind);
        spec.constraints = vec![one_of("rack", &["b", "a", "b"]), limit("host", 1)];
        let once = job_spec(spec).unwrap();
        assert_eq!(job_spec(once.clone()), Ok(once));
    }
}

#[test]
fn sets_of_values_are_ordered_so_that_equal_jobs_are_equal() {
    let with = |values: &[&str]| JobSpec { constraints: vec![one_of("rack", values)], ..job(JobKind::Service) };
    assert_eq!(job_spec(with(&["b", "a", "b"])), job_spec(with(&["a", "b"])));
}

#[test]
fn a_longer_first_backoff_lifts_the_default_maximum() {
    let restart = RestartPolicy { initial_backoff_ms: 120_000, ..Default::default() };
    let spec = job_spec(JobSpec { restart: Some(restart), ..job(JobKind::Service) }).unwrap();
    assert_eq!(spec.restart.unwrap().max_backoff_ms, 120_000);
}

#[test]
fn what_several_values_of_an_attribute_make_possible_is_no_contradiction() {
    let mut spec = job(JobKind::Service);
    spec.constraints = vec![
        one_of("rack", &["a", "b"]),
        one_of("rack", &["c"]),
        none_of("rack", &["a"]),
        limit("rack", 3),
        limit("host", 1),
    ];
    job_spec(spec).unwrap();
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_field_order() {
    let mut spec = JobSpec { priority: 1001, ..job(JobKind::Service) };
    spec.instances = 0;
    spec.task.as_mut().unwrap().processes[0].after = vec!["setup".into()];
    let paths: Vec<String> = job_spec(spec).unwrap_err().into_iter().map(|error| error.path).collect();
    assert_eq!(paths, ["instances", "task.processes[0].after[0]", "priority"]);
}

#[test]
fn errors_are_bounded_and_quote_what_could_harm_a_terminal() {
    let mut spec = job(JobKind::Service);
    let task = spec.task.as_mut().unwrap();
    task.processes = (0..150).map(|_| process("\u{1b}[2J")).collect();
    let errors = job_spec(spec).unwrap_err();
    assert_eq!(errors.len(), MAX_ERRORS);
    assert!(errors.iter().all(|error| !error.to_string().contains('\u{1b}')), "{:?}", errors[0]);
}
