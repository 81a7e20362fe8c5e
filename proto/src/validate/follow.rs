//! Rules for how jobs follow each other and are made: dependencies, arrays, gangs, deadlines, templates, daemon jobs.

use std::collections::BTreeSet;

use super::{Errors, defaults::*, text};
use crate::JobKey;
use crate::v1::constraint::Rule;
use crate::v1::{JobKind, JobSpec, Parameters};

pub(super) fn check(spec: &mut JobSpec, kind: Option<JobKind>, errors: &mut Errors) {
    let batch = kind.is_none_or(|kind| kind == JobKind::Batch);
    dependencies(spec, kind, errors);
    let only_batch = [
        ("max_running", spec.max_running > 0),
        ("gang", spec.gang),
        ("deadline_ms", spec.deadline_ms > 0),
        ("parameters", spec.parameters.is_some()),
    ];
    for (path, _) in only_batch.iter().filter(|(_, given)| *given && !batch) {
        errors.at(*path, "only for batch jobs");
    }
    if spec.gang && spec.instances > MAX_GANG {
        errors.at("gang", format!("{} instances placed at once; at most {MAX_GANG} can be", spec.instances));
    }
    if spec.gang && spec.max_running > 0 && spec.max_running < spec.instances {
        errors.at("gang", "contradiction: all instances start together, and `max_running` says fewer");
    }
    if let Some(parameters) = &mut spec.parameters {
        self::parameters(parameters, errors);
    }
    if spec.parameters.is_some() && !spec.dependencies.is_empty() {
        errors.at("parameters", "a template waits for no other job");
    }
    if kind == Some(JobKind::Daemon) {
        daemon(spec, errors);
    }
}

fn dependencies(spec: &JobSpec, kind: Option<JobKind>, errors: &mut Errors) {
    if spec.dependencies.is_empty() {
        return;
    }
    if kind.is_some_and(|kind| !matches!(kind, JobKind::Batch | JobKind::Service)) {
        errors.at("dependencies", "only for batch jobs and services");
    }
    if errors.refuses("dependencies") {
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, dependency) in spec.dependencies.iter().enumerate() {
        let path = format!("dependencies[{i}]");
        match dependency.job.as_ref().map(JobKey::try_from) {
            None => errors.at(format!("{path}.job"), "is missing: role/env/name of the job to wait for"),
            Some(Err(error)) => errors.at(format!("{path}.job"), error.to_string()),
            Some(Ok(_)) if dependency.job == spec.key => {
                errors.at(format!("{path}.job"), "a job can't wait for itself");
            }
            Some(Ok(key)) if !seen.insert(key.clone()) => {
                errors.at(format!("{path}.job"), format!("{key} is there twice"));
            }
            Some(Ok(_)) => {}
        }
    }
}

fn parameters(parameters: &mut Parameters, errors: &mut Errors) {
    if parameters.required.len() + parameters.optional.len() > MAX_PARAMETERS {
        errors.at("parameters", format!("at most {MAX_PARAMETERS} of them"));
        return;
    }
    parameters.required.sort();
    for (i, name) in parameters.required.iter().enumerate() {
        let path = format!("parameters.required[{i}]");
        text::env_name(&path, name, errors);
        if name == PAYLOAD {
            errors.at(path, format!("{PAYLOAD} is the payload's variable"));
        } else if parameters.required[..i].contains(name) {
            errors.at(path, format!("{name} is there twice"));
        } else if parameters.optional.contains_key(name) {
            errors.at(path, format!("{name} is optional too"));
        }
    }
    text::env("parameters.optional", &parameters.optional, errors);
    if parameters.optional.contains_key(PAYLOAD) {
        errors.at("parameters.optional", format!("{PAYLOAD} is the payload's variable"));
    }
}

/// One task on each matching agent: what would count tasks otherwise makes no sense.
fn daemon(spec: &JobSpec, errors: &mut Errors) {
    if spec.instances != 1 {
        errors.at("instances", "a daemon job has one task on each node that matches; leave it out");
    }
    for (i, constraint) in spec.constraints.iter().enumerate() {
        if matches!(constraint.rule, Some(Rule::Limit(_))) {
            errors.at(format!("constraints[{i}].limit"), "a daemon job has one task on each node that matches");
        }
    }
    for (path, given) in [("spreads", !spec.spreads.is_empty()), ("affinities", !spec.affinities.is_empty())] {
        if given {
            errors.at(path, "a daemon job runs on every node that matches; there is nothing to choose");
        }
    }
}
