//! Aurora's constraints: `rack: 'a,b'`, `rack: '!c'`, `host: 'limit:2'`, and dedicated machines.
//! Not here: how they are decided.

use dawn_proto::v1;
use dawn_proto::v1::constraint::Rule;

use super::Found;
use super::fields::Fields;

/// The constraints, and the value of `dedicated`, which in Dawn is a field of its own.
pub fn constraints(fields: &Fields, found: &mut Found) -> (Vec<v1::Constraint>, String) {
    let mut constraints = Vec::new();
    let mut dedicated = String::new();
    for (attribute, value) in fields.entries("constraints") {
        let path = format!("constraints[{attribute}]");
        match rule(value) {
            Ok(Rule::OneOf(set)) if attribute == "dedicated" => match set.values.as_slice() {
                [one] => dedicated = one.clone(),
                _ => found.refuse(path, "a job is dedicated to one value"),
            },
            Ok(rule) => constraints.push(v1::Constraint { attribute: attribute.into(), rule: Some(rule) }),
            Err(message) => found.refuse(path, message),
        }
    }
    (constraints, dedicated)
}

fn rule(value: &str) -> Result<Rule, String> {
    if let Some(limit) = value.strip_prefix("limit:") {
        let limit = limit.trim().parse().ok().filter(|limit| *limit > 0);
        return limit.map(Rule::Limit).ok_or_else(|| format!("'{value}': a limit is a number above zero"));
    }
    let (negated, list) = match value.strip_prefix('!') {
        Some(list) => (true, list),
        None => (false, value),
    };
    let values: Vec<String> = list.split(',').map(|value| value.trim().to_string()).collect();
    if values.iter().any(String::is_empty) {
        return Err(format!("'{value}' has an empty value"));
    }
    let set = v1::ValueSet { values };
    Ok(if negated { Rule::NoneOf(set) } else { Rule::OneOf(set) })
}
