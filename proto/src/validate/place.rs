//! Rules for where a job may run: constraints and their contradictions, affinities, spreads, dedicated agents.

use std::collections::BTreeSet;

use super::{Errors, text};
use crate::v1::{Affinity, Compare, Comparison, Constraint, JobSpec, affinity::Target, constraint::Rule};
use crate::{JobKey, v1};

/// The agent's own id as an attribute: the one attribute that has exactly one value everywhere.
const HOST: &str = "host";

/// The attribute that reserves an agent for jobs whose field of that name has one of its values.
const DEDICATED: &str = "dedicated";

pub(super) fn check(spec: &mut JobSpec, errors: &mut Errors) {
    if errors.refuses("constraints") || errors.refuses("affinities") {
        return;
    }
    for (i, constraint) in spec.constraints.iter_mut().enumerate() {
        one_constraint(&format!("constraints[{i}]"), constraint, errors);
    }
    contradictions(spec, errors);
    for (i, affinity) in spec.affinities.iter_mut().enumerate() {
        one_affinity(&format!("affinities[{i}]"), affinity, errors);
    }
    neighbours(spec, errors);
    spreads(spec, errors);
    let dedicated = &spec.dedicated;
    if !dedicated.is_empty() && dedicated.chars().any(char::is_control) {
        errors.at("dedicated", "has a control character");
    }
}

fn one_constraint(path: &str, constraint: &mut Constraint, errors: &mut Errors) {
    text::name(&format!("{path}.attribute"), "an attribute", &constraint.attribute, errors);
    match &mut constraint.rule {
        None => errors.at(path, "says no rule; give one of in, not_in, exists, regex, number, version, limit"),
        Some(Rule::OneOf(set)) => values(&format!("{path}.one_of"), &mut set.values, errors),
        Some(Rule::NoneOf(set)) => values(&format!("{path}.none_of"), &mut set.values, errors),
        Some(Rule::Exists(true)) => {}
        Some(Rule::Exists(false)) => errors.at(format!("{path}.exists"), "can only be true"),
        Some(Rule::Regex(regex)) if regex.is_empty() => errors.at(format!("{path}.regex"), "is empty"),
        Some(Rule::Regex(_) | Rule::Limit(_)) => {}
        Some(Rule::Number(compare)) => compared(&format!("{path}.number"), compare, is_number, "a number", errors),
        Some(Rule::Version(compare)) => {
            compared(&format!("{path}.version"), compare, is_version, "a version such as 1.2.3", errors);
        }
    }
}

/// Sorts them: a set has no order, and equal jobs have equal specs.
fn values(path: &str, values: &mut Vec<String>, errors: &mut Errors) {
    if values.is_empty() {
        errors.at(path, "names no value");
    } else if errors.refuses(path) {
        return;
    }
    for (i, value) in values.iter().enumerate() {
        text::value(&format!("{path}.values[{i}]"), value, errors);
    }
    values.sort();
    values.dedup();
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    all(whole) && all(part)
}

fn is_version(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
    text.split('.').count() <= 8 && text.split('.').all(part)
}

fn compared(path: &str, compare: &Compare, valid: fn(&str) -> bool, what: &str, errors: &mut Errors) {
    if matches!(Comparison::try_from(compare.op), Ok(Comparison::Unspecified) | Err(_)) {
        errors.at(format!("{path}.op"), "is none of <, <=, ==, >=, >");
    }
    if !valid(&compare.value) {
        errors.at(format!("{path}.value"), format!("{} is not {what}", text::shown(&compare.value)));
    }
}

/// Constraints that no agent can ever satisfy together. Attributes may have several values, so little is impossible.
fn contradictions(spec: &JobSpec, errors: &mut Errors) {
    let refused = |attribute: &str| -> BTreeSet<&str> {
        let about = spec.constraints.iter().filter(|constraint| constraint.attribute == attribute);
        let sets = about.filter_map(|constraint| match &constraint.rule {
            Some(Rule::NoneOf(set)) => Some(set.values.iter().map(String::as_str)),
            _ => None,
        });
        sets.flatten().collect()
    };
    for (i, constraint) in spec.constraints.iter().enumerate() {
        let Some(Rule::OneOf(set)) = &constraint.rule else { continue };
        let attribute = constraint.attribute.as_str();
        let refused = refused(attribute);
        if !set.values.is_empty() && set.values.iter().all(|value| refused.contains(value.as_str())) {
            let values = set.values.join(", ");
            let message =
                format!("contradiction: `{attribute}` must be in [{values}], and not_in rules all of them out");
            errors.at(format!("constraints[{i}]"), message);
        }
        other_sets(spec, i, attribute, &set.values, errors);
        limited(spec, i, attribute, set.values.len(), errors);
    }
    undedicated(spec, errors);
    if !spec.dedicated.is_empty() && refused(DEDICATED).contains(spec.dedicated.as_str()) {
        errors.at("dedicated", "contradiction: a constraint rules this value of `dedicated` out");
    }
}

