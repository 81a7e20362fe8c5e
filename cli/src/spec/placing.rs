//! The fields that say where a job may run: constraints, affinities, spread.

use dawn_proto::JobKey;
use dawn_proto::v1::{self, Comparison, affinity::Target, constraint::Rule};

use super::decode::{Fields, Place, Reader, whole};
use super::node::Node;

pub const CONSTRAINT: &[&str] =
    &["attribute", "in", "not_in", "exists", "regex", "number", "version", "limit", "distinct_hosts"];
pub const AFFINITY: &[&str] =
    &["weight", "required", "topology", "job", "attribute", "in", "not_in", "exists", "regex", "number", "version"];
pub const SPREAD: &[&str] = &["attribute", "weight", "shares"];

/// The fields of a constraint that say a rule.
const RULES: [&str; 7] = ["in", "not_in", "exists", "regex", "number", "version", "limit"];

/// Longest first, so that none hides another.
pub const COMPARISONS: [(&str, Comparison); 5] = [
    (">=", Comparison::GreaterOrEqual),
    ("<=", Comparison::LessOrEqual),
    ("==", Comparison::Equal),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
];

fn list<'a>(
    r: &mut Reader,
    f: &Fields<'a>,
    name: &str,
    spec: &str,
    known: &'static [&'static str],
) -> Vec<(&'a Node, Fields<'a>)> {
    let Some((node, place)) = f.take(r, name, spec) else { return Vec::new() };
    let items = r.items(node, &place).iter().enumerate();
    items.filter_map(|(i, item)| Some((item, r.fields(item, place.item(i), known)?))).collect()
}

pub fn constraints(r: &mut Reader, f: &Fields) -> Vec<v1::Constraint> {
    let items = list(r, f, "constraints", "constraints", CONSTRAINT);
    items.into_iter().map(|(node, f)| constraint(r, node, &f)).collect()
}

fn constraint(r: &mut Reader, node: &Node, f: &Fields) -> v1::Constraint {
    if f.has("distinct_hosts") {
        let all = CONSTRAINT.iter().filter(|name| f.has(name)).count();
        if all > 1 {
            r.wrong(node.at, &f.place.file, "`distinct_hosts: true` stands alone; it is a limit of 1 on `host`");
        } else if !f.flag(r, "distinct_hosts", "limit") {
            r.wrong(node.at, &f.place.file, "`distinct_hosts` can only be true; leave it out otherwise");
        }
        return v1::Constraint { attribute: "host".to_string(), rule: Some(Rule::Limit(1)) };
    }
    v1::Constraint { attribute: f.text(r, "attribute", "attribute").unwrap_or_default(), rule: rule(r, node, f) }
}

fn rule(r: &mut Reader, node: &Node, f: &Fields) -> Option<Rule> {
    let given: Vec<&str> = RULES.into_iter().filter(|name| f.has(name)).collect();
    if given.len() > 1 {
        let message = format!("says `{}` and `{}`; one rule for each constraint, so write two", given[0], given[1]);
        r.wrong(node.at, &f.place.file, message);
    }
    let set = |r: &mut Reader, name: &str, spec: &str| {
        let (node, place) = f.take(r, name, spec)?;
        let place = Place { spec: format!("{}.values", place.spec), ..place };
        Some(v1::ValueSet { values: r.texts(node, &place) })
    };
    match *given.first()? {
        "in" => set(r, "in", "one_of").map(Rule::OneOf),
        "not_in" => set(r, "not_in", "none_of").map(Rule::NoneOf),
        "exists" => Some(Rule::Exists(f.flag(r, "exists", "exists"))),
        "regex" => f.text(r, "regex", "regex").map(Rule::Regex),
        "number" => f.parsed(r, ("number", "number"), compare).map(Rule::Number),
        "version" => f.parsed(r, ("version", "version"), compare).map(Rule::Version),
        _ => f.parsed(r, ("limit", "limit"), whole).map(Rule::Limit),
    }
}

/// ">= 4"; a value alone is compared for equality.
fn compare(text: &str) -> Result<v1::Compare, String> {
    let text = text.trim();
    let found = COMPARISONS.iter().find_map(|(sign, op)| Some((*op, text.strip_prefix(sign)?)));
    let (op, value) = found.unwrap_or((Comparison::Equal, text));
    match value.trim() {
        "" => Err("compares with nothing; write \">= 4\"".to_string()),
        value => Ok(v1::Compare { op: op.into(), value: value.to_string() }),
    }
}

pub fn affinities(r: &mut Reader, f: &Fields) -> Vec<v1::Affinity> {
    let items = list(r, f, "affinities", "affinities", AFFINITY);
    items.into_iter().map(|(node, f)| affinity(r, node, &f)).collect()
}

fn affinity(r: &mut Reader, node: &Node, f: &Fields) -> v1::Affinity {
    let job = f.parsed(r, ("job", "job"), |text| {
        text.parse::<JobKey>().map_err(|_| "is no job key; write role/env/name".to_string())
    });
    let target = if f.has("job") {
        if f.has("attribute") {
            r.wrong(node.at, &f.place.file, "is about a job or about an attribute, not about both");
        }
        job.as_ref().map(|key| Target::Job(key.into()))
    } else {
        f.has("attribute").then(|| {
            let attribute = f.text(r, "attribute", "attribute.attribute").unwrap_or_default();
            Target::Attribute(v1::Constraint { attribute, rule: rule(r, node, f) })
        })
    };
    v1::Affinity {
        weight: f
            .parsed(r, ("weight", "weight"), |text| text.parse().map_err(|_| "is no whole number".to_string()))
            .unwrap_or(0),
        required: f.flag(r, "required", "required"),
        target,
        topology: f.text(r, "topology", "topology").unwrap_or_default(),
    }
}

pub fn spreads(r: &mut Reader, f: &Fields) -> Vec<v1::Spread> {
    let items = list(r, f, "spread", "spreads", SPREAD);
    items.into_iter().map(|(_, f)| spread(r, &f)).collect()
}

fn spread(r: &mut Reader, f: &Fields) -> v1::Spread {
    let mut share_percent = std::collections::BTreeMap::new();
    for (value, node, place) in f.entries(r, "shares", "share_percent") {
        let text = r.text(node, &place).unwrap_or_default();
        match text.trim_end_matches('%').parse() {
            Ok(percent) => drop(share_percent.insert(value.to_string(), percent)),
            Err(_) => r.wrong(node.at, &place.file, format!("`{}` is no percentage", crate::render::safe(text))),
        }
    }
    v1::Spread {
        attribute: f.text(r, "attribute", "attribute").unwrap_or_default(),
        share_percent,
        weight: f.above_zero(r, ("weight", "weight"), whole),
    }
}
