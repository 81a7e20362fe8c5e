//! Dependencies, arrays, gangs, deadlines, templates and daemon jobs: each rule broken once.

use super::*;
use crate::v1::constraint::Rule;

fn refused(kind: JobKind, change: impl FnOnce(&mut JobSpec), path: &str, part: &str) {
    let mut spec = job(kind);
    change(&mut spec);
    let errors = job_spec(spec).expect_err(path);
    assert!(errors.len() == 1 && errors[0].path == path && errors[0].message.contains(part), "{path}: {errors:?}");
}

fn batch(change: impl FnOnce(&mut JobSpec), path: &str, part: &str) {
    refused(JobKind::Batch, change, path, part);
}

fn after(name: &str, on: i32) -> Dependency {
    Dependency { job: Some(v1_key("www", "prod", name)), on }
}

#[test]
fn dependencies_are_other_jobs_each_once() {
    let on = DependsOn::Success.into();
    batch(|spec| spec.dependencies = vec![after("web", on)], "dependencies[0].job", "can't wait for itself");
    batch(|spec| spec.dependencies = vec![after("a", on), after("a", on)], "dependencies[1].job", "twice");
    batch(|spec| spec.dependencies = vec![after("a b", on)], "dependencies[0].job", "not valid");
    batch(|spec| spec.dependencies = vec![Dependency { job: None, on }], "dependencies[0].job", "is missing");
    batch(|spec| spec.dependencies = vec![after("a", 0)], "dependencies[0].on", "success, failure, any");
    batch(|spec| spec.dependencies = vec![after("a", 77)], "dependencies[0].on", "success, failure, any");
    batch(
        |spec| spec.dependencies = (0..101).map(|i| after(&format!("a{i}"), on)).collect(),
        "dependencies",
        "101 jobs",
    );
    for kind in [JobKind::Cron, JobKind::Daemon] {
        let one = |spec: &mut JobSpec| {
            spec.instances = 1;
            spec.dependencies = vec![after("a", on)];
        };
        refused(kind, one, "dependencies", "only for batch jobs and services");
    }
    let mut service = job(JobKind::Service);
    service.dependencies = vec![after("a", on)];
    assert!(job_spec(service).is_ok());
}

#[test]
fn only_batch_jobs_are_arrays_gangs_templates_or_due() {
    let parameters = || Some(Parameters::default());
    for kind in [JobKind::Service, JobKind::Cron] {
        refused(kind, |spec| spec.max_running = 1, "max_running", "only for batch");
        refused(kind, |spec| spec.gang = true, "gang", "only for batch");
        refused(kind, |spec| spec.deadline_ms = 1, "deadline_ms", "only for batch");
        refused(kind, |spec| spec.parameters = parameters(), "parameters", "only for batch");
    }
    batch(|spec| spec.max_running = 100_001, "max_running", "100001 is not between");
    batch(|spec| spec.deadline_ms = u64::MAX, "deadline_ms", "is not between");
    let big = |spec: &mut JobSpec| (spec.gang, spec.instances) = (true, 1_001);
    batch(big, "gang", "1001 instances placed at once; at most 1000");
    batch(|spec| (spec.gang, spec.max_running) = (true, 2), "gang", "contradiction");
}

#[test]
fn parameters_are_variables_each_once() {
    let with = |change: fn(&mut Parameters)| move |spec: &mut JobSpec| change(spec.parameters.get_or_insert_default());
    batch(with(|p| p.required = vec!["1A".into()]), "parameters.required[0]", "no name of an environment variable");
    batch(with(|p| p.required = vec!["DAWN_X".into()]), "parameters.required[0]", "by Dawn itself");
    batch(with(|p| p.required = vec!["A".into(), "A".into()]), "parameters.required[1]", "there twice");
    batch(with(|p| p.required = vec!["PAYLOAD".into()]), "parameters.required[0]", "payload's variable");
    batch(with(|p| p.optional = [("PAYLOAD".into(), "x".into())].into()), "parameters.optional", "payload's variable");
    batch(with(|p| p.optional = [("B".into(), "a\0".into())].into()), "parameters.optional.B", "NUL");
    let both = |p: &mut Parameters| (p.required, p.optional) = (vec!["A".into()], [("A".into(), "x".into())].into());
    batch(with(both), "parameters.required[0]", "optional too");
    batch(with(|p| p.required = vec!["A".into(); 101]), "parameters", "at most 100");
    batch(with(|p| p.payload = 9), "parameters.payload", "forbidden, optional, required");
    let waits = |spec: &mut JobSpec| {
        spec.parameters = Some(Parameters::default());
        spec.dependencies = vec![after("a", 1)];
    };
    batch(waits, "parameters", "waits for no other job");
    let mut template = job(JobKind::Batch);
    template.parameters = Some(Parameters { required: vec!["B".into(), "A".into()], ..Default::default() });
    let parameters = job_spec(template).unwrap().parameters.unwrap();
    assert_eq!((parameters.required, parameters.payload), (vec!["A".into(), "B".into()], 1));
}

#[test]
fn a_daemon_job_has_nothing_to_choose() {
    let one = |change: fn(&mut JobSpec)| {
        move |spec: &mut JobSpec| {
            spec.instances = 1;
            change(spec);
        }
    };
    let daemon = |change: fn(&mut JobSpec), path: &str, part: &str| refused(JobKind::Daemon, one(change), path, part);
    refused(JobKind::Daemon, |_| (), "instances", "one task on each node");
    daemon(|spec| spec.constraints = vec![limit("rack", 1)], "constraints[0].limit", "one task on each node");
    let spread = |spec: &mut JobSpec| spec.spreads = vec![Spread { attribute: "rack".into(), ..Default::default() }];
    daemon(spread, "spreads", "nothing to choose");
    daemon(|spec| spec.max_run_time_ms = 5, "max_run_time_ms", "runs for ever");
    daemon(
        |spec| spec.restart = Some(RestartPolicy { max_failures: 2, ..Default::default() }),
        "restart.max_failures",
        "never given up",
    );
    let mut spec = job(JobKind::Daemon);
    spec.instances = 1;
    spec.constraints = vec![one_of("rack", &["a"])];
    let spec = job_spec(spec).unwrap();
    assert_eq!((spec.tier(), spec.restart.unwrap().on()), (Tier::Production, RestartOn::AnyExit));
    assert!(matches!(spec.constraints[0].rule, Some(Rule::OneOf(_))));
}