/// What only a dedicated agent can satisfy, of a job that goes to none of them.
fn undedicated(spec: &JobSpec, errors: &mut Errors) {
    if !spec.dedicated.is_empty() {
        return;
    }
    for (i, constraint) in spec.constraints.iter().enumerate() {
        let is_harmless = matches!(constraint.rule, None | Some(Rule::NoneOf(_) | Rule::Limit(_)));
        if constraint.attribute == DEDICATED && !is_harmless {
            let message = "contradiction: dedicated agents take only jobs with the field `dedicated`; write \
                           `dedicated: VALUE` instead of a constraint";
            errors.at(format!("constraints[{i}]"), message);
        }
    }
}

/// Two sets of hosts that share none.
fn other_sets(spec: &JobSpec, i: usize, attribute: &str, values: &[String], errors: &mut Errors) {
    for (j, other) in spec.constraints.iter().enumerate().skip(i + 1) {
        if let (HOST, HOST, Some(Rule::OneOf(set))) = (attribute, other.attribute.as_str(), &other.rule)
            && !set.values.iter().any(|value| values.contains(value))
        {
            let message = format!("contradiction: no host is in both this and constraints[{i}]");
            errors.at(format!("constraints[{j}]"), message);
        }
    }
}

/// A limit per value and a list of values that leave room for fewer tasks than there are instances.
fn limited(spec: &JobSpec, i: usize, attribute: &str, values: usize, errors: &mut Errors) {
    for (j, other) in spec.constraints.iter().enumerate() {
        let Some(Rule::Limit(limit)) = other.rule else { continue };
        let room = u64::from(limit) * values as u64;
        if other.attribute == attribute && limit > 0 && room < u64::from(spec.instances) {
            let message = format!(
                "contradiction: at most {limit} on each of the {values} values of `{attribute}` in constraints[{i}] \
                 leaves room for {room} of {} instances",
                spec.instances
            );
            errors.at(format!("constraints[{j}].limit"), message);
        }
    }
}

/// Rules about neighbours that no agent can ever satisfy together.
fn neighbours(spec: &JobSpec, errors: &mut Errors) {
    let rules: Vec<(usize, &Affinity)> =
        spec.affinities.iter().enumerate().filter(|(_, affinity)| affinity.required).collect();
    for (at, (i, one)) in rules.iter().enumerate() {
        let Some(Target::Job(job)) = &one.target else { continue };
        let against = rules[at + 1..].iter().find(|(_, other)| {
            other.target == one.target && other.topology == one.topology && (other.weight > 0) != (one.weight > 0)
        });
        if let Some((j, _)) = against {
            let message = format!("contradiction: affinities[{i}] says the opposite about the same job");
            errors.at(format!("affinities[{j}]"), message);
        }
        let own = spec.key.as_ref() == Some(job) && one.weight > 0 && one.topology == HOST;
        let limit = spec.constraints.iter().find_map(|constraint| match constraint.rule {
            Some(Rule::Limit(limit)) if constraint.attribute == HOST => Some(limit),
            _ => None,
        });
        if let Some(limit) = limit.filter(|limit| own && *limit < spec.instances) {
            let message =
                format!("contradiction: all {} instances on one host, and at most {limit} there", spec.instances);
            errors.at(format!("affinities[{i}]"), message);
        }
    }
}

fn one_affinity(path: &str, affinity: &mut Affinity, errors: &mut Errors) {
    if affinity.weight == 0 {
        errors.at(format!("{path}.weight"), "is 0 and says nothing: positive attracts, negative repels");
    }
    match &mut affinity.target {
        None => errors.at(path, "says neither an attribute nor a job"),
        Some(Target::Attribute(constraint)) => {
            one_constraint(&format!("{path}.attribute"), constraint, errors);
            if matches!(constraint.rule, Some(Rule::Limit(_))) {
                let message = "a limit can't be a wish; write it as a constraint, or spread over the attribute";
                errors.at(format!("{path}.attribute.limit"), message);
            }
            if affinity.required {
                errors.at(format!("{path}.required"), "an attribute that is required is a constraint; write it there");
            }
            if !affinity.topology.is_empty() {
                errors.at(format!("{path}.topology"), "only with a job");
            }
        }
        Some(Target::Job(key)) => {
            job_target(path, key, errors);
            text::name(&format!("{path}.topology"), "an attribute", &affinity.topology, errors);
        }
    }
}

fn job_target(path: &str, key: &v1::JobKey, errors: &mut Errors) {
    if let Err(error) = JobKey::try_from(key) {
        errors.at(format!("{path}.job"), error.to_string());
    }
}

fn spreads(spec: &JobSpec, errors: &mut Errors) {
    if errors.refuses("spreads") {
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, spread) in spec.spreads.iter().enumerate() {
        let path = format!("spreads[{i}]");
        text::name(&format!("{path}.attribute"), "an attribute", &spread.attribute, errors);
        if !seen.insert(spread.attribute.clone()) {
            errors.at(format!("{path}.attribute"), format!("`{}` is spread over twice", spread.attribute));
        }
        let shares = &spread.share_percent;
        if errors.refuses(&format!("{path}.share_percent")) {
            continue;
        }
        for value in shares.keys() {
            text::value(&format!("{path}.share_percent"), value, errors);
        }
        let sum: u64 = shares.values().map(|percent| u64::from(*percent)).sum();
        if sum > 100 {
            errors.at(format!("{path}.share_percent"), format!("the shares sum up to {sum} percent"));
        }
    }
}
