//! Aurora's constraints: `rack: 'a,b'`, `rack: '!c'`, `host: 'limit:2'`, and dedicated machines.
//! Not here: how they are decided.

use dawn_proto::v1;
use dawn_proto::v1::constraint::Rule;

use super::Found;
use super::fields::Fields;

/// Aurora's `host` is the machine's name, Dawn's the agent's id. A limit counts the same on either.
fn attribute<'a>(name: &'a str, rule: &Rule) -> &'a str {
    if name == "host" && !matches!(rule, Rule::Limit(_)) { "hostname" } else { name }
}

/// Of "role/name": who may use it, as Aurora has it; `*` is everybody.
fn check_dedicated(value: &str, role: &str) -> Result<(), String> {
    match value.split('/').next().unwrap_or(value) {
        "*" => Ok(()),
        only if only == role => Ok(()),
        only => {
            Err(format!("'{value}': only role '{only}' may use machines dedicated to it, and this job is '{role}''s"))
        }
    }
}

/// The constraints, and the value of `dedicated`, which in Dawn is a field of its own.
pub fn constraints(fields: &Fields, found: &mut Found) -> (Vec<v1::Constraint>, String) {
    let mut constraints = Vec::new();
    let mut dedicated = String::new();
    for (attribute, value) in fields.entries("constraints") {
        let path = format!("constraints[{attribute}]");
        match rule(value) {
            Ok(rule) if attribute == "dedicated" => match rule {
                Rule::OneOf(set) if set.values.len() == 1 => {
                    if let Err(message) = check_dedicated(&set.values[0], fields.text("role")) {
                        found.refuse(path, message);
                    }
                    dedicated.clone_from(&set.values[0]);
                }
                _ => found.refuse(path, format!("'{value}': a job is dedicated to one value, such as 'role/name'")),
            },
            Ok(rule) => {
                let attribute = self::attribute(attribute, &rule).to_string();
                constraints.push(v1::Constraint { attribute, rule: Some(rule) });
            }
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
